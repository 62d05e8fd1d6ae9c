"""A gateway in process, a learner process, and what callers show them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.storage import open_root
from tests.deploy.callers import Files, Learner, Mode
from tests.gateways import start_gateway
from tests.service.conftest import hollow, source
from tests.service.learner_rig import LearnerProcess, leave_frames

__all__ = ["hollow", "source", "start_gateway"]


@pytest.fixture(scope="module", params=list(Mode), ids=lambda mode: mode.name.lower())
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(request.param, tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def learner(files: Files, source: Path, hollow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    folder = tmp_path_factory.mktemp("learner")
    url = f"file://{folder}/root"
    leave_frames(open_root(url), "sim-dusk", 12)
    options = ("--fake", "--release", str(hollow), "--console-port", "0", *files.options)
    with LearnerProcess(url, source, folder, *options) as process:
        yield Learner(process, files)
