"""Storage roots on a disk and in a bucket of a local S3 server, for tests that must pass on both."""

import collections
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import boto3
import pytest

from exchange.storage import StorageRoot, open_root

BUCKET = "fleet"


class S3Server:
    """A moto server process on loopback with one bucket, which it forgets when it ends."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        lines = (re.search(r"http://127.0.0.1:\d+", line) for line in self.process.stderr)
        self.endpoint = next(found[0] for found in lines if found)
        # A line for each request: unread, they would fill the pipe and stop the server.
        self._drain = Thread(target=collections.deque, args=(self.process.stderr, 0), daemon=True)
        self._drain.start()
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._drain.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


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
