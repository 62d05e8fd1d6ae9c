"""Guards every call of a grpc.aio server: who calls is known, and a place is free, before a message is read.

gRPC itself reads a unary call's message, however long that takes, before it runs a handler. So each method is served as
one with streamed requests, whose handler runs at once: it asks the gatekeeper, receives one message by a deadline
(`exchange.net.call_bounds`), and only then calls the handler that was registered.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, TypeAlias

import grpc

from exchange.net.call_bounds import CallKind, Refused
from exchange.net.callers import Callers, Role, RoleMissing, UnknownCaller
from exchange.net.logs import REQUEST_ID_KEY, request_id

RETRY_AFTER_KEY = "retry-after-ms"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = Any
"""A `grpc.RpcMethodHandler`, whose attributes the types of gRPC leave out."""


class Gatekeeper(ABC):
    """Says who may call what, and within which bounds."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @abstractmethod
    def kind(self, method: str, context: Context) -> CallKind:
        """Returns whose bounds the call counts against. Raises Refused where this caller may not call the method."""

    def peer(self, context: Context) -> str:
        """Returns what a caller's calls are counted under: its name, or the address without the port."""
        return self._callers.name(context) or context.peer().rpartition(":")[0]

    def refused(self, error: Refused) -> None:  # noqa: B027
        """Hears of each refusal, its own among them."""

    def require(self, context: Context, *roles: Role) -> None:
        """Raises Refused where the caller has none of the roles; the last is the one to ask for."""
        try:
            for role in roles[:-1]:
                with suppress(RoleMissing):
                    return self._callers.require(context, role)
            self._callers.require(context, roles[-1])
        except UnknownCaller as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error), reason="unauthenticated") from error
        except RoleMissing as error:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, str(error), reason="forbidden") from error


class GuardedCalls(grpc.aio.ServerInterceptor):
    """Belongs to one server; give it as the first interceptor. The handlers behind it are coroutines."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        handler = await continuation(handler_call_details)
        return None if handler is None else self._guarded(handler_call_details.method, handler)

    def _guarded(self, method: str, handler: _Handler) -> _Handler:
        async def answer_one(_: object, context: Context) -> Any:
            try:
                kind, peer = self._gatekeeper.kind(method, context), self._gatekeeper.peer(context)
                message = await _only_message(handler, context, kind, peer)
                with kind.held(peer):
                    return await (handler.stream_unary or handler.unary_unary)(message, context)
            except Refused as error:
                await self._refuse(context, error)

        async def answer_many(_: object, context: Context) -> None:
            try:
                kind, peer = self._gatekeeper.kind(method, context), self._gatekeeper.peer(context)
                if handler.request_streaming:
                    with kind.held(peer):
                        messages = self._messages(method, handler, context, kind, peer)
                        await _write_all(handler.stream_stream, messages, context)
                else:
                    message = await _only_message(handler, context, kind, peer)
                    with kind.held(peer):
                        await _write_all(handler.unary_stream, message, context)
            except Refused as error:
                await self._refuse(context, error)

        # Without a deserializer: messages are read as bytes.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(answer_many, response_serializer=handler.response_serializer)
        return grpc.stream_unary_rpc_method_handler(answer_one, response_serializer=handler.response_serializer)

    async def _messages(
        self, method: str, handler: _Handler, context: Context, kind: CallKind, peer: str
    ) -> AsyncIterator[Any]:
        while (raw := await kind.next_of_stream(peer, context.read)) is not grpc.aio.EOF:
            self._gatekeeper.kind(method, context)  # a token may have been taken out meanwhile
            yield deserialized(handler, raw)

    async def _refuse(self, context: Context, error: Refused) -> None:
        self._gatekeeper.refused(error)
        trailing = [(REQUEST_ID_KEY, request_id(context.invocation_metadata()))]
        if error.retry_after_s is not None:
            trailing.append((RETRY_AFTER_KEY, str(round(1000 * error.retry_after_s))))
        try:
            await context.abort(error.status, str(error), tuple(trailing))
        except grpc.aio.AbortError:
            raise
        except grpc.aio.BaseError:  # it has hung up; gRPC would log a traceback for each such call
            return


async def _only_message(handler: _Handler, context: Context, kind: CallKind, peer: str) -> Any:
    raw = await kind.received(peer, context.read)
    if raw is grpc.aio.EOF:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the call sent no message: send one", reason="no_message")
    return deserialized(handler, raw)


def deserialized(handler: _Handler, raw: bytes) -> Any:
    """Returns the message that the method's handler takes."""
    return raw if handler.request_deserializer is None else handler.request_deserializer(raw)


async def _write_all(answer: Callable[[Any, Context], Any], request: Any, context: Context) -> None:
    """Runs a handler of either form: a generator of responses, or a coroutine that writes them itself."""
    if inspect.iscoroutinefunction(answer):
        await answer(request, context)
        return
    async with aclosing(answer(request, context)) as responses:
        async for response in responses:
            await context.write(response)
