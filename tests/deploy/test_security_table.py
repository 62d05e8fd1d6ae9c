"""Every call and every page, by every role: answered or refused as deploy/SECURITY.md says."""

import re
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.deploy.callers import LINK, PATIENCE_S, Browser, Files, Learner, Mode, browsing, console_row
from tests.deploy.security_table import (
    GATEWAY,
    LEARNER,
    NO,
    NOTHING,
    ORDERS,
    ROLES,
    YES,
    Row,
    console_routes,
    methods,
    read_table,
    services,
)
from tests.gateways import StartGateway

TABLE = read_table()
_ROUTE = re.compile(r"(GET|POST|WS) (/\S*)")
_WORDS = {
    grpc.StatusCode.OK: YES,
    grpc.StatusCode.INVALID_ARGUMENT: YES,  # messages are empty
    grpc.StatusCode.FAILED_PRECONDITION: YES,
    grpc.StatusCode.NOT_FOUND: YES,
    grpc.StatusCode.UNIMPLEMENTED: NOTHING,
}


async def answers(files: Files, port: int, parts: Iterable[object]) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return what each method answers each role, and what the table says of it."""
    given: dict[str, Row] = {name: {} for name in methods(parts)}
    for role in ROLES:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", files.credentials(role)) as channel:
            for name in given:
                given[name][role] = await answer(channel, name, files.metadata(role), role)
    return given, {name: files.expected(TABLE[name]) for name in given}


async def answer(channel: grpc.aio.Channel, method: str, metadata: tuple[tuple[str, str], ...], role: str) -> str:
    """One of the table's words for a call with an empty message, else the status."""
    call: Any = channel.unary_stream(f"/{method}")(b"", metadata=metadata, timeout=PATIENCE_S)  # type: ignore[arg-type]  # the same on the wire
    try:
        if await call.read() is not grpc.aio.EOF:
            call.cancel()
            return YES
        status = await call.code()
    except grpc.aio.AioRpcError as error:
        status = error.code()
    unknown, known = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    if status is (unknown if role == "nobody" else known):
        return NO
    return _WORDS.get(status, status.name)


def test_the_table_has_a_row_for_each_call_and_page_and_no_other() -> None:
    calls = methods((*GATEWAY, *LEARNER))
    own = {"GET /login", "POST /name"}
    assert set(TABLE) == {*calls, *console_routes(), *own, *ORDERS}


async def test_the_gateway_answers_whom_the_table_lets_in(files: Files, start_gateway: StartGateway) -> None:
    served = await start_gateway(None, **files.settings)
    given, said = await answers(files, served.gateway.port, GATEWAY)
    assert given == said
    if files.mode is Mode.MUTUAL:
        target = f"127.0.0.1:{served.gateway.port}"
        async with grpc.aio.secure_channel(target, files.without_certificate()) as channel:
            assert await answer(channel, "grpc.health.v1.Health/Check", (), "nobody") == "UNAVAILABLE"


async def test_the_table_knows_every_service_of_the_gateway(start_gateway: StartGateway) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub((await start_gateway()).channel)  # type: ignore[arg-type]
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    found = await stub.ServerReflectionInfo(iter([asked])).read()
    assert {each.name for each in found.list_services_response.service} == {s.full_name for s in services(GATEWAY)}


async def test_the_learner_answers_whom_the_table_lets_in(learner: Learner) -> None:
    given, said = await answers(learner.files, learner.process.port, LEARNER)
    assert given == said


@pytest.mark.parametrize("role", [*ROLES, LINK])
def test_the_console_opens_for_whom_the_table_lets_in(learner: Learner, role: str) -> None:
    if role == LINK and learner.files.mode is not Mode.OPEN:
        pytest.skip("there is no link where there are tokens or certificates")
    rows = {name: console_row(TABLE[name], learner.files.mode) for name in TABLE if _ROUTE.fullmatch(name)}
    with browsing(learner, role) as browser:
        given = {name: may_open(browser, name) for name in rows}
    assert given == {name: row[role] for name, row in rows.items()}


def may_open(browser: Browser, route: str) -> str:
    """Return the table's word for a page, picture, file, form or WebSocket."""
    found = _ROUTE.fullmatch(route)
    assert found is not None, route
    kind, path = found[1], re.sub(r"\{\w+\}", "none", found[2])
    if kind == "WS":
        return may_follow(browser, path)
    answer = browser.client.request(kind, path)
    if answer.status_code == 401 or answer.text == "log in first\n":
        return NO
    return YES if answer.status_code < 500 else str(answer.status_code)


def may_follow(browser: Browser, path: str) -> str:
    """Return the table's word for the WebSocket by which pages give their orders."""
    client = browser.client
    address = str(client.base_url).rstrip("/").replace("http", "ws", 1)
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    try:
        with connect(
            f"{address}{path}/socket.io/?EIO=4&transport=websocket",
            additional_headers={"cookie": cookies},
            origin=Origin(client.headers["origin"]),
            ssl=browser.context,
        ):
            return YES
    except InvalidStatus as error:
        return NO if error.response.status_code == 403 else str(error.response.status_code)
