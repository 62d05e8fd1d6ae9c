"""Who may call what (`exchange.net.callers`), and errors on their way out."""

import asyncio
import re
from pathlib import Path

import grpc

from exchange.net.call_bounds import CallKind, Refused
from exchange.net.callers import Callers, Role
from exchange.net.guarded_calls import RETRY_AFTER_KEY, Context, Gatekeeper
from exchange.net.logs import REQUEST_ID_KEY, note_ids, request_id
from server.errors import ServingError
from server.gateway.converters import retry_after_ms
from server.metrics import GatewayMetrics

_FOR_VEHICLES = re.compile(r"/roadshift\.v1\.Segmentation/|/inference\.GRPCInferenceService/Model(Infer|Metadata)$")
_FOR_OPERATORS = "/grpc.reflection."
_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_PROBES = tuple(f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady", "ModelReady"))
_UNARY_CALLS = 128
"""Of vehicles, beside their streams."""
_SMALL_BYTES = 1 << 16
"""More than health checks and reflection ask with."""


class Access(Gatekeeper):
    """Refuses callers without the role, counts them, and bounds the calls of each kind.

    Operators' calls and health checks have bounds of their own, so that vehicles cannot take their places, nor those
    who need show nothing the vehicles'. Messages that are being received hold at most 48 frames of vehicles, 16 of one
    caller, and 56 messages of others, each of the largest size and only for the seconds that it may take; and each open
    stream one message.
    """

    def __init__(
        self, *, client_certificates: bool, token_file: Path | None, metrics: GatewayMetrics, streams: int = 256
    ) -> None:
        """Raises StartupError as `Callers`."""
        super().__init__(Callers(client_certificates=client_certificates, token_file=token_file))
        self._metrics = metrics
        self._vehicles = CallKind(
            "calls of vehicles",
            calls=streams + _UNARY_CALLS,
            calls_per_peer=streams + _UNARY_CALLS // 2,
            receiving=48,
            receiving_per_peer=16,
            streams_pace_themselves=True,
            full="try again, here or at another gateway",
        )
        self._operators = _small("reflection calls", calls=16, receiving=8)
        self._anyones = {
            _CHECK: _small("health checks", calls=64, receiving=16),
            _WATCH: _small("health watches", calls=64, calls_per_peer=8, receiving=8, full="call Check now and then"),
            **dict.fromkeys(_PROBES, _small("health checks", calls=64, receiving=16)),
        }
        self._anyone = _small("calls of this kind", calls=64, receiving=8)

    def kind(self, method: str, context: Context) -> CallKind:
        """Raises Refused."""
        if _FOR_VEHICLES.match(method):
            self.require(context, Role.VEHICLE)
            return self._vehicles
        if method.startswith(_FOR_OPERATORS):
            self.require(context, Role.OPERATOR)
            return self._operators
        return self._anyones.get(method, self._anyone)

    def refused(self, error: Refused) -> None:
        self._metrics.turned_away(error)


def _small(
    name: str, *, calls: int, calls_per_peer: int | None = None, receiving: int, full: str = "call again later"
) -> CallKind:
    """Calls whose messages are small and come with them."""
    return CallKind(
        name,
        calls=calls,
        calls_per_peer=calls_per_peer,
        receiving=receiving,
        oldest_makes_way=True,
        largest_bytes=_SMALL_BYTES,
        full=full,
    )


class Answering:
    """Around each call: ends it with the status of whatever error comes out.

    The call's id is in what is logged of it, and in the trailing metadata of one that fails.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._request_id = ""

    async def __aenter__(self) -> None:
        self._request_id = request_id(self._context.invocation_metadata())
        note_ids(request_id=self._request_id)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ServingError):
            await self._abort(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError | Refused):
            self._context.set_trailing_metadata(((REQUEST_ID_KEY, self._request_id),))  # `CallErrors` ends it

    async def _abort(self, error: ServingError) -> None:
        hint_s = error.retry_after_s
        hint = () if hint_s is None else ((RETRY_AFTER_KEY, str(retry_after_ms(hint_s))),)
        await self._context.abort(error.status, str(error), ((REQUEST_ID_KEY, self._request_id), *hint))


def trace_parent(context: Context) -> str:
    """What a caller that traces sends by that name; empty where it does not."""
    value = dict(context.invocation_metadata() or ()).get("traceparent", "")
    return value if isinstance(value, str) else ""


def deadline_of(context: Context) -> float | None:
    """When the caller stops waiting, in the event loop's time."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
