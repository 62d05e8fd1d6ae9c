"""An empty root on a disk, and a clock."""

from pathlib import Path

import pytest

from exchange.storage import StorageRoot, open_root
from tests.annotation.asked_regions import Clock


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(f"file://{tmp_path}/root")


@pytest.fixture
def clock() -> Clock:
    return Clock()
