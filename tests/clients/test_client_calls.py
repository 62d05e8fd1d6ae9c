"""Both clients against a gateway: results, streams, retries, TLS."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from numpy.typing import NDArray
from PIL import Image

from clients.client import (
    AsyncRoadshiftClient,
    Connection,
    FrameSettings,
    FrameToSend,
    RequestFailed,
    RetryBudget,
    RoadshiftClient,
)
from exchange.label_space import PALETTE_RGB, colorize
from server.errors import EngineUnavailable, Overloaded
from tests.gateways import StartGateway, eventually


def png(image_HW3: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, "PNG")
    return buffer.getvalue()


async def blocking(address: str, use: Callable[[RoadshiftClient], Any], **options: Any) -> Any:
    """Runs the blocking client beside the gateway's event loop."""

    def run() -> Any:
        with RoadshiftClient(Connection(address), **options) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def test_both_clients_get_the_maps_of_a_4k_frame(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    noise_hw3 = PALETTE_RGB[np.random.default_rng(0).integers(0, 19, (2160, 3840))]
    settings = FrameSettings(confidence=True)
    results = [await blocking(served.address, lambda client: client.segment(noise_hw3), settings=settings)]
    async with AsyncRoadshiftClient(Connection(served.address), settings) as client:
        results.append(await client.segment(noise_hw3))
    for result in results:
        assert result.labels_HW.shape == result.confidence_HW.shape == (2160, 3840)


async def test_both_clients_return_labels_confidence_and_what_was_said(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8], tmp_path: Path
) -> None:
    served = await start_gateway(domains=("sim-day",))
    settings = FrameSettings("car-1", domain="sim-day", confidence=True)
    file = tmp_path / "frame.png"
    file.write_bytes(png(known_frame))
    results = await blocking(
        served.address, lambda client: [client.segment(image) for image in (file, png(known_frame), known_frame)],
        settings=settings,
    )  # fmt: skip
    async with AsyncRoadshiftClient(Connection(served.address), settings) as client:
        results.append(await client.segment(FrameToSend(known_frame, frame_id="mine")))
        assert await client.is_serving()
    for result in results:
        np.testing.assert_array_equal(result.labels_HW, known_labels)
        assert result.confidence_HW.shape == known_labels.shape
        assert (result.model_version, result.prior_id, result.domain) == (1, "none", "sim-day")
        assert result.mean_confidence == pytest.approx(result.confidence_HW.mean() / 255)
        assert result.class_fractions_K.sum() == pytest.approx(1)
        assert result.stage_seconds["total"] > result.stage_seconds["infer"] > 0
    assert results[-1].frame_id == "mine"
    assert len({result.frame_id for result in results}) == 4


async def test_a_result_draws_itself(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    result = await blocking(
        served.address, lambda client: client.segment(known_frame, FrameSettings(reduce_by=2, confidence=False))
    )
    assert result.confidence_HW is None
    np.testing.assert_array_equal(result.labels_HW, known_labels[::2, ::2])
    np.testing.assert_array_equal(result.colors(), colorize(known_labels[::2, ::2]))
    palette = Image.open(io.BytesIO(result.palette_png()))
    np.testing.assert_array_equal(np.asarray(palette), result.labels_HW)
    assert palette.getpalette()[:57] == PALETTE_RGB.ravel().tolist()
    np.testing.assert_array_equal(result.overlay(known_frame, opacity=1.0), known_frame)  # the colours are the frame
    np.testing.assert_array_equal(result.overlay(known_frame, opacity=0.0), known_frame)


@pytest.mark.parametrize("no_frame", [b"\xff\xd8\xff", b"no image", Path("nowhere.png")])
async def test_streams_give_every_frame_its_outcome(
    start_gateway: StartGateway, no_frame: bytes | Path, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    frames = [FrameToSend(known_frame, "a"), FrameToSend(no_frame, "b"), FrameToSend(png(known_frame), "c")]

    async def sending() -> AsyncIterator[FrameToSend]:
        for frame in frames:
            yield frame

    outcomes = await blocking(served.address, lambda client: list(client.stream(frames)))
    async with AsyncRoadshiftClient(Connection(served.address)) as client:
        outcomes += [outcome async for outcome in client.stream(sending())]
    for first, second, third in (outcomes[:3], outcomes[3:]):
        assert (first.frame_id, second.frame_id, third.frame_id) == ("a", "b", "c")
        np.testing.assert_array_equal(first.result.labels_HW, known_labels)
        assert second.error.status is grpc.StatusCode.INVALID_ARGUMENT
        np.testing.assert_array_equal(third.result.labels_HW, known_labels)
        assert not any(outcome.skipped for outcome in (first, second, third))


async def test_a_latest_wins_stream_names_what_it_skipped(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8]
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    inferring = threading.Event()

    def frames() -> Iterator[FrameToSend]:
        yield FrameToSend(known_frame, "first")
        assert inferring.wait(30)
        for name in ("overtaken", "last"):
            yield FrameToSend(known_frame, name)

    stream = asyncio.create_task(
        blocking(served.address, lambda client: list(client.stream(frames(), latest_wins=True)))
    )
    await eventually(lambda: served.segmenter.inferred_frames == 1)
    inferring.set()
    refused = served.gateway.metrics.registry.get_sample_value
    await eventually(lambda: refused("roadshift_refused_total", {"reason": "overtaken"}) == 1)
    served.segmenter.gate.set()
    assert {outcome.frame_id: outcome.skipped for outcome in await stream} == {
        "first": False, "overtaken": True, "last": False,
    }  # fmt: skip


@pytest.mark.parametrize("failure", [EngineUnavailable("being repaired"), Overloaded("full", retry_after_s=0.02)])
async def test_what_passes_is_tried_again_until_it_is_answered(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], failure: Any
) -> None:
    served = await start_gateway()
    served.segmenter.failure = failure
    async with AsyncRoadshiftClient(Connection(served.address)) as client:
        call = asyncio.create_task(client.segment(known_frame))
        await eventually(lambda: served.segmenter.inferred_frames >= 2)
        served.segmenter.failure = None
        assert (await call).model_version == 1
    served.segmenter.failure = failure
    seen = served.segmenter.inferred_frames
    call = asyncio.create_task(blocking(served.address, lambda client: client.segment(known_frame)))
    await eventually(lambda: served.segmenter.inferred_frames >= seen + 2)
    served.segmenter.failure = None
    assert (await call).model_version == 1


async def test_a_request_fails_with_the_last_status_when_its_time_or_the_budget_is_used_up(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    served.segmenter.failure = Overloaded("full", retry_after_s=0.01)
    with pytest.raises(RequestFailed, match="RESOURCE_EXHAUSTED: full") as spent:
        await blocking(served.address, lambda client: client.segment(known_frame), budget=RetryBudget(3))
    assert spent.value.attempts == 4
    served.segmenter.failure = None
    served.segmenter.gate.clear()
    async with AsyncRoadshiftClient(Connection(served.address), timeout_s=0.1) as client:
        with pytest.raises(RequestFailed) as late:
            await client.segment(known_frame)
    assert late.value.status is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"GIF89a", "neither JPEG nor PNG"),
        (np.zeros((4, 4), dtype=np.uint8), r"pixels of uint8 \(4, 4\): give uint8 \[height, width, 3\], RGB"),
        (np.zeros((4, 4, 3), dtype=np.float32), "pixels of float32"),
    ],
)
def test_what_is_no_frame_is_not_sent(image: Any, message: str) -> None:
    with RoadshiftClient(Connection("127.0.0.1:1")) as client, pytest.raises(ValueError, match=message):
        client.segment(image)


@pytest.mark.parametrize("address", ["gateway.example:8500", "192.0.2.7:8500", "[2001:db8::1]:8500"])
def test_a_token_is_not_sent_in_plain_text_beyond_loopback(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADSHIFT_TOKEN", "road-secret")
    with pytest.raises(ValueError, match=r"in plain text: set ROADSHIFT_CA .* or ROADSHIFT_INSECURE=1"):
        Connection.from_environment(address)
    monkeypatch.setenv("ROADSHIFT_INSECURE", "1")
    assert Connection.from_environment(address).token is not None
    monkeypatch.delenv("ROADSHIFT_INSECURE")
    for own in ("127.0.0.1:8500", "localhost:8500", "[::1]:8500", "unix:/run/roadshift"):
        assert Connection.from_environment(own).token is not None


def test_a_gateway_that_is_not_there_is_a_failed_request() -> None:
    with RoadshiftClient(Connection("127.0.0.1:1"), timeout_s=0.3) as client:
        with pytest.raises(RequestFailed, match="UNAVAILABLE"):
            client.is_serving()
        with pytest.raises(RequestFailed, match="UNAVAILABLE"):
            client.segment(np.zeros((4, 4, 3), dtype=np.uint8))
        with pytest.raises(RequestFailed, match="UNAVAILABLE"):
            list(client.stream([FrameToSend(np.zeros((4, 4, 3), dtype=np.uint8))]))


async def test_a_connection_shows_its_certificate_and_token(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "car")}
    authority.cert_pem.write_to_path(files["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files["server"])
    car = authority.issue_cert("car@example.org", common_name="vehicle:car-1")
    car.private_key_and_cert_chain_pem.write_to_path(files["car"])
    by_certificate = await start_gateway(
        tls_certificate=files["server"], tls_key=files["server"], tls_client_ca=files["ca"]
    )
    (tmp_path / "tokens").write_text("vehicle road-secret\n")
    by_token = await start_gateway(token_file=tmp_path / "tokens")
    monkeypatch.setenv("ROADSHIFT_CA", str(files["ca"]))
    monkeypatch.setenv("ROADSHIFT_CLIENT_CERTIFICATE", str(files["car"]))
    monkeypatch.setenv("ROADSHIFT_CLIENT_KEY", str(files["car"]))
    async with AsyncRoadshiftClient(Connection.from_environment(by_certificate.address)) as client:
        assert (await client.segment(known_frame)).model_version == 1
    for name in ("CA", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        monkeypatch.delenv(f"ROADSHIFT_{name}")
    monkeypatch.setenv("ROADSHIFT_TOKEN", "road-secret")
    async with AsyncRoadshiftClient(Connection.from_environment(by_token.address)) as client:
        assert (await client.segment(known_frame)).model_version == 1
