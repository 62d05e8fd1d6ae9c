"""A blocking call that nobody waits for at the end: storage that hangs must not keep a gateway from stopping."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_background(call: Callable[[], T]) -> T:
    """Runs it in a daemon thread of its own. Cancelled, it goes on there, and its outcome is lost."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    outcome.set_running_or_notify_cancel()
    waiting = asyncio.wrap_future(outcome)
    threading.Thread(target=run, name="background call", daemon=True).start()
    return await waiting
