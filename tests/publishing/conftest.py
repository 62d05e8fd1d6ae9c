"""Roots with releases, on a disk and in a bucket."""

from pathlib import Path

import pytest

from exchange.plan.lease import holding
from exchange.plan.plan_changes import apply_change, served_with
from exchange.registry import publish
from exchange.storage import StorageRoot
from tests.releases import make_release
from tests.storage_roots import root, root_url, s3_server

__all__ = ["release", "root", "root_url", "s3_server", "served_root"]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release")


@pytest.fixture
def served_root(root: StorageRoot, release: Path) -> StorageRoot:
    """Releases 1 (the anchor of 2 and 3), 2, 3 and 4 are published; 1 is served."""
    for parent in (None, 1, 2, None):
        publish(root, release, by="test", origin="added", parent=parent)
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
    return root
