"""Outcomes of a stream's frames in the order of the frames, with a bounded number of frames ahead."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Frame = TypeVar("Frame")
Outcome = TypeVar("Outcome")


async def in_order(
    frames: AsyncIterator[Frame],
    answer: Callable[[Frame], Coroutine[Any, Any, Outcome]],
    *,
    window: Callable[[], int],
    stop: asyncio.Event,
) -> AsyncGenerator[Outcome, None]:
    """Answers frames side by side, yields their outcomes in order.

    Args:
        answer: makes one frame's outcome; it must not raise for a bad frame.
        window: how many frames may be read whose outcome was not yielded; at the bound nothing more is read, so that
            flow control holds the sender back.
        stop: once set, nothing more is read; what was read is still yielded.
    """
    outcomes: deque[asyncio.Task[Outcome]] = deque()
    reading: asyncio.Future[Frame] | None = None
    stopping = asyncio.ensure_future(stop.wait())
    ended = False
    try:
        while True:
            if reading is None and not ended and len(outcomes) < window():
                reading = asyncio.ensure_future(anext(frames))
            if reading is None and not outcomes:
                return
            await _first_of(reading, outcomes[0] if outcomes else None, None if ended else stopping)
            if reading is not None and reading.done():
                try:
                    outcomes.append(asyncio.create_task(answer(reading.result())))
                except StopAsyncIteration:
                    ended = True
                reading = None
            if stopping.done():
                ended = True
                if reading is not None:
                    reading.cancel()
                    reading = None
            while outcomes and outcomes[0].done():
                yield outcomes.popleft().result()
    finally:
        for unfinished in (stopping, reading, *outcomes):
            if unfinished is not None:
                unfinished.cancel()


async def _first_of(*awaited: asyncio.Future[Any] | None) -> None:
    await asyncio.wait([one for one in awaited if one is not None], return_when=asyncio.FIRST_COMPLETED)
