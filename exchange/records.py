"""The small JSON objects of a storage root: frozen, of one format each, and refused whole when not understood."""

import math
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from exchange.label_space import NUM_CLASSES
from exchange.plain_words import refusal_of

RecordType = TypeVar("RecordType", bound="Record")


class RecordError(Exception):
    """An object that is not what its key promises; the message names it and the first thing that is wrong."""


class Record(BaseModel):
    """What every record has: it is never changed, and fields that it does not know are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def decode(cls: type[RecordType], data: bytes, key: str) -> RecordType:
        """Raises RecordError where the data is no such record."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise RecordError(f"{key} is no {cls.__name__} that this version knows: {refusal_of(error)}") from error


def _one_for_each_class(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != NUM_CLASSES or not all(map(math.isfinite, values)):
        raise ValueError(f"{len(values)} values, or some that are not finite, where {NUM_CLASSES} numbers belong")
    return values


PerClass = Annotated[tuple[float, ...], AfterValidator(_one_for_each_class)]
