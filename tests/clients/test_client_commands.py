"""`roadshift segment`, `fleet` and `status` against a gateway."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from cli import app_for
from clients.client import AsyncRoadshiftClient, Connection
from clients.gateway_status import parse_samples
from clients.simulation.fleet import FleetReport, confusion
from clients.simulation.fleet_plan import fleet_table
from tests.gateways import StartGateway
from tests.ipv6 import needs_ipv6


async def run(*arguments: object) -> Result:
    """The command, in a thread beside the gateway's event loop."""
    words = [str(argument) for argument in arguments]
    return await asyncio.to_thread(CliRunner().invoke, app_for(words), words)


async def test_segment_writes_labels_and_overlays_and_reports_what_failed(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8], tmp_path: Path
) -> None:
    served = await start_gateway()
    good, bad, out = tmp_path / "good.png", tmp_path / "bad.jpg", tmp_path / "out"
    Image.fromarray(known_frame).save(good)
    bad.write_bytes(b"\xff\xd8\xff no jpeg")
    result = await run("segment", good, bad, "--out", out, "--server", served.address)
    assert result.exit_code == 1
    assert "good.png: 128x64, version 1" in result.output
    assert "bad.jpg: INVALID_ARGUMENT: the JPEG's header is damaged" in result.output
    assert sorted(path.name for path in out.iterdir()) == ["good.labels.png", "good.overlay.jpg"]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "good.labels.png")), known_labels)
    overlay = cv2.imread(str(out / "good.overlay.jpg"))[..., ::-1]
    assert np.abs(overlay.astype(int) - known_frame).mean() < 20  # the colours over themselves
    assert (await run("segment", good, "--out", out, "--server", served.address)).exit_code == 0


async def test_segment_goes_on_after_files_that_are_not_whole(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], tmp_path: Path
) -> None:
    served = await start_gateway()
    files = {name: tmp_path / name for name in ("noend.png", "empty.jpg", "webp.jpg", "away.png", "good.png")}
    Image.fromarray(known_frame).save(files["good.png"])
    files["noend.png"].write_bytes(files["good.png"].read_bytes()[:-12])
    files["empty.jpg"].touch()
    Image.fromarray(known_frame).save(files["webp.jpg"], "WEBP")
    result = await run("segment", *files.values(), "--out", tmp_path / "out", "--server", served.address)
    assert result.exit_code == 1
    assert "noend.png: INVALID_ARGUMENT: the PNG is damaged or truncated" in result.output
    assert "empty.jpg: neither JPEG nor PNG" in result.output
    assert "webp.jpg: neither JPEG nor PNG" in result.output
    assert "away.png: No such file" in result.output
    assert "good.png: 128x64, version 1" in result.output
    assert len(result.output.splitlines()) == len(files)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.labels.png", "good.overlay.jpg"]


async def test_segment_does_not_overwrite_one_file_by_another(start_gateway: StartGateway, tmp_path: Path) -> None:
    files = [tmp_path / "a" / "frame.png", tmp_path / "b" / "frame.png"]
    for file in files:
        file.parent.mkdir()
        file.touch()
    served = await start_gateway()
    result = await run("segment", *files, "--out", tmp_path / "out", "--server", served.address)
    assert result.exit_code == 2
    assert "two files are called frame" in result.output


@pytest.mark.parametrize(
    ("names", "out"),
    [
        (("frame.png", "frame.jpg"), "out"),
        (("Frame.png", "frame.png"), "out"),
        (("frame.png", "frame.labels.png"), "."),
    ],
)
async def test_segment_names_both_files_and_writes_nothing(
    names: tuple[str, str], out: str, start_gateway: StartGateway, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).touch()
    served = await start_gateway()
    files = [tmp_path / name for name in names]
    result = await run("segment", *files, "--out", tmp_path / out, "--server", served.address)
    assert result.exit_code == 2
    told = "".join(result.output.replace("│", "").split())
    assert all(str(file) in told for file in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


async def test_fleet_drives_and_shows_a_row_for_each_domain(start_gateway: StartGateway, tmp_path: Path) -> None:
    served = await start_gateway(domains=("sim-day",))
    small = ("--vehicles", 2, "--frames", 3, "--distinct", 1, "--fps", 50, "--size", "64x128")
    result = await run(
        "fleet", "--domain", "sim-day", *small, "--pictures", tmp_path / "pictures", "--server", served.address
    )
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if line.startswith("│ sim-day"))
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:2] == ["sim-day", "6"]
    assert cells[5:7] == ["0", "0"]
    assert 0 <= float(cells[7]) <= 100
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["sim-day-0.png", "sim-day-1.png"]
    assert cv2.imread(str(tmp_path / "pictures" / "sim-day-0.png")).shape == (64, 3 * 128, 3)
    value = served.gateway.metrics.registry.get_sample_value
    assert value("roadshift_requests_total", {"domain": "sim-day", "version": "1", "status": "OK"}) == 6


@pytest.mark.parametrize("command", [("fleet", "--domain", "sim-day"), ("segment", __file__, "--out", "unused")])
async def test_without_a_gateway_there_is_one_line_at_once(command: tuple[str, ...]) -> None:
    result = await run(*command, "--server", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.output.startswith("error: the gateway at 127.0.0.1:1 does not serve: UNAVAILABLE")
    assert len(result.output.splitlines()) == 1


async def test_a_domain_that_does_not_exist_is_told_at_once(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    result = await run("fleet", "--domain", "sim-night", "--server", served.address)
    assert result.exit_code == 2
    assert "unknown domain 'sim-night'" in result.output


async def test_status_shows_health_and_metrics_and_fails_when_nothing_serves(start_gateway: StartGateway) -> None:
    served = await start_gateway(metrics="127.0.0.1:0")
    addresses = ("--server", served.address, "--metrics", f"127.0.0.1:{served.gateway.metrics_port}")
    result = await run("status", *addresses)
    assert result.exit_code == 0
    rows = dict(map(str.strip, line.strip("│").split("│")) for line in result.output.splitlines() if "│" in line)
    assert rows["health"] == "SERVING"
    assert rows["versions serving"] == rows["versions ready"] == "1"
    assert rows["refused by reason"] == "none"
    served.segmenter.versions.clear()
    async with AsyncRoadshiftClient(Connection(served.address)) as client:
        while await client.is_serving():
            await asyncio.sleep(0.01)
    assert (await run("status", *addresses)).exit_code == 1
    as_url = await run("status", *addresses[:3], f"http://{addresses[3]}/metrics")
    assert "no metrics" not in as_url.output
    nowhere = await run("status", "--server", "127.0.0.1:1", "--metrics", "127.0.0.1:1")
    assert nowhere.exit_code == 1
    assert "no metrics at 127.0.0.1:1" in nowhere.output


@needs_ipv6
async def test_every_address_may_be_of_ipv6(start_gateway: StartGateway) -> None:
    served = await start_gateway(listen="[::1]:0", metrics="[::1]:0")
    here, metrics = f"[::1]:{served.gateway.port}", f"[::1]:{served.gateway.metrics_port}"
    told = await run("status", "--server", here, "--metrics", metrics)
    assert told.exit_code == 0, told.output
    assert "versions serving" in told.output


def test_an_address_that_is_none_gets_one_clear_line(tmp_path: Path) -> None:
    here = "127.0.0.1:1"
    for command in (
        ("status", "--metrics", "", "--server"),
        ("status", "--learner"),
        ("segment", __file__, "--out", str(tmp_path / "labels"), "--server"),
        ("fleet", "--domain", "sim-day", "--server"),
        ("round", "list", "--server"),
        ("status", "--server", here, "--metrics"),
    ):
        result = CliRunner().invoke(app_for(command), [*command, "::1:9610"])
        assert result.exit_code == 1
        assert "::1:9610 is ambiguous: write an IPv6 address in brackets, such as [::1]:9610" in result.stderr


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    text = '# HELP a b\na_total{domain="sim-day",status="OK"} 3.0\nb 1e-05\n'
    expected: list[Any] = [("a_total", {"domain": "sim-day", "status": "OK"}, 3.0), ("b", {}, 1e-05)]
    assert parse_samples(text) == expected


def test_a_report_counts_latency_refusals_and_iou() -> None:
    report = FleetReport("sim-day", elapsed_s=2.0, latencies_s=[0.01, 0.02, 0.03, 0.04])
    report.failures.update({"RESOURCE_EXHAUSTED": 3, "UNAVAILABLE": 1, "INTERNAL": 2})
    assert (report.answered, report.refused, report.failed, report.frames_per_s) == (4, 4, 2, 2.0)
    assert report.latency_s(50) == 0.025
    truth = np.array([[0, 0, 1, 255]], dtype=np.uint8)
    report.confusion_KK += confusion(truth, np.array([[0, 1, 1, 5]], dtype=np.uint8))
    assert report.mean_iou == 0.5  # road 1 of 2, sidewalk 1 of 2; the ignored pixel counts nowhere
    assert np.isnan(FleetReport("sim-day").mean_iou)
    assert list(fleet_table([FleetReport("sim-day")]).columns[-1].cells) == ["-"]


def test_segment_needs_neither_torch_nor_the_server() -> None:
    code = "import sys, clients.cli; print([m for m in ('torch', 'server', 'adaptation') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
