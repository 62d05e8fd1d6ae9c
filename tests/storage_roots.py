"""Storage roots on a disk and in a bucket of a local S3 server, for tests that must pass on both."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.local_s3 import BUCKET, S3Server
from exchange.storage import StorageRoot, open_root


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(params=["disk", "s3"])
def root_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty root of either kind; for processes of a test, the environment says how to reach it."""
    if request.param == "disk":
        return f"file://{tmp_path}/root"
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(8).hex()}"


@pytest.fixture
def root(root_url: str) -> StorageRoot:
    return open_root(root_url, patience_s=5.0)
