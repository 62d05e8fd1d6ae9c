"""Bytes that callers might send by mistake or malice: noise, damaged messages, and valid ones with absurd values."""

import math
import random
from collections.abc import Sequence
from typing import Any, Literal, get_args

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from benchmarks.fuzz.plausible import plausible_messages

_Field = Any
"""google.protobuf's FieldDescriptor, of which its types know two."""
Kind = Literal["noise", "damaged", "absurd"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_LONGEST_NOISE_BYTES = 200
_MOST_REPEATED = 3
_DEEPEST = 4
_FEW, _MOST = 0.2, 0.75
"""Share of the fields that get a value."""
_PLAUSIBLE = plausible_messages()
_HUGE_TEXT_BYTES = 200_000
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, -1e300, 3.4e38, math.inf, -math.inf, math.nan, 20_000.0)
_TEXTS = (
    "", " ", "   ", "\n", "a\nb", "\x00", "\x1b[31m", "\u2028", "\u200b", "é" * 70, "\U0001f697", "../../etc/passwd",
    "a" * 65, "a" * 129, "%s%n{0}", "sim-dusk", "default", "segmenter", "FRAME", "LOG_PRIOR_RATIO", "LABEL", "1",
    "UINT8", "FP32", "rgb8", "png", "jpeg", "vehicle_id", "domain", "0" * 16, "fuzz", "learner",
)  # fmt: skip
_BLOBS = (b"", b"\x00", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(3), bytes(76))
_INTEGER_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def fuzzed(kind: Kind, message_type: type[Message], rng: random.Random) -> bytes:
    """One message's bytes; of the kind "absurd" they parse."""
    if kind == "noise":
        return rng.randbytes(rng.randrange(1, _LONGEST_NOISE_BYTES))
    data = absurd(message_type, rng).SerializeToString()
    return _damaged(data, rng) if kind == "damaged" else data


def absurd(message_type: type[Message], rng: random.Random) -> Message:
    """A message whose fields have values of their types, few of which anybody would send.

    Every other one is a message that would be taken, but for a value or two.
    """
    message = message_type()
    known = _PLAUSIBLE.get(message_type.DESCRIPTOR.full_name)
    if known and rng.random() < 0.5:
        message.CopyFrom(_one_of(known, rng))
        _fill(message, rng, _DEEPEST, _FEW)
    else:
        _fill(message, rng, _DEEPEST, _MOST)
    return message


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes replaced, or with bytes put in."""
    damaged = bytearray(data)
    match rng.randrange(3):
        case 0:
            del damaged[rng.randrange(len(damaged) + 1) :]
        case 1:
            for _ in range(rng.randrange(1, 8) if damaged else 0):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        case _:
            at = rng.randrange(len(damaged) + 1)
            damaged[at:at] = rng.randbytes(rng.randrange(1, 16))
    return bytes(damaged)


def _fill(message: Message, rng: random.Random, depth: int, share: float) -> None:
    for field in message.DESCRIPTOR.fields:
        is_set = field.message_type is not None and not _is_repeated(field) and message.HasField(field.name)
        if (rng.random() >= share and not is_set) or (field.message_type is not None and depth == 0):
            continue
        if _is_map(field):
            _fill_map(getattr(message, field.name), field, rng, depth, share)
        elif _is_repeated(field):
            _fill_list(getattr(message, field.name), field, rng, depth, share)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            _fill(getattr(message, field.name), rng, depth - 1, share)
        else:
            setattr(message, field.name, _value(field, rng))


def _fill_list(values: Any, field: _Field, rng: random.Random, depth: int, share: float) -> None:
    for _ in range(rng.randrange(_MOST_REPEATED + 1)):
        if field.message_type is not None:
            _fill(values.add(), rng, depth - 1, share)
        else:
            values.append(_value(field, rng))


def _fill_map(values: Any, field: _Field, rng: random.Random, depth: int, share: float) -> None:
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    for _ in range(rng.randrange(_MOST_REPEATED)):
        name = _value(key, rng)
        if value.message_type is not None:
            _fill(values[name], rng, depth - 1, share)
        else:
            values[name] = _value(value, rng)


def _is_repeated(field: _Field) -> bool:
    return field.label == FieldDescriptor.LABEL_REPEATED


def _is_map(field: _Field) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value(field: _Field, rng: random.Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return _one_of(_FLOATS, rng) if rng.random() < 0.8 else rng.uniform(-1e6, 1e6)
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_STRING:
            return _text(field, rng)
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice((0, 1, 2, 3, 99, 2**31 - 1))
        case kind:
            lowest, highest = _INTEGER_BITS[kind]
            return rng.choice((lowest, highest, 0, 1, 2, 64, 19, 255, rng.randint(lowest, highest)))


def _text(field: _Field, rng: random.Random) -> str | bytes:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _one_of(_BLOBS, rng) if rng.random() < 0.7 else rng.randbytes(rng.randrange(2000))
    if rng.random() < 0.02:
        return "x" * _HUGE_TEXT_BYTES
    return _one_of(_TEXTS, rng)


def _one_of(values: Sequence[Any], rng: random.Random) -> Any:
    return values[rng.randrange(len(values))]
