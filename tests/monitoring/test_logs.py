"""Logs as JSON: one object a line, with the ids of the request or round that they are about."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context

import grpc
import pytest
from roadshift.v1 import segmentation_pb2 as pb

from exchange.net.logs import VARIABLE, JsonFormatter, LibraryWarnings, current_ids, note_ids, working_on
from server.errors import EngineFailed
from tests.gateways import StartGateway, eventually


def formatted(message: str, *arguments: object, error: BaseException | None = None) -> dict[str, str]:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("a.logger", logging.WARNING, __file__, 1, message, arguments, exc_info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told: dict[str, str] = json.loads(line)
    return told


def test_a_line_says_when_where_and_what() -> None:
    told = formatted("two\nlines of %s", "dusk")
    assert told.pop("time").endswith("Z")
    assert told == {"level": "WARNING", "logger": "a.logger", "message": "two\nlines of dusk"}


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("no lease")
    except ValueError as error:
        told = formatted("failed", error=error)
    assert told["exception"].startswith("Traceback")
    assert told["exception"].endswith("ValueError: no lease")


def test_ids_are_those_of_what_is_worked_on() -> None:
    with working_on(round_id="r1"):
        with working_on(request_id="q1"):
            assert formatted("x").items() >= {"round_id": "r1", "request_id": "q1"}.items()
        assert "request_id" not in formatted("x")
    assert "round_id" not in formatted("x")


def test_a_library_warns_once_a_minute_from_each_place() -> None:
    def kept(name: str, level: int, line: int, text: str) -> str | None:
        record = logging.LogRecord(name, level, "library.py", line, "%s", (text,), None)
        return record.getMessage() if seldom.filter(record) else None

    seldom = LibraryWarnings(every_s=3600.0)
    assert kept("uvicorn.error", logging.WARNING, 7, "no HTTP") == "no HTTP"
    assert [kept("uvicorn.error", logging.WARNING, 7, f"no HTTP {number}") for number in range(9)] == [None] * 9
    assert kept("uvicorn.error", logging.WARNING, 8, "another place") == "another place"
    assert kept("uvicorn.error", logging.INFO, 7, "a matter of course") == "a matter of course"
    assert [kept("server.gateway", logging.WARNING, 7, "our own") for _ in range(2)] == ["our own"] * 2
    often = LibraryWarnings(every_s=0.0)
    record = logging.LogRecord("asyncio", logging.ERROR, "library.py", 7, "no descriptor", None, None)
    assert [often.filter(record) for _ in range(3)] == [True] * 3


def test_what_a_library_was_not_let_say_is_counted() -> None:
    seldom = LibraryWarnings(every_s=0.2)
    said: list[str] = []
    while len(said) < 2:
        record = logging.LogRecord("asyncio", logging.ERROR, "library.py", 7, "no descriptor", None, None)
        if seldom.filter(record):
            said.append(record.getMessage())
    assert said[0] == "no descriptor"
    assert re.fullmatch(r"no descriptor \(\d+ more since the last such line\)", said[1])


async def test_tasks_keep_their_ids_apart() -> None:
    async def task(name: str) -> dict[str, str]:
        note_ids(request_id=name)
        await asyncio.sleep(0)
        return formatted("x")

    told = await asyncio.gather(*(task(name) for name in ("a", "b")))
    assert [line["request_id"] for line in told] == ["a", "b"]
    assert current_ids() == {}


def test_a_block_may_end_in_another_thread() -> None:
    def begun_here_and_ended_there() -> None:
        block = working_on(request_id="q1")
        block.__enter__()
        ending = threading.Thread(target=block.__exit__, args=(None, None, None))
        ending.start()
        ending.join()

    copy_context().run(begun_here_and_ended_there)
    assert current_ids() == {}


@pytest.mark.parametrize(
    ("form", "option", "is_json"), [("", False, False), ("json", False, True), ("text", True, True)]
)
def test_option_and_environment_choose_the_format(form: str, option: bool, is_json: bool) -> None:
    code = f"import logging, exchange.net.logs as l; l.configure_logs(as_json={option}); logging.warning('hello')"
    ended = subprocess.run(
        [sys.executable, "-c", code + "; import os; print(os.environ[l.VARIABLE])"],
        env=os.environ | {VARIABLE: form}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.strip() == ("json" if is_json else "text"), "what its own processes will do"
    assert (ended.stderr.startswith("{"), "hello" in ended.stderr) == (is_json, True)


@pytest.fixture
def logged() -> Iterator[list[dict[str, str]]]:
    """What the gateway logs from here on."""
    lines: list[dict[str, str]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    handler, logger = Keeping(), logging.getLogger("server")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


async def test_a_frame_that_failed_is_found_by_the_id_that_its_caller_got(
    start_gateway: StartGateway, frame_message: pb.Frame, logged: list[dict[str, str]]
) -> None:
    served = await start_gateway()
    served.segmenter.failure = EngineFailed("the engine answered with an error")
    got = []
    for metadata in ((("x-request-id", "car-17:42"),), (("x-request-id", "no id\\n"),), ()):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await served.stub.Segment(pb.SegmentRequest(frame=frame_message), metadata=metadata)
        got.append(dict(failure.value.trailing_metadata() or ())["x-request-id"])
    assert got[0] == "car-17:42"
    assert re.fullmatch(r"[0-9a-f]{32}", got[1])
    assert [(line["request_id"], line["level"]) for line in logged] == [(one, "WARNING") for one in got]
    assert "the engine answered with an error" in logged[0]["message"]


async def test_a_frame_that_waited_logs_under_its_own_id(
    start_gateway: StartGateway, frame_message: pb.Frame, logged: list[dict[str, str]]
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    served.segmenter.failure = EngineFailed("broken")
    ids = ("first", "second")
    calls = []
    for number, name in enumerate(ids):
        call = served.stub.Segment(pb.SegmentRequest(frame=frame_message), metadata=(("x-request-id", name),))
        calls.append(call)
        admission = served.gateway.admission
        await eventually(lambda wanted=number + 1, a=admission: a.in_flight + a.queued == wanted)
    served.segmenter.gate.set()
    assert len(await asyncio.gather(*calls, return_exceptions=True)) == 2
    assert sorted(line["request_id"] for line in logged) == sorted(ids)
