"""TLS, client certificates, bearer tokens, roles, and where the gateway refuses to listen."""

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path

import grpc
import pytest
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.net.callers import Callers
from exchange.net.listening import StartupError
from server.assembly import Gateway
from server.engine_start import StartedEngine
from server.gateway.access import Access
from server.metrics import GatewayMetrics
from server.segmenter import FakeSegmenter
from server.settings import GatewaySettings
from tests.clocks import Clock
from tests.gateways import StartGateway
from tests.ipv6 import needs_ipv6
from tests.tls_files import TlsFiles, served_certificate


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return TlsFiles(tmp_path)


async def status_of(
    channel: grpc.aio.Channel, frame: pb.Frame, metadata: Iterable[tuple[str, str]] = ()
) -> tuple[str, str]:
    """How a call to Segment ends."""
    try:
        await pb_grpc.SegmentationStub(channel).Segment(pb.SegmentRequest(frame=frame), metadata=tuple(metadata))
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


async def test_tls_answers_those_who_trust_the_authority(
    start_gateway: StartGateway, files: TlsFiles, frame_message: pb.Frame
) -> None:
    served = await start_gateway(tls_certificate=files.certificate, tls_key=files.key)
    async with grpc.aio.secure_channel(served.address, files.client_credentials()) as channel:
        assert await status_of(channel, frame_message) == ("OK", "")
    assert (await status_of(served.channel, frame_message))[0] == "UNAVAILABLE"


async def test_mutual_tls_gives_the_role_of_the_certificate(
    start_gateway: StartGateway, files: TlsFiles, frame_message: pb.Frame
) -> None:
    served = await start_gateway(tls_certificate=files.certificate, tls_key=files.key, tls_client_ca=files.ca)
    for common_name, expected in {
        "vehicle:car-17": ("OK", ""),
        "operator:anna": ("PERMISSION_DENIED", "this call needs the role vehicle; yours: operator"),
        "car-17": (
            "UNAUTHENTICATED",
            "send a client certificate, or a bearer token in the metadata key 'authorization'",
        ),
    }.items():
        async with grpc.aio.secure_channel(served.address, files.client_credentials(common_name)) as channel:
            assert await status_of(channel, frame_message) == expected
    async with grpc.aio.secure_channel(served.address, files.client_credentials()) as channel:
        assert (await status_of(channel, frame_message))[0] == "UNAVAILABLE"  # no certificate, no handshake


async def test_bearer_tokens_give_roles(start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# who may do what\nvehicle road-secret\n\nannotator label-secret\n")
    served = await start_gateway(token_file=tokens)
    assert (await status_of(served.channel, frame_message))[0] == "UNAUTHENTICATED"
    for token, expected in {
        "road-secret": "OK",
        "label-secret": "PERMISSION_DENIED",
        "guess": "UNAUTHENTICATED",
        "": "UNAUTHENTICATED",
    }.items():
        metadata = (("authorization", f"Bearer {token}"),)
        assert (await status_of(served.channel, frame_message, metadata))[0] == expected


async def test_a_stream_needs_the_role_too(start_gateway: StartGateway, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("vehicle road-secret\n")
    served = await start_gateway(token_file=tokens)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await served.stub.SegmentStream(iter([])).read()
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    refused = served.gateway.metrics.registry.get_sample_value
    assert refused("roadshift_refused_total", {"reason": "unauthenticated"}) == 1


async def test_tokens_that_are_put_in_or_taken_out_count_at_once(
    start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("vehicle first\nvehicle second\n")
    served = await start_gateway(token_file=tokens)

    async def until_answers(**expected: str) -> None:
        async def answers() -> dict[str, str]:
            return {
                token: (await status_of(served.channel, frame_message, (("authorization", f"Bearer {token}"),)))[0]
                for token in expected
            }

        async with asyncio.timeout(60):
            while await answers() != expected:
                await asyncio.sleep(0.01)

    await until_answers(first="OK", second="OK", third="UNAUTHENTICATED")
    tokens.write_text("vehicle second\nvehicle third\n")
    await until_answers(first="UNAUTHENTICATED", second="OK", third="OK")
    tokens.write_text("operator second\nvehicle third\n")
    await until_answers(first="UNAUTHENTICATED", second="PERMISSION_DENIED", third="OK")


async def test_a_stream_ends_at_the_next_message_after_its_token_was_taken_out(
    start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("vehicle first\nvehicle second\n")
    served = await start_gateway(token_file=tokens)
    stream = served.stub.SegmentStream(metadata=(("authorization", "Bearer first"),))
    await stream.write(pb.SegmentStreamRequest(settings=pb.StreamSettings(vehicle_id="car-1")))
    await stream.write(pb.SegmentStreamRequest(frame=frame_message))
    assert (await stream.read()).HasField("answer")
    tokens.write_text("vehicle second\n")

    async def frames_until_the_end() -> None:
        while True:
            await stream.write(pb.SegmentStreamRequest(frame=frame_message))
            await stream.read()

    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async with asyncio.timeout(60):
            await frames_until_the_end()
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    refused = served.gateway.metrics.registry.get_sample_value
    assert refused("roadshift_refused_total", {"reason": "unauthenticated"}) == 1


async def test_a_port_shows_the_certificate_that_its_files_hold(
    start_gateway: StartGateway, files: TlsFiles, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = TlsFiles(tmp_path / "new")
    served = await start_gateway(tls_certificate=files.certificate, tls_key=files.key)
    before = await asyncio.to_thread(served_certificate, served.gateway.port)
    shutil.copy(new.certificate, files.certificate)
    shutil.copy(new.key, files.key)
    async with asyncio.timeout(60):
        while await asyncio.to_thread(served_certificate, served.gateway.port) == before:
            await asyncio.sleep(0.01)


def test_a_token_file_that_breaks_later_takes_nobodys_token(tmp_path: Path) -> None:
    tokens, clock = tmp_path / "tokens", Clock()
    tokens.write_text("vehicle first\n")
    callers = Callers(client_certificates=False, token_file=tokens, clock=clock)
    for broken in (b"", b"# nobody\n", b"vehicle\n", b"driver second\n", b"vehicle \xff\n"):
        tokens.write_bytes(broken)
        clock.pass_s(1)
        assert callers.token("first") is not None
        assert callers.token("second") is None
    tokens.write_text("vehicle second\n")
    clock.pass_s(1)
    assert callers.token("first") is None
    assert callers.token("second") is not None


def test_a_token_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"vehicle \xff\n")
    with pytest.raises(StartupError, match="tokens is no text in UTF-8: give it lines of 'ROLE TOKEN'"):
        Callers(client_certificates=False, token_file=tmp_path / "tokens")


@pytest.mark.parametrize(
    "line", ["driver secret", "vehicle", "vehicle two secrets", "vehicle secret #", "vehicle secret # a/b"]
)
def test_a_token_file_that_is_not_understood_stops_the_start(tmp_path: Path, line: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"vehicle secret\n{line}\n")
    with pytest.raises(
        StartupError, match="tokens:2 is not 'ROLE TOKEN' with ROLE one of annotator, operator, vehicle, viewer"
    ):
        Access(client_certificates=False, token_file=tokens, metrics=GatewayMetrics())


REFUSED_TO_LISTEN = [
    ({"listen": "0.0.0.0:0"}, "reachable from other machines: give --tls-certificate"),
    ({"listen": "[::]:0"}, "reachable from other machines"),
    ({"listen": "example.org:0"}, "reachable from other machines"),
    ({"tls_certificate": Path("c.pem")}, "TLS needs both --tls-certificate and --tls-key"),
    ({"tls_certificate": Path("c.pem"), "tls_key": Path("k.pem")}, "c.pem cannot be read: No such file"),
    ({"token_file": Path("nowhere")}, "token file nowhere cannot be read: No such file"),
    ({"metrics": "127.0.0.1:port"}, "cannot serve metrics on 127.0.0.1:port"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED_TO_LISTEN)
async def test_what_cannot_be_opened_safely_is_not_opened(settings: dict[str, object], message: str) -> None:
    chosen = GatewaySettings(**{"listen": "127.0.0.1:0", "metrics": "", **settings})
    with pytest.raises(StartupError, match=message):
        await Gateway(chosen, StartedEngine(FakeSegmenter(), 1)).start()


@pytest.mark.parametrize("listen", ["localhost:0", pytest.param("[::1]:0", marks=needs_ipv6)])
async def test_loopback_needs_no_tls(start_gateway: StartGateway, listen: str) -> None:
    served = await start_gateway(listen=listen)
    assert served.gateway.port > 0
