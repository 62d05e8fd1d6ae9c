"""Messages between the learner and a worker over its standard input and output: a JSON line, then bytes."""

import json
from typing import IO, Any, NamedTuple


class Message(NamedTuple):
    head: dict[str, Any]
    body: bytes


def write_message(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    stream.write(json.dumps(head | {"bytes": len(body)}).encode() + b"\n" + body)
    stream.flush()


def read_message(stream: IO[bytes]) -> Message | None:
    """None at the end of the stream, also where it comes too soon."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    body = stream.read(head["bytes"])
    return Message(head, body) if len(body) == head["bytes"] else None
