"""Serves plain functions by a grpc.aio server in a thread of its own.

The event loop takes the calls and receives their messages; a handler runs in a thread of the executor for its method,
so that calls of one sort, however long they last, hold none of the others' threads.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import grpc

from exchange.net.guarded_calls import Context

_END = object()
_Handler = Any


class HandlersInThreads(grpc.aio.ServerInterceptor):
    """Makes coroutines of handlers that are plain functions; give it after `GuardedCalls`."""

    def __init__(self, executor_for: Callable[[str], ThreadPoolExecutor]) -> None:
        self._executor_for = executor_for

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        executor = self._executor_for(handler_call_details.method)

        async def answer_one(request: Any, context: Context) -> Any:
            plain = _PlainContext(context)
            response = await plain.ending(executor.submit(handler.unary_unary, request, plain))
            context.set_trailing_metadata(plain.trailing)
            return response

        async def answer_many(request: Any, context: Context) -> AsyncIterator[Any]:
            plain = _PlainContext(context)
            responses = handler.unary_stream(request, plain)
            step: Future[Any] = Future()
            step.set_result(None)
            try:
                while True:
                    step = executor.submit(next, responses, _END)
                    if (response := await plain.ending(step)) is _END:
                        break
                    yield response
                context.set_trailing_metadata(plain.trailing)
            finally:
                plain.active = False
                step.add_done_callback(lambda _: responses.close())  # not while a thread runs it

        as_it_was = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(answer_many, **as_it_was)
        return grpc.unary_unary_rpc_method_handler(answer_one, **as_it_was)


class _Ended(Exception):
    def __init__(self, status: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.details = details


class _PlainContext:
    """As much of `grpc.ServicerContext` as handlers here use, for threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._metadata = tuple(context.invocation_metadata() or ())
        self._auth_context = context.auth_context()
        self.active = True
        self.trailing: tuple[tuple[str, str], ...] = ()

    def invocation_metadata(self) -> tuple[Any, ...]:
        return self._metadata

    def auth_context(self) -> Any:
        return self._auth_context

    def set_trailing_metadata(self, trailing: tuple[tuple[str, str], ...]) -> None:
        self.trailing = trailing

    def is_active(self) -> bool:
        return self.active

    def abort(self, status: grpc.StatusCode, details: str) -> NoReturn:
        raise _Ended(status, details)

    async def ending(self, work: "Future[Any]") -> Any:
        """What a thread's work returns; a call that it ended is ended. Cancelled, work that waits is never begun."""
        try:
            return await asyncio.wrap_future(work)
        except _Ended as end:
            await self._context.abort(end.status, end.details, self.trailing)


@contextmanager
def serving_thread(start: Callable[[], Awaitable[tuple[grpc.aio.Server, int]]], *, grace_s: float) -> Iterator[int]:
    """Runs the server that `start` makes and starts, in an event loop of its own; yields its port.

    Raises:
        Exception: whatever `start` raises.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        stopping = asyncio.Event()
        try:
            server, port = await start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result((asyncio.get_running_loop(), stopping, port))
        await stopping.wait()
        await server.stop(grace_s)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="calls", daemon=True)
    thread.start()
    loop, stopping, port = started.result()
    try:
        yield port
    finally:
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stopping.set)
        thread.join()
