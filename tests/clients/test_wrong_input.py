"""What users get wrong at the command line: each mistake gets one clear line and an exit code, and no traceback."""

import asyncio
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cli import app_for
from tests.gateways import StartGateway

ROADSHIFT = Path(sys.executable).with_name("roadshift")


async def run(*arguments: object, **environment: str) -> Result:
    """The command, in a thread beside the gateway's event loop."""
    words = [str(argument) for argument in arguments]
    return await asyncio.to_thread(CliRunner().invoke, app_for(words), words, env=environment)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_of_said_size(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


JPEG = encoded(Image.new("RGB", (64, 32)), "JPEG")
WRONG_FILES = {
    "text.jpg": (b"no image", "neither JPEG nor PNG: convert it"),
    "empty.png": (b"", "neither JPEG nor PNG: convert it"),
    "cmyk.jpg": (encoded(Image.new("CMYK", (64, 32)), "JPEG"), "INVALID_ARGUMENT: the JPEG is CMYK"),
    "deep.png": (
        encoded(Image.fromarray(np.zeros((8, 8), np.uint16)), "PNG"),
        "INVALID_ARGUMENT: the PNG has 16 bits a channel",
    ),
    "bomb.png": (png_of_said_size(100_000, 100_000), "= 10000000000 pixels: send one of at most 16777216"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "INVALID_ARGUMENT: the JPEG"),
}


async def test_each_wrong_file_gets_its_line_and_the_others_are_labelled(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    served = await start_gateway()
    for name, (data, _) in WRONG_FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "one-pixel.png").write_bytes(encoded(Image.new("RGB", (1, 1)), "PNG"))
    (tmp_path / "folder.jpg").mkdir()
    expected = {name: message for name, (_, message) in WRONG_FILES.items()}
    expected |= {"folder.jpg": "Is a directory", "missing.jpg": "No such file or directory", "one-pixel.png": "1x1, "}
    files = [tmp_path / name for name in expected]
    result = await run("segment", *files, "--out", tmp_path / "out", "--server", served.address)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert len(lines) == len(expected)
    for line, (name, message) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"{tmp_path / name}: "), line
        assert message in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one-pixel.labels.png",
        "one-pixel.overlay.jpg",
    ]


async def test_a_wrong_token_and_a_wrong_domain_are_told(start_gateway: StartGateway, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("vehicle right\nannotator pencil\n")
    (tmp_path / "frame.jpg").write_bytes(JPEG)
    served = await start_gateway(token_file=tmp_path / "tokens")
    vehicle = {"ROADSHIFT_TOKEN": "right"}
    command = ("segment", tmp_path / "frame.jpg", "--out", tmp_path / "out", "--server", served.address)
    for token, domain, message in (
        ("wrong", "", "UNAUTHENTICATED: send a client certificate, or a bearer token"),
        ("pencil", "", "PERMISSION_DENIED: this call needs the role vehicle; yours: annotator"),
        ("right", "Not A Domain", "INVALID_ARGUMENT: domain 'Not A Domain' is not a domain name"),
    ):
        result = await run(*command, "--domain", domain, ROADSHIFT_TOKEN=token)
        assert result.exit_code == 1
        assert len(result.output.splitlines()) == 1
        assert message in result.output
    assert (await run(*command, "--domain", "nobody-listed-it", **vehicle)).exit_code == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ROADSHIFT_CA": "/nowhere.pem"}, "ROADSHIFT_CA names /nowhere.pem, which cannot be read: No such file"),
        ({"ROADSHIFT_CLIENT_CERTIFICATE": __file__}, "set both ROADSHIFT_CLIENT_CERTIFICATE and ROADSHIFT_CLIENT_KEY"),
        ({"ROADSHIFT_TOKEN": "two\nlines"}, "ROADSHIFT_TOKEN is no token"),
        ({"ROADSHIFT_CA": __file__}, "does not serve: UNAVAILABLE"),
    ],
)
async def test_wrong_credentials_are_told_before_anything_is_sent(
    start_gateway: StartGateway, variables: dict[str, str], message: str
) -> None:
    served = await start_gateway()
    result = await run("fleet", "--domain", "sim-day", "--server", served.address, **variables)
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert message in result.output


async def test_status_of_what_is_no_metrics_page_is_told(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    for metrics in ("not an address", served.address, "127.0.0.1:1"):
        result = await run("status", "--server", served.address, "--metrics", metrics)
        assert result.exit_code == 1
        assert f"error: no metrics at {metrics}: " in result.output


async def test_a_folder_that_cannot_be_written_is_told(start_gateway: StartGateway, tmp_path: Path) -> None:
    served = await start_gateway()
    (tmp_path / "frame.jpg").write_bytes(JPEG)
    command = [ROADSHIFT, "segment", tmp_path / "frame.jpg", "--server", served.address, "--out", __file__]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"error: {__file__}: File exists\n"
