"""Published releases: numbered without gaps or doubles, whole or invisible, and the same wherever they are fetched."""

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exchange.registry import (
    anchor_of,
    collected_versions,
    fetch_release,
    make_void,
    mark_collected,
    publish,
    read_ledger,
    read_published_manifest,
    require_present,
    unmark_collected,
)
from exchange.registry.releases import ReleaseError, hash_files, verify_release
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import CLAIM_NAME, LEDGER, ledger_key, release_key
from exchange.storage.records import RecordError
from tests.releases import make_release


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release")


def test_a_release_is_fetched_as_it_was_published(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    assert read_ledger(root) == []
    entry = publish(root, release, by="eva@depot", origin="starter")
    assert (entry.version, entry.origin, entry.published_by) == (1, "starter", "eva@depot")
    assert read_ledger(root) == [require_present(root, 1)] == [entry]
    fetched = fetch_release(root, 1, tmp_path / "cache")
    assert fetched == tmp_path / "cache" / "1"
    assert verify_release(fetched) == read_published_manifest(root, 1)
    assert hash_files(fetched) == hash_files(release)
    assert verify_release(release).version is None, "the local folder stays as it was"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock", "1"]


def test_versions_count_up_and_know_what_they_come_from(root: StorageRoot, release: Path) -> None:
    for version in range(1, 12):
        parent = None if version == 1 else version - 1
        assert publish(root, release, by="learner", origin="added", parent=parent).version == version
    assert [entry.version for entry in read_ledger(root)] == list(range(1, 12))
    last = read_published_manifest(root, 11)
    assert (last.version, last.parent, last.anchor) == (11, 10, 1)
    assert anchor_of(root, 1) == 1


def test_many_publishers_share_no_number(root_url: str, release: Path) -> None:
    def add(_: int) -> int:
        return publish(open_root(root_url, 5.0), release, by="one of many", origin="added").version

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(8))) == list(range(1, 9))


def test_a_round_is_published_once(root: StorageRoot, release: Path) -> None:
    first = publish(root, release, by="learner", origin="round", round_id="r-1")
    assert publish(root, release, by="learner", origin="round", round_id="r-1") == first
    assert publish(root, release, by="learner", origin="round", round_id="r-2").version == 2


def test_a_number_that_was_given_up_is_never_a_release(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    assert make_void(root, 1, "gc")
    assert make_void(root, 1, "gc again")
    assert publish(root, release, by="learner", origin="added").version == 2
    assert not make_void(root, 2, "gc")
    assert [entry.version for entry in read_ledger(root)] == [2]
    with pytest.raises(ReleaseError, match="publication of release 1 was cut off, and given up"):
        fetch_release(root, 1, tmp_path / "cache")


def test_a_collected_release_is_not_fetched_but_remembered(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    publish(root, release, by="learner", origin="added")
    mark_collected(root, 1, "gc")
    assert collected_versions(root) == {1}
    with pytest.raises(ReleaseError, match="release 1 was collected on 20"):
        fetch_release(root, 1, tmp_path / "cache")
    assert [entry.version for entry in read_ledger(root)] == [1]
    assert read_published_manifest(root, 1).version == 1
    unmark_collected(root, 1)
    fetch_release(root, 1, tmp_path / "cache")


def test_an_unknown_or_damaged_release_is_named(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="has no release 7: roadshift release list shows"):
        fetch_release(root, 7, tmp_path / "cache")
    publish(root, release, by="learner", origin="added")
    root.write(release_key(1, "engine/model.xml"), b"<other/>")
    with pytest.raises(ReleaseError, match=r"engine/model\.xml differs from its manifest"):
        fetch_release(root, 1, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
    root.write(release_key(1, "manifest.json"), b"{}")
    with pytest.raises(ReleaseError, match=r"manifest of release 1 at .* is not the published one"):
        fetch_release(root, 1, tmp_path / "cache")
    root.write(ledger_key(1), b"{}")
    with pytest.raises(RecordError, match=r"releases/ledger/1\.json is no LedgerEntry"):
        read_ledger(root)


def test_a_damaged_copy_is_fetched_again_and_a_good_one_kept(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    publish(root, release, by="learner", origin="added")
    copy = fetch_release(root, 1, tmp_path)
    kept = (copy / "manifest.json").stat().st_ino
    assert (fetch_release(root, 1, tmp_path) / "manifest.json").stat().st_ino == kept
    for name in ("engine/model.xml", "weights.safetensors", "manifest.json"):
        (copy / name).write_bytes((copy / name).read_bytes()[:-2])
        fetch_release(root, 1, tmp_path)
        assert verify_release(copy) == read_published_manifest(root, 1)


def test_a_copy_from_another_root_is_not_taken_for_this_ones(release: Path, tmp_path: Path) -> None:
    other = make_release(tmp_path / "other", weights=b"other weights")
    for name, folder in (("a", release), ("b", other)):
        publish(open_root(str(tmp_path / name)), folder, by="learner", origin="added")
    for name, folder in (("a", release), ("b", other), ("a", release)):
        copy = fetch_release(open_root(str(tmp_path / name)), 1, tmp_path / "cache")
        assert (copy / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()


def test_many_fetch_into_one_cache(root_url: str, release: Path, tmp_path: Path) -> None:
    publish(open_root(root_url), release, by="learner", origin="added")
    with ThreadPoolExecutor(4) as pool:
        copies = pool.map(lambda _: verify_release(fetch_release(open_root(root_url), 1, tmp_path / "c")), range(8))
        assert len({manifest.created_at for manifest in copies}) == 1


def test_an_incomplete_release_claims_no_number(root: StorageRoot, release: Path) -> None:
    (release / "weights.safetensors").unlink()
    with pytest.raises(ReleaseError, match=r"weights\.safetensors is missing"):
        publish(root, release, by="learner", origin="added")
    assert root.list_objects("releases") == []


def test_an_unknown_parent_claims_no_number(root: StorageRoot, release: Path) -> None:
    with pytest.raises(ReleaseError, match="has no release 3"):
        publish(root, release, by="learner", origin="added", parent=3)
    assert root.list_objects("releases") == []


def test_a_disk_that_takes_no_more_shows_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: the write of the weights stops in the middle."""
    release = make_release(tmp_path / "release", weights=b"w" * (1 << 20))
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from exchange.registry import publish\n"
        "from exchange.storage import StorageUnavailable, open_root\n"
        "try:\n"
        f"    publish(open_root({str(tmp_path / 'root')!r}, 0.2), Path({str(release)!r}), by='x', origin='added')\n"
        "except StorageUnavailable as error:\n"
        "    sys.exit(str(error))\n"
    )
    limited = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18)),
    )
    assert limited.returncode == 1
    assert "releases/1/weights.safetensors: File too large" in limited.stderr
    root = open_root(str(tmp_path / "root"))
    assert read_ledger(root) == []
    assert root.list_objects(LEDGER) == []
    assert list((tmp_path / "root" / ".partial").iterdir()) == []
    assert publish(root, release, by="x", origin="added").version == 2


@pytest.mark.parametrize("claim", [b"", b"\xff{", b'{"format": 2}', b"a copy"])
def test_a_claim_that_cannot_be_read_takes_its_number_and_stops_no_other(
    root: StorageRoot, release: Path, claim: bytes
) -> None:
    publish(root, release, by="eva", origin="added")
    copy = root.read(release_key(1, CLAIM_NAME)).data
    root.create(release_key(2, CLAIM_NAME), copy if claim == b"a copy" else claim)
    first = publish(root, release, by="learner", origin="round", round_id="r-1")
    assert first.version == 3
    assert publish(root, release, by="learner", origin="round", round_id="r-2").version == 4
    assert root.unreadable.counts == {"releases": 1}
    root.write(release_key(3, CLAIM_NAME), claim)
    assert publish(root, release, by="learner", origin="round", round_id="r-1") == first, "a round is published once"
    assert [entry.version for entry in read_ledger(root)] == [1, 3, 4]
