"""An S3 server on loopback, for benchmarks and tests that want a bucket."""

import collections
import re
import subprocess
import sys
from threading import Thread

import boto3

BUCKET = "fleet"


class S3Server:
    """A moto server process on loopback with one bucket, which it forgets when it ends."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None  # noqa: S101 - it is a pipe
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
        assert self.process.stderr is not None  # noqa: S101 - it is a pipe
        self.process.stderr.close()
