"""A release is complete, unaltered and immutable, or refused with a message that names the file."""

from pathlib import Path

import pytest

from exchange.registry.releases import MANIFEST_NAME, ReleaseError, read_manifest, verify_release, write_manifest
from tests.releases import make_manifest, make_release


@pytest.fixture
def release_dir(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release")


def test_a_manifest_reads_back_as_it_was_written(release_dir: Path) -> None:
    manifest = verify_release(release_dir)
    assert manifest.network.dims == {"channels": 64}
    assert set(manifest.files_sha256) == {"engine/model.xml", "weights.safetensors"}


def test_a_published_release_is_never_overwritten(release_dir: Path) -> None:
    with pytest.raises(ReleaseError, match="never changed"):
        write_manifest(release_dir, make_manifest(release_dir))


def test_an_altered_file_is_named(release_dir: Path) -> None:
    (release_dir / "engine" / "model.xml").write_text("<other/>")
    with pytest.raises(ReleaseError, match=r"engine/model.xml differs"):
        verify_release(release_dir)


def test_a_missing_file_is_named(release_dir: Path) -> None:
    (release_dir / "weights.safetensors").unlink()
    with pytest.raises(ReleaseError, match=r"weights.safetensors is missing"):
        verify_release(release_dir)


def test_an_added_file_is_named(release_dir: Path) -> None:
    (release_dir / "engine" / "extra").touch()
    with pytest.raises(ReleaseError, match=r"engine/extra is not in the manifest"):
        verify_release(release_dir)


def test_a_folder_without_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no complete release"):
        read_manifest(tmp_path)


def test_a_truncated_manifest_is_refused(release_dir: Path) -> None:
    path = release_dir / MANIFEST_NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReleaseError, match="not a release manifest"):
        read_manifest(release_dir)
