"""Release 0.1 refuses records with fields that it does not know: those that came later are few, and told of."""

import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from adaptation.control.rounds.captured_snapshot import CapturedSnapshot
from exchange.fleet.frames import FrameMetadata
from tests.upgrade.fields_of_0_1 import FIELDS
from tests.upgrade.kinds import KINDS, OTHER_KINDS

README = Path(__file__).parents[2] / "exchange" / "README.md"


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def test_only_fields_that_are_mostly_not_written_came_after_0_1() -> None:
    told = README.read_text().partition("## Versions and compatibility")[2]
    kinds = {model for kind in (*KINDS.values(), *OTHER_KINDS, FrameMetadata) for model in models_in(kind)}
    assert {kind.__name__ for kind in kinds} == FIELDS.keys()
    later = [
        (name, field)
        for kind in kinds
        for name, field in kind.model_fields.items()
        if name not in FIELDS[kind.__name__]
    ]
    for name, field in later:
        assert field.exclude_if is not None, f"{name} is in every record"
        assert field.exclude_if(field.default), f"{name} is in records that say nothing by it"
        assert f"`{name}`" in told, f"{name} breaks a downgrade to 0.1: {README} does not say so"


def test_a_snapshot_names_what_was_left_out_only_where_something_was() -> None:
    whole = CapturedSnapshot(domain="sim-day", shards=())
    assert b"left_out" not in whole.encode()
    some = whole.model_copy(update={"left_out": ("a shard",)})
    assert CapturedSnapshot.decode(some.encode(), "snapshot.json") == some
