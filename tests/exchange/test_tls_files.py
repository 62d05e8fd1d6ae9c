"""Certificates, keys and authorities that are replaced while ports are open: gRPC's, and those of asyncio's servers."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from exchange.net.startup_error import StartupError
from exchange.net.tls_files import TlsFiles as ServedTlsFiles
from tests.clocks import Clock
from tests.tls_files import TlsFiles, served_certificate

OpenPort: TypeAlias = Callable[[ServedTlsFiles], Awaitable[int]]


@pytest.fixture
def old(tmp_path: Path) -> TlsFiles:
    return made(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> TlsFiles:
    return made(tmp_path / "new")


def made(folder: Path) -> TlsFiles:
    folder.mkdir()
    return TlsFiles(folder)


@pytest.fixture
async def grpc_port() -> AsyncIterator[OpenPort]:
    async with AsyncExitStack() as stack:

        async def open_port(tls: ServedTlsFiles) -> int:
            server = grpc.aio.server()
            health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
            port = server.add_secure_port("127.0.0.1:0", tls.grpc_credentials())
            await server.start()
            stack.push_async_callback(server.stop, None)
            return port

        yield open_port


@pytest.fixture
async def asyncio_port() -> AsyncIterator[OpenPort]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with AsyncExitStack() as stack:

        async def open_port(tls: ServedTlsFiles) -> int:
            starting = asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls.server_context())
            server = await stack.enter_async_context(await starting)
            return int(server.sockets[0].getsockname()[1])

        yield open_port


@pytest.fixture(params=["grpc_port", "asyncio_port"])
def open_port(request: pytest.FixtureRequest, grpc_port: OpenPort, asyncio_port: OpenPort) -> OpenPort:
    return grpc_port if request.param == "grpc_port" else asyncio_port


async def served(port: int) -> str:
    return await asyncio.to_thread(served_certificate, port)


def leaf(certificate: Path) -> str:
    """The first one of a file, as `served_certificate` tells it."""
    first = certificate.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(first))


async def test_new_connections_get_the_certificate_that_the_files_hold(
    old: TlsFiles, new: TlsFiles, open_port: OpenPort
) -> None:
    clock = Clock()
    port = await open_port(ServedTlsFiles(old.certificate, old.key, None, clock))
    before, after = leaf(old.certificate), leaf(new.certificate)
    assert await served(port) == before
    shutil.copy(new.key, old.key)
    clock.pass_s(1)
    assert await served(port) == before, "the key came first, and is of no certificate yet"
    shutil.copy(new.certificate, old.certificate)
    clock.pass_s(1)
    assert await served(port) == after
    old.certificate.write_bytes(old.certificate.read_bytes()[:300])
    clock.pass_s(1)
    assert await served(port) == after, "half a certificate"
    old.key.unlink()
    clock.pass_s(1)
    assert await served(port) == after, "no key"
    assert await served(port) == after


async def test_a_key_of_another_kind_leaves_nothing_of_the_one_before(
    old: TlsFiles, tmp_path: Path, open_port: OpenPort
) -> None:
    clock = Clock()
    port = await open_port(ServedTlsFiles(old.certificate, old.key, None, clock))
    rsa = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    rsa.private_key_pem.write_to_path(old.key)
    rsa.cert_chain_pems[0].write_to_path(old.certificate)
    clock.pass_s(1)
    assert await served(port) == leaf(old.certificate)


async def test_callers_of_an_authority_that_was_taken_out_are_strangers(
    old: TlsFiles, new: TlsFiles, tmp_path: Path, grpc_port: OpenPort
) -> None:
    clock = Clock()
    authorities = tmp_path / "authorities"
    shutil.copy(old.ca, authorities)
    port = await grpc_port(ServedTlsFiles(old.certificate, old.key, authorities, clock))

    async def status_for(authority: TlsFiles) -> grpc.StatusCode:
        certificate, key = (path.read_bytes() for path in authority.issue("car@example.org", "vehicle:car-17"))
        credentials = grpc.ssl_channel_credentials(old.ca.read_bytes(), key, certificate)
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            try:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    answered, refused = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
    assert (await status_for(old), await status_for(new)) == (answered, refused)
    shutil.copy(new.ca, authorities)
    clock.pass_s(1)
    assert (await status_for(old), await status_for(new)) == (refused, answered)
    authorities.write_text("no certificate")
    clock.pass_s(1)
    assert (await status_for(old), await status_for(new)) == (refused, answered)


async def test_callers_of_an_authority_that_was_taken_out_are_strangers_to_web_servers(
    old: TlsFiles, new: TlsFiles, tmp_path: Path, asyncio_port: OpenPort
) -> None:
    clock = Clock()
    authorities = tmp_path / "authorities"
    shutil.copy(old.ca, authorities)
    port = await asyncio_port(ServedTlsFiles(old.certificate, old.key, authorities, clock))

    async def greeted(authority: TlsFiles) -> bool:
        context = ssl.create_default_context(cafile=old.ca)
        context.load_cert_chain(*authority.issue("ann@example.org", "operator:ann"))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                said = await reader.read()
            finally:
                writer.close()
        except OSError:
            return False
        return said == b"hello\n"

    assert (await greeted(old), await greeted(new)) == (True, False)
    shutil.copy(new.ca, authorities)
    clock.pass_s(1)
    assert (await greeted(old), await greeted(new)) == (False, True)


def test_a_pair_that_does_not_belong_together_is_refused(old: TlsFiles, new: TlsFiles) -> None:
    with pytest.raises(StartupError, match="are not a certificate and its key: give PEM files that belong together"):
        ServedTlsFiles(old.certificate, new.key, None)
    with pytest.raises(StartupError, match="holds no certificate: give the authority's as a PEM file"):
        ServedTlsFiles(old.certificate, old.key, old.key)
