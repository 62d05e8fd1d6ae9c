"""Errors of calls: defects, messages that cannot be parsed, refusals; and answers as they are."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from exchange.net.call_errors import CallErrors
from exchange.net.logs import REQUEST_ID_KEY, JsonFormatter, SeldomLog

SERVICE = "test.Service"
KINDS = {
    "fail": grpc.StatusCode.INTERNAL,
    "refuse": grpc.StatusCode.NOT_FOUND,
    "no utf-8": grpc.StatusCode.INVALID_ARGUMENT,
}


@pytest.fixture
def logged() -> Iterator[list[dict[str, str]]]:
    """What the guard logs from here on."""
    lines: list[dict[str, str]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    handler, logger = Keeping(), logging.getLogger("exchange")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def parse(data: bytes) -> str:
    return data.decode()


async def answer_soon(text: str, context: Any) -> bytes:
    if text == "fail":
        context.set_trailing_metadata(((REQUEST_ID_KEY, "car-17"),))
        raise ValueError("a secret")
    if text == "refuse":
        await context.abort(grpc.StatusCode.NOT_FOUND, "there is none")
    return text.encode()


async def answers_soon(texts: AsyncIterator[str], context: Any) -> AsyncIterator[bytes]:
    async for text in texts:
        yield await answer_soon(text, context)


def handlers(unary: Any, stream: Any) -> Any:
    by_name: dict[str, Any] = {
        "One": grpc.unary_unary_rpc_method_handler(unary, parse),
        "Many": grpc.stream_stream_rpc_method_handler(stream, parse),
    }
    return grpc.method_handlers_generic_handler(SERVICE, by_name)


def data_of(kind: str) -> bytes:
    return b"\xff" if kind == "no utf-8" else kind.encode()


def check(registry: CollectorRegistry, logged: list[dict[str, str]], process: str) -> None:
    """After each kind was sent twice to each of the two calls."""
    labels = {"service": SERVICE}
    assert registry.get_sample_value("roadshift_unparsable_messages_total", labels) == 4
    assert registry.get_sample_value("roadshift_call_defects_total", labels) == 4
    defect, unparsable = sorted(logged, key=lambda line: line["level"])
    assert defect["message"] == f"a call of {SERVICE} ended with a defect of the {process}"
    assert "a secret" in defect["exception"]
    assert defect["request_id"] == "car-17"
    assert (unparsable["level"], "exception" in unparsable) == ("WARNING", False)


async def sent(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def test_a_server_with_asyncio(logged: list[dict[str, str]]) -> None:
    registry = CollectorRegistry()
    errors = CallErrors("gateway", registry)
    server = grpc.aio.server(interceptors=(errors,))
    server.add_generic_rpc_handlers((handlers(answer_soon, answers_soon),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        one: Any
        many: Any
        one, many = channel.unary_unary(f"/{SERVICE}/One"), channel.stream_stream(f"/{SERVICE}/Many")
        for kind, status in KINDS.items():
            for _ in range(2):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await one(data_of(kind))
                assert (refused.value.code(), "secret" in (refused.value.details() or "")) == (status, False)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    [answered async for answered in many(sent(b"good", data_of(kind)))]
                assert refused.value.code() is status
        assert await one(b"good") == b"good"
        assert [answered async for answered in many(sent(b"a", b"b"))] == [b"a", b"b"]
    await server.stop(None)
    check(registry, logged, "gateway")


def test_what_was_left_out_is_told_with_the_next_line(logged: list[dict[str, str]]) -> None:
    seldom = SeldomLog(logging.getLogger("exchange.test"), every_s=1e9)
    for _ in range(3):
        seldom.warning("hello")
    eager = SeldomLog(logging.getLogger("exchange.test"), every_s=0)
    for _ in range(2):
        eager.warning("again")
    assert [line["message"] for line in logged] == ["hello", "again", "again"]
