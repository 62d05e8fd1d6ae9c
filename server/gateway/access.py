"""Who may call what (`exchange.callers`), and errors on their way out."""

import asyncio
import logging
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from exchange.callers import Callers, Role, RoleMissing, UnknownCaller
from exchange.logs import REQUEST_ID_KEY, note_ids, request_id
from server.errors import Defect, Forbidden, ServingError, Unauthenticated
from server.gateway.converters import retry_after_ms
from server.metrics import GatewayMetrics

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RETRY_AFTER_KEY = "retry-after-ms"
_log = logging.getLogger(__name__)


class Access:
    """Refuses callers without the role, in the gateway's own errors, and counts them."""

    def __init__(self, *, client_certificates: bool, token_file: Path | None, metrics: GatewayMetrics) -> None:
        """Raises StartupError as `Callers`."""
        self._metrics = metrics
        self._callers = Callers(client_certificates=client_certificates, token_file=token_file)

    def require(self, context: Context, role: Role) -> None:
        """Raises Unauthenticated or Forbidden."""
        try:
            self.check(context, role)
        except ServingError as refusal:
            self._metrics.turned_away(refusal)
            raise

    def check(self, context: Context, role: Role) -> None:
        """As `require`, for callers whose refusals are counted elsewhere."""
        try:
            self._callers.require(context, role)
        except UnknownCaller as error:
            raise Unauthenticated(str(error)) from error
        except RoleMissing as error:
            raise Forbidden(str(error)) from error


class Answering:
    """Around each call: checks the role first, and ends the call with the status of whatever error comes out.

    The call's id is in what is logged of it, and in the trailing metadata of one that fails.
    """

    def __init__(self, context: Context, access: Access, role: Role) -> None:
        self._context = context
        self._access = access
        self._role = role
        self._request_id = ""

    async def __aenter__(self) -> None:
        self._request_id = request_id(self._context.invocation_metadata())
        note_ids(request_id=self._request_id)
        try:
            self._access.require(self._context, self._role)
        except ServingError as error:
            await self._abort(error)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ServingError):
            await self._abort(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            _log.error("a call ended with a defect of the gateway", exc_info=error)
            await self._abort(Defect())

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
