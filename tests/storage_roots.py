"""Storage roots on a disk and in a bucket of a local S3 server, for tests that must pass on both."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.local_s3 import BUCKET, S3Server
from exchange.storage import StorageRoot, open_root
from tests.faulty_s3 import FaultyS3
from tests.seaweedfs import SeaweedServer


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    server = SeaweedServer(tmp_path_factory.mktemp("seaweedfs"))
    yield server
    server.close()


@pytest.fixture(params=["disk", "s3"])
def root_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty root of either kind; for processes of a test, the environment says how to reach it."""
    if request.param == "disk":
        return f"file://{tmp_path}/root"
    server: S3Server | SeaweedServer = request.getfixturevalue(
        {"s3": "s3_server", "seaweedfs": "seaweed_server"}[request.param]
    )
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(8).hex()}"


@pytest.fixture
def faulty_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """A proxy before the S3 server; the environment leads to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with FaultyS3(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def faulty_root(faulty_s3: FaultyS3) -> StorageRoot:
    """An empty root behind the proxy."""
    return open_root(f"s3://{BUCKET}/{os.urandom(8).hex()}", patience_s=60.0)


@pytest.fixture
def root(root_url: str) -> StorageRoot:
    return open_root(root_url, patience_s=60.0)
