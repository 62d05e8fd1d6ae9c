"""Sends fuzzed messages to every call of a gRPC server, and counts how they end."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from roadshift.v1 import annotation_pb2, operations_pb2, segmentation_pb2
from tritonclient.grpc import service_pb2

from benchmarks.fuzz.messages import KINDS, Kind, fuzzed

GATEWAY_FILES = (segmentation_pb2, service_pb2, health_pb2, reflection_pb2)
LEARNER_FILES = (operations_pb2, annotation_pb2)
DEFECTS = ("INTERNAL", "UNKNOWN")
_PATIENCE_S = 20.0
_WATCHED_S = 0.2
"""Of calls that answer for as long as the caller likes."""
_MOST_STREAMED = 4


@dataclass(frozen=True)
class Method:
    """One call of a service."""

    path: str
    asks_by_stream: bool
    answers_by_stream: bool
    message_type: type[Message]


@dataclass
class Outcome:
    """How the messages to one service ended."""

    service: str
    statuses: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    """Call, kind of message and status of those that met one."""


def methods_of(*files: Any) -> list[Method]:
    """Every call of every service in generated modules."""
    found = []
    for module in files:
        descriptor: FileDescriptor = module.DESCRIPTOR
        for service in descriptor.services_by_name.values():
            found += [
                Method(
                    f"/{service.full_name}/{method.name}",
                    method.client_streaming,
                    method.server_streaming,
                    GetMessageClass(method.input_type),
                )
                for method in service.methods
            ]
    return found


def fuzz(channel: grpc.Channel, methods: Sequence[Method], messages: int, seed: int) -> list[Outcome]:
    """Sends that many messages, to each call in turn and of each kind in turn; returns an outcome for each service."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    outcomes: dict[str, Outcome] = {}
    sent = 0
    while sent < messages:
        for method in methods:
            for kind in KINDS:
                count = rng.randint(1, _MOST_STREAMED) if method.asks_by_stream else 1
                data = [fuzzed(kind, method.message_type, rng) for _ in range(min(count, messages - sent))]
                if not data:
                    break
                sent += len(data)
                service = method.path.split("/")[1]
                _note(outcomes.setdefault(service, Outcome(service)), method, kind, _call(channel, method, data))
    return list(outcomes.values())


def _note(outcome: Outcome, method: Method, kind: Kind, ended: tuple[str, str]) -> None:
    status, details = ended
    outcome.statuses[status] += 1
    if status in DEFECTS:
        outcome.defects.append(f"{method.path}, {kind}: {status} {details[:200]}")


def _call(channel: grpc.Channel, method: Method, data: Sequence[bytes]) -> tuple[str, str]:
    """Status and details of one call with these messages, whose answers stay bytes."""
    asks, answers = ("stream" if streams else "unary" for streams in (method.asks_by_stream, method.answers_by_stream))
    call = getattr(channel, f"{asks}_{answers}")(method.path)
    asked: Any = iter(data) if method.asks_by_stream else data[0]
    endless = method.answers_by_stream and not method.asks_by_stream
    try:
        answer = call(asked, timeout=_WATCHED_S if endless else _PATIENCE_S)
        if method.answers_by_stream:
            _drain(answer)
    except grpc.RpcError as error:
        status = error.code().name
        return ("watched" if endless and status == "DEADLINE_EXCEEDED" else status), error.details() or ""
    return "OK", ""


def _drain(answers: Iterator[bytes]) -> None:
    for _ in answers:
        pass
