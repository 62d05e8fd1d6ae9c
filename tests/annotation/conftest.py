"""An empty root on a disk, one of either kind for what must hold on both, and a clock."""

from pathlib import Path

import pytest

from exchange.storage import StorageRoot, open_root
from tests.annotation.asked_regions import Clock
from tests.storage_roots import root_url, s3_server

__all__ = ["root_url", "s3_server"]


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(f"file://{tmp_path}/root")


@pytest.fixture
def clock() -> Clock:
    return Clock()
