"""The commands with which clients/README.md generates clients outside this repository, as far as they can be run."""

import asyncio
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.external_programs import needs
from tests.gateways import StartGateway

ROOT = Path(__file__).parents[2]
README = (ROOT / "clients" / "README.md").read_text()


FRAME_HW_4K = (2160, 3840)
RAW_MAPS_BYTES = 2 * 2160 * 3840
"""Labels and confidence of it."""


def sample(language: str, without: str = "clients.client") -> str:
    """The README's code in a language, for those who have not what is in `without`."""
    (found,) = (code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if without not in code)
    return str(found)


def run_from_readme(pattern: str, folder: Path) -> set[str]:
    """Runs a command of the README in a folder that has `proto`, and says which files came into `gen`."""
    found = re.search(pattern, README, re.DOTALL)
    assert found is not None
    (folder / "proto").symlink_to(ROOT / "proto")
    command = re.sub(r"^python ", f"{sys.executable} ", found[0])
    subprocess.run(["bash", "-ec", f"mkdir -p gen; {command}"], cwd=folder, check=True)
    return {str(path.relative_to(folder / "gen")) for path in (folder / "gen").rglob("*.*")}


@needs("protoc", "grpc_cpp_plugin", "/usr/include/google/protobuf/timestamp.proto")
def test_cpp_is_generated_and_has_what_the_readmes_client_uses(tmp_path: Path) -> None:
    files = run_from_readme(r"protoc -I proto --cpp_out=gen.*?\.proto", tmp_path)
    assert files == {f"roadshift/v1/segmentation.{kind}" for kind in ("pb.h", "pb.cc", "grpc.pb.h", "grpc.pb.cc")}
    header = (tmp_path / "gen/roadshift/v1/segmentation.pb.h").read_text()
    client = sample("cpp")
    setters = set(re.findall(r"(?:set|mutable)_\w+(?=\()", client)) - {"set_deadline"}
    assert len(setters) == 6
    assert all(f"{setter}(" in header for setter in setters)
    assert "LABEL_ENCODING_RAW" in header


def test_python_stubs_are_generated_and_import_without_roadshift(tmp_path: Path) -> None:
    files = run_from_readme(r"python -m grpc_tools\.protoc -I proto --python_out=[^`]*", tmp_path)
    assert files == {"roadshift/v1/segmentation_pb2.py", "roadshift/v1/segmentation_pb2_grpc.py"}
    program = "from roadshift.v1 import segmentation_pb2_grpc as g; print(g.__file__, g.SegmentationStub.__name__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "gen")}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("language", "limit"),
    [
        ("cpp", r"SetMaxReceiveMessageSize\((\d+) << (\d+)\)"),
        ("python", r'"grpc.max_receive_message_length", (\d+) << (\d+)\)'),
    ],
)
def test_every_sample_takes_the_raw_maps_of_a_4k_frame(language: str, limit: str) -> None:
    ((number, shift),) = re.findall(limit, sample(language))
    assert int(number) << int(shift) > RAW_MAPS_BYTES


def test_the_limit_of_grpcurl_is_raised_too() -> None:
    assert int(re.findall(r"grpcurl -max-msg-sz (\d+)", README)[0]) > RAW_MAPS_BYTES


async def test_the_python_sample_gets_the_labels_of_a_4k_frame(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    jpeg = io.BytesIO()
    Image.fromarray(np.zeros((*FRAME_HW_4K, 3), np.uint8)).save(jpeg, "JPEG")
    code = sample("python").replace("127.0.0.1:8500", served.address).replace("timeout=2", "timeout=120")
    names: dict[str, Any] = {"jpeg_bytes": jpeg.getvalue()}
    await asyncio.to_thread(exec, code, names)
    names["channel"].close()
    assert (names["response"].labels.height, names["response"].labels.width) == FRAME_HW_4K
    assert len(names["response"].labels.data) == 2160 * 3840


def test_the_sample_tells_overload_from_a_message_that_is_too_large() -> None:
    comment = " ".join(line.strip("/ ") for line in sample("cpp").splitlines() if line.startswith("//"))
    assert 'Overload is RESOURCE_EXHAUSTED with "retry-after-ms"' in comment
    assert "Without it a message was larger than a limit" in comment
