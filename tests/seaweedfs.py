"""A SeaweedFS server on loopback: another implementation of S3 than the one that most tests use."""

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.local_s3 import BUCKET

_STARTS_WITHIN_S = 60.0
_PORTS = tuple(f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc"))
_OFF = ("s3.port.iceberg=0", "s3.port.lance=0", "iam=false", "webdav=false", "master.telemetry=false")


class SeaweedServer:
    """A process with its data in a folder, and one bucket."""

    def __init__(self, folder: Path) -> None:
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        user = {"credentials": [{"accessKey": "test", "secretKey": "test"}], "actions": ["Admin"], "name": "test"}
        (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
        options = [
            *(f"{name}={port}" for name, port in ports.items()),
            *(f"dir={folder}", "ip=127.0.0.1", "ip.bind=127.0.0.1", "filer", "s3", f"s3.config={folder}/s3.json"),
            *("volume.max=4", "master.volumeSizeLimitMB=64", *_OFF),
        ]
        self._log = (folder / "log").open("wb")
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
        command = [weed, "-logtostderr", "server", *(f"-{option}" for option in options)]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        try:
            self._make_bucket()
        except BaseException:
            self.close()
            raise

    def _make_bucket(self) -> None:
        """Once it takes requests."""
        client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
        give_up_s = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
                break
            except (BotoCoreError, ClientError) as error:
                if self.process.poll() is not None or time.monotonic() > give_up_s:
                    raise RuntimeError(f"SeaweedFS does not start: see {self._log.name}") from error
                time.sleep(0.2)
        client.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


def _free_ports(count: int) -> list[int]:
    """Different ones; somebody else may still take one before it is used."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
