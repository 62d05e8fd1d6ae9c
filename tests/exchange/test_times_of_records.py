"""Times in records: with their zone, of this age, and so fit for messages and sums wherever they are read."""

import json
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import adaptation.control.learner.learner
import adaptation.control.rounds.round_state  # noqa: F401 - has records, too
from adaptation.control.rollout.gateway_watch import GatewayWatch
from exchange.fleet.gateways import Heartbeat
from exchange.storage import open_root
from exchange.storage.locations import heartbeat_key
from exchange.storage.records import Moment, Record, RecordError
from tests.service.learner_rig import beat

BAD = {
    "0001-01-01T00:00:00+14:00": "a time that is not from 1970",
    "9999-12-31T23:59:59-14:00": "a time that is not from 1970",
    "1969-12-31T23:59:59Z": "a time that is not from 1970",
    "2026-03-01T12:00:00": "without its zone",
}


def times_in(annotation: object) -> Iterator[object]:
    """Every datetime in a type, with what validates it."""
    if annotation == Moment or annotation is datetime:
        yield annotation
    else:
        for part in typing.get_args(annotation):
            yield from times_in(part)


def kinds(of: type[Record] = Record) -> Iterator[type[Record]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_time_of_a_record_is_a_moment() -> None:
    found = {
        f"{kind.__name__}.{name}": list(times_in(hint))
        for kind in kinds()
        if kind.__module__.partition(".")[0] != "tests"
        for name, hint in typing.get_type_hints(kind, include_extras=True).items()
    }
    assert len([name for name, times in found.items() if times]) > 20
    assert [name for name, times in found.items() if datetime in times] == []


@pytest.mark.parametrize(("written_at", "refusal"), BAD.items())
def test_a_time_that_cannot_be_is_refused(tmp_path: Path, written_at: str, refusal: str) -> None:
    root = open_root(str(tmp_path))
    beat(root, 1, {})
    told = json.loads(root.read(heartbeat_key("gw-a")).data) | {"written_at": written_at}
    with pytest.raises(RecordError, match=refusal):
        Heartbeat.decode(json.dumps(told).encode(), "gateways/gw-a.json")


@pytest.mark.parametrize(
    "written_at", ["1970-01-01T00:00:00+00:00", "2999-12-31T23:59:59+00:00", "2026-03-01T12:00:00-05:30"]
)
def test_a_time_that_is_read_fits_into_a_message(tmp_path: Path, written_at: str) -> None:
    root = open_root(str(tmp_path))
    beat(root, 1, {})
    told = json.loads(root.read(heartbeat_key("gw-a")).data) | {"written_at": written_at}
    read = Heartbeat.decode(json.dumps(told).encode(), "gateways/gw-a.json").written_at
    assert read == datetime.fromisoformat(written_at)
    assert read.tzinfo is UTC
    stamp = Timestamp()
    stamp.FromDatetime(read)
    assert stamp.ToDatetime(UTC) == read


def test_a_gateway_whose_heartbeat_is_gone_is_forgotten(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    watch = GatewayWatch(root)
    for gateway in ("gw-a", "gw-b"):
        beat(root, 1, {}, gateway)
        watch.look()
        beat(root, 1, {}, gateway)
        watch.look()
    assert [found.gateway for found in watch.alive()] == ["gw-a", "gw-b"]
    root.delete(heartbeat_key("gw-a"))
    watch.look()
    assert [found.gateway for found in watch.all()] == [found.gateway for found in watch.alive()] == ["gw-b"]
    root.write(heartbeat_key("gw-b"), b"damaged")
    watch.look()
    assert [found.gateway for found in watch.all()] == ["gw-b"], "it is there, and was read before"
