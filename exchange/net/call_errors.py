"""Errors of any call of a grpc.aio server, whatever its service: messages that cannot be parsed, and defects.

gRPC answers both with INTERNAL or UNKNOWN and a traceback each. Here the first is INVALID_ARGUMENT, the second
INTERNAL; both are counted by service, and at most one line a minute is logged of each.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter

from exchange.net.call_bounds import Refused
from exchange.net.logs import REQUEST_ID_KEY, SeldomLog, working_on

_REFUSAL = "these bytes are no message of this call: send what its .proto says"
_log = logging.getLogger(__name__)
_Handler = Any
"""A `grpc.RpcMethodHandler`, whose attributes the types of gRPC leave out."""
_NO_MESSAGE = object()


class _Unparsable(Exception):
    """Instead of a message."""


class CallErrors(grpc.aio.ServerInterceptor):
    """Belongs to one server; give it after `GuardedCalls`, whose refusals it lets through."""

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        """`process`: such as "gateway", for what callers are told."""
        self._process = process
        self._unparsable = Counter(
            "roadshift_unparsable_messages", "Messages that could not be parsed.", ("service",), registry=registry
        )
        self._defects = Counter("roadshift_call_defects", "Calls that a defect ended.", ("service",), registry=registry)
        self._unparsable_log, self._defect_log = SeldomLog(_log), SeldomLog(_log)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the same handler, which never sees a message that cannot be parsed."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        service = handler_call_details.method.strip("/").partition("/")[0]
        form = "_".join(
            "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
        )
        guarded = self._guarded(getattr(handler, form), handler.request_streaming, service)
        rebuilt = getattr(grpc, f"{form}_rpc_method_handler")
        return rebuilt(guarded, _lenient(handler.request_deserializer), handler.response_serializer)

    def _guarded(self, behaviour: Callable[..., Any], streams: bool, service: str) -> Callable[..., Any]:
        received = _ParsedMessages if streams else _checked

        async def generated(request: Any, context: Any) -> AsyncIterator[Any]:
            async with (
                self._ending(service, context),
                aclosing(behaviour(received(request), context)) as responses,
            ):
                async for response in responses:
                    yield response

        async def awaited(request: Any, context: Any) -> Any:
            async with self._ending(service, context):
                return await behaviour(received(request), context)

        return generated if inspect.isasyncgenfunction(behaviour) else awaited

    @asynccontextmanager
    async def _ending(self, service: str, context: Any) -> AsyncIterator[None]:
        """End a call with the status of whatever error comes out."""
        try:
            yield
        except (Refused, grpc.aio.AbortError):
            raise
        except Exception as error:
            if context.done():
                raise
            await context.abort(*self._status_of(error, service, context))

    def _status_of(self, error: Exception, service: str, context: Any) -> tuple[grpc.StatusCode, str]:
        its_id = dict(context.trailing_metadata() or ()).get(REQUEST_ID_KEY)
        with working_on(**({"request_id": str(its_id)} if its_id else {})):
            if isinstance(error, _Unparsable):
                self._unparsable.labels(service).inc()
                self._unparsable_log.warning(f"a message to {service} could not be parsed")
                return grpc.StatusCode.INVALID_ARGUMENT, _REFUSAL
            self._defects.labels(service).inc()
            self._defect_log.error(f"a call of {service} ended with a defect of the {self._process}", error)
            return grpc.StatusCode.INTERNAL, f"the {self._process} failed; its log says why"


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except Exception:  # whatever the library of the messages raises
            return _NO_MESSAGE

    return parsed


def _checked(message: Any) -> Any:
    if message is _NO_MESSAGE:
        raise _Unparsable
    return message


class _ParsedMessages:
    """A stream's messages; raises at the first that could not be parsed."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    def __aiter__(self) -> "_ParsedMessages":
        return self

    async def __anext__(self) -> Any:
        return _checked(await anext(self._messages))
