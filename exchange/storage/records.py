"""The small JSON objects of a storage root: frozen, and refused whole when not understood.

A record's schema is MAJOR.MINOR: `format` is the major, and a newer minor only adds optional fields, so that it needs
no number of its own. README.md, "Versions and compatibility", says what is promised.
"""

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from exchange.label_space import NUM_CLASSES
from exchange.plain_words import refusal_of

RecordType = TypeVar("RecordType", bound="Record")
MAJOR = 1
"""Of every record's schema."""


class RecordError(Exception):
    """An object that is not what its key promises; the message names it and the first thing that is wrong."""


class RecordTooNew(RecordError):
    """A record of a major that a later release writes; the message names it, both majors and the remedy."""


class RecordToRepair(RecordError):
    """A damaged record without which nothing goes on; the message names the remedy, and whoever needs it waits."""


class Record(BaseModel):
    """What every record has: it is never changed, and fields that a newer minor added are kept and written back.

    What people write, such as recipes and limits, is no record: there a field that is not known is a typing error.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    REMEDY: ClassVar[str] = ""
    """What to do about a damaged one; for records without which nothing goes on."""

    def with_values(self, **values: Any) -> Self:
        """Return the record with other values, validated, and with the fields that this version does not know.

        Raises:
            ValidationError: a value does not fit.
        """
        if unknown := values.keys() - type(self).model_fields.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        return self.model_validate({**dict(self), **values})

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def decode(cls: type[RecordType], data: bytes, key: str) -> RecordType:
        """Return the record of an object; its key is for messages.

        Raises:
            RecordTooNew: it is of a later major.
            RecordToRepair: the data is no such record, and this kind has a remedy.
            RecordError: the data is no such record.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            refused = f"{key} is no {cls.__name__} that this version knows"
            if (major := _major_of(data)) is not None and major > MAJOR:
                raise RecordTooNew(f"{refused}: {too_new(major)}") from error
            if cls.REMEDY:
                raise RecordToRepair(f"{refused}: {refusal_of(error)}; {cls.REMEDY}") from error
            raise RecordError(f"{refused}: {refusal_of(error)}") from error


def too_new(major: int) -> str:
    """Return why an object of a later major is refused, and what to do, for messages that name it."""
    return (
        f"it is of format {major}, and this version knows format {MAJOR}: upgrade this process to its writer's release"
    )


def _major_of(data: bytes) -> int | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    major = found.get("format") if isinstance(found, dict) else None
    return major if isinstance(major, int) else None


def _one_for_each_class(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != NUM_CLASSES or not all(map(math.isfinite, values)):
        raise ValueError(f"{len(values)} values, or some that are not finite, where {NUM_CLASSES} numbers belong")
    return values


PerClass = Annotated[tuple[float, ...], AfterValidator(_one_for_each_class)]


_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Messages and sums of times bear these; no process here writes others."""


def _of_this_age(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without its zone: write it as 2026-03-01T12:00:00Z")
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError(f"a time that is not from {_EARLIEST.year} to {_LATEST.year - 1}")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_of_this_age)]
"""A record's time, in UTC."""
