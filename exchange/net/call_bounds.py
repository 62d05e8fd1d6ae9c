"""Bounds on the calls of one kind, in all and of one peer, so that no caller keeps the others out. For one event loop.

A message is received by a deadline, and only a bounded number at once: what is being received holds at most `receiving`
times the server's largest message. Beyond that number calls wait for their turn, the newest first, with no more of
their messages here than a connection's flow control lets in unread; or, where messages are small and come with their
calls, the oldest that is still without its message makes way, so that calls whose message is there go through.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import grpc

_WAITING = 512
"""Calls of a kind that wait for their turn; beyond it the oldest is refused."""
T = TypeVar("T")


class Refused(Exception):
    """A call is ended with this status before its handler runs; the message says what to do."""

    def __init__(
        self, status: grpc.StatusCode, message: str, *, reason: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class CallKind:
    """Calls that share bounds; those of other kinds cannot use them up."""

    def __init__(
        self,
        name: str,
        *,
        calls: int,
        calls_per_peer: int | None = None,
        receiving: int,
        receiving_per_peer: int | None = None,
        largest_bytes: int | None = None,
        within_s: float = 10.0,
        oldest_makes_way: bool = False,
        streams_pace_themselves: bool = False,
        full: str = "call again later",
    ) -> None:
        """
        Args:
            name: what the calls are called in a refusal.
            calls: whose message has come, at once.
            receiving: messages that are being received at once.
            largest_bytes: of a message, None for the server's own limit.
            within_s: by when a message must have come.
            oldest_makes_way: instead of letting newer calls wait for their turn.
            streams_pace_themselves: whether a stream's handler has a deadline of its own for each of its messages.
            full: what a caller should do where there are as many calls as may be.
        """
        self._name = name
        self._full = full
        self._streams_pace_themselves = streams_pace_themselves
        self._calls = calls
        self._calls_per_peer = calls if calls_per_peer is None else calls_per_peer
        self._open: Counter[str] = Counter()
        self._largest_bytes = largest_bytes
        self._within_s = within_s
        self._oldest_makes_way = oldest_makes_way
        self._receiving = receiving
        self._reading: dict[asyncio.Future[Any], asyncio.Timeout] = {}
        self._turns = _Turns(receiving)
        self._receiving_per_peer = receiving if receiving_per_peer is None else receiving_per_peer
        self._turns_of_peers: dict[str, _Turns] = {}

    @contextmanager
    def held(self, peer: str) -> Iterator[None]:
        """The place of a call of this peer. Raises Refused where there is none."""
        if self._open.total() >= self._calls or self._open[peer] >= self._calls_per_peer:
            raise self._too_many(f"too many {self._name} are open already: {self._full}")
        self._open[peer] += 1
        try:
            yield
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

    async def received(self, peer: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `read` receives, in this call's turn.

        Raises:
            Refused: it did not come in time, is too large, or too many calls wait for theirs.
        """
        try:
            async with asyncio.timeout(self._within_s) as patience:
                if self._oldest_makes_way:
                    message = await self._newest(read, patience)
                else:
                    async with self._turn_of_peer(peer), self._turns.one():
                        message = await read()
        except TimeoutError:
            raise Refused(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "the call's message did not come in time: send it whole, with the call",
                reason="no_message",
            ) from None
        except _TurnGivenAway:
            raise self._too_many(f"too many {self._name} wait for their message: {self._full}") from None
        if self._largest_bytes is not None and isinstance(message, bytes) and len(message) > self._largest_bytes:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the message has {len(message)} bytes: this call takes {self._largest_bytes} at most",
                reason="message_size",
            )
        return message

    async def next_of_stream(self, peer: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the next message of a stream's. Raises Refused as `received`."""
        return await (read() if self._streams_pace_themselves else self.received(peer, read))

    async def _newest(self, read: Callable[[], Coroutine[Any, Any, T]], patience: asyncio.Timeout) -> T:
        unfinished = [reading for reading in self._reading if not reading.done()]
        if len(unfinished) >= self._receiving and not (oldest := self._reading.pop(unfinished[0])).expired():
            oldest.reschedule(0.0)  # long past
        reading = asyncio.create_task(read())
        self._reading[reading] = patience
        try:
            return await reading
        finally:
            self._reading.pop(reading, None)

    @asynccontextmanager
    async def _turn_of_peer(self, peer: str) -> AsyncIterator[None]:
        turns = self._turns_of_peers.setdefault(peer, _Turns(self._receiving_per_peer))
        try:
            async with turns.one():
                yield
        finally:
            if turns.unused:
                self._turns_of_peers.pop(peer, None)

    def _too_many(self, message: str) -> Refused:
        return Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, message, reason="calls", retry_after_s=1.0)


class _TurnGivenAway(Exception):
    """Newer calls wait, and as many as may."""


class _Turns:
    """A number of turns at once; the newest that waits is next."""

    def __init__(self, at_once: int) -> None:
        self._free = self._at_once = at_once
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def unused(self) -> bool:
        return self._free == self._at_once

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises _TurnGivenAway."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self) -> None:
        if len(self._waiting) >= _WAITING and not (oldest := self._waiting.pop(0)).done():
            oldest.set_exception(_TurnGivenAway())
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():  # else its call has been given up, and will notice presently
                turn.set_result(None)
                return
        self._free += 1
