"""A labelled source, a first release, and a root with captured frames."""

from pathlib import Path

import pytest

from exchange.storage import StorageRoot, open_root
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import leave_frames, make_hollow_release, make_release


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)


@pytest.fixture(scope="session")
def release(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("first"), source)


@pytest.fixture(scope="session")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hollow_release(tmp_path_factory.mktemp("hollow"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/root"


@pytest.fixture
def root(url: str) -> StorageRoot:
    root = open_root(url)
    leave_frames(root, "sim-dusk", 12)
    return root
