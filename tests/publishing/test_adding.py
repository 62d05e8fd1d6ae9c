"""A release from outside is added if its engine computes what its weights say, and promoted through the gate."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from cli import app_for
from exchange.plan.serving_plan import read_plan
from exchange.registry import fetch_release, publish, read_ledger
from exchange.registry.audit import read_audit
from exchange.registry.releases import MANIFEST_NAME, hash_files, read_manifest, write_manifest
from exchange.storage import StorageRoot, open_root
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import make_release


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)


@pytest.fixture(scope="module")
def release(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For reading only."""
    return make_release(tmp_path_factory.mktemp("small"), source)


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(str(tmp_path / "root"))


def run(root: StorageRoot, *arguments: str) -> Result:
    return CliRunner().invoke(app_for(arguments), [*arguments, "--root", root.url], env={"COLUMNS": "160"})


def test_a_sound_release_is_added(root: StorageRoot, release: Path, source: Path, tmp_path: Path) -> None:
    added = run(root, "release", "add", str(release), "--frames", str(source), "--why", "from the workshop")
    assert added.exit_code == 0, added.output
    assert "release 1 is published; roadshift release promote 1 serves it" in added.stdout
    assert hash_files(fetch_release(root, 1, tmp_path / "cache")) == hash_files(release)
    (entry,) = read_audit(root)
    assert (entry.what, entry.why, entry.details["parity"]) == ("add", "from the workshop", 1.0)
    no_frames = run(root, "release", "add", str(release), "--frames", str(tmp_path / "root"))
    assert (no_frames.exit_code, len(read_ledger(root))) == (1, 1)
    assert "holds no JPEG or PNG" in no_frames.stderr


def test_an_engine_of_other_weights_is_not_added(root: StorageRoot, release: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(release, tmp_path / "broken"))
    weights = load_file(broken / "weights.safetensors")
    save_file({name: tensor.flip(0).contiguous() for name, tensor in weights.items()}, broken / "weights.safetensors")
    altered = run(root, "release", "add", str(broken))
    assert "weights.safetensors differs from its manifest" in altered.stderr
    manifest = read_manifest(broken).model_copy(update={"files_sha256": hash_files(broken)})
    (broken / MANIFEST_NAME).unlink()
    write_manifest(broken, manifest)
    differs = run(root, "release", "add", str(broken))
    assert (altered.exit_code, differs.exit_code) == (1, 1)
    assert "does not compute what its weights say: nothing was added" in differs.stderr
    assert read_ledger(root) == []


def test_the_gate_is_measured_where_there_is_data(
    root: StorageRoot, release: Path, source: Path, tmp_path: Path
) -> None:
    """A network that was never trained gets no candidate through: too little is known of the target."""
    for _ in range(2):
        publish(root, release, by="test", origin="added")
    assert run(root, "release", "promote", "1").exit_code == 0
    gate = ("--source", str(source), "--target", str(source), "--run-dir", str(tmp_path / "cache"))
    refused = run(root, "release", "promote", "2", *gate)
    assert refused.exit_code == 1, refused.output
    assert "the gate refuses release 2" in refused.stderr.splitlines()[-1]
    assert "REFUSED" in refused.stdout
    stored = read_plan(root)
    assert stored is not None
    assert stored.plan.default.serving == 1
