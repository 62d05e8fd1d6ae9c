"""What the tests of monitoring share: gateways inside the test, and one deployment of real processes."""

from collections.abc import Iterator

import pytest

from tests.gateways import frame_message, known_frame, known_labels, start_gateway
from tests.monitoring.deployment import Deployment, running_deployment
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import make_hollow_release

__all__ = ["frame_message", "known_frame", "known_labels", "start_gateway"]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    source = write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)
    release = make_hollow_release(tmp_path_factory.mktemp("hollow"))
    with running_deployment(tmp_path_factory.mktemp("deployment"), source, release) as deployment:
        yield deployment
