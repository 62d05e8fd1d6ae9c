"""An S3 server on loopback, for benchmarks and tests that want a bucket."""

import collections
import io
import re
import subprocess
import sys
from collections.abc import Iterable
from threading import Lock, Thread
from typing import TYPE_CHECKING

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BUCKET = "fleet"


class S3Server:
    """A moto server process on loopback with one bucket, which it forgets when it ends."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.local_s3"], stderr=subprocess.PIPE, text=True
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


class OneAtATime:
    """moto checks a write's condition and writes in two steps: what came in between would be lost, as in no S3."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._lock = Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Read before: a client that stands still in the middle of its request would hold up all others.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        with self._lock:
            return self._app(environ, start_response)


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        0,
        OneAtATime(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
