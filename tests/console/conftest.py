"""One deployment and one browser for all tests of the console."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, sync_playwright

from exchange.storage import StorageRoot, open_root
from tests.console.deployment import STARTER, FakeGateway, leave_captured, leave_presence, leave_regions
from tests.external_programs import require
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, until

FAST = (
    "--fake",
    "--shadow-s",
    "0",
    "--bake-s",
    "0",
    "--fewest-frames",
    "1",
    "--share",
    "1",
    "--console-port",
    "0",
    "--metrics",
    "",
)

TOKENS = {role: f"{role}-token" for role in ("operator", "viewer", "annotator", "vehicle")}


class Deployed(NamedTuple):
    root: StorageRoot
    learner: LearnerProcess
    address: str
    """Of the console."""


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright has a loop of its own while it is there, beside which asynchronous tests cannot run."""
    require("chromium", "libatomic.so.1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def deployed(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    url = f"file://{folder}/root"
    root = open_root(url)
    frames = leave_captured(root, "sim-dusk", 12)
    leave_captured(root, "sim-day", 4, number=12)
    leave_presence(root, "sim-day")
    leave_presence(root, "sim-dusk", shift=0.4)
    leave_regions(root, frames[:2], 6)
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{role} {token}\n" for role, token in TOKENS.items()))
    options = ("--release", str(STARTER), "--token-file", str(tokens), *FAST)
    with (
        LearnerProcess(url, labelled, folder / "learner", *options, wait=False) as learner,
        FakeGateway(url, folder / "gateway", domains=("sim-dusk", "sim-day")),
    ):
        learner.wait_until_ready()
        yield Deployed(root, learner, console_of(learner))


def console_of(learner: LearnerProcess, scheme: str = "http") -> str:
    found = until(lambda: re.search(r"console on port (\d+)\b", learner.said()), "the console")
    return f"{scheme}://127.0.0.1:{found[1]}"
