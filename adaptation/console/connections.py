"""The console's connections, before and after they show whose they are.

Without a visitor who may look, a connection has ten seconds to send a request's head, a form as long for its body, and
few such connections are open at once: the oldest makes way. So strangers take no file descriptor that the learner
needs, and keep no visitor out.
"""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

COMMON_NAMES = "common_names"
"""In a connection's state: those of the client's certificate."""
RECOGNIZED = "recognized"
"""In a connection's state: to be called once its visitor may look."""
HEAD_WITHIN_S = 10.0


class Connections:
    """Those of one event loop: strangers, and those whose visitor may look, which hold no stranger's place."""

    def __init__(self, at_most: int) -> None:
        """`at_most`: of each of the two."""
        self._at_most = at_most
        self._strangers: dict[asyncio.Transport, None] = {}
        self._recognized: set[asyncio.Transport] = set()

    def admit(self, transport: asyncio.Transport) -> None:
        """Note a stranger; where there are too many, the oldest is aborted."""
        self._strangers[transport] = None
        if len(self._strangers) > self._at_most:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()

    def recognize(self, transport: asyncio.Transport) -> None:
        """Count a connection as a visitor's; it is aborted where visitors have too many."""
        if transport in self._recognized:
            return
        self._strangers.pop(transport, None)
        if len(self._recognized) >= self._at_most:
            self._recognized = {each for each in self._recognized if not each.is_closing()}
        if len(self._recognized) < self._at_most:
            self._recognized.add(transport)
        else:
            transport.abort()

    def forget(self, transport: asyncio.Transport) -> None:
        """Count a lost connection no more. Sockets end unseen, and are found to have when their places are needed."""
        self._strangers.pop(transport, None)
        self._recognized.discard(transport)


class ConsoleProtocol(H11Protocol):
    """Tells every request, and every socket that one becomes, whose certificate the connection came with."""

    def __init__(self, *args: Any, counted: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counted = counted
        self._waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        certificate: dict[str, Any] = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        recognized = partial(self._counted.recognize, transport)
        self.app_state = {**self.app_state, COMMON_NAMES: names, RECOGNIZED: recognized}
        super().connection_made(transport)
        self._counted.admit(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._counted.forget(self.transport)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop_waiting()  # what refuses the socket closes it
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._waits = self.loop.call_later(HEAD_WITHIN_S, self._check_head)

    def _check_head(self) -> None:
        """End a connection that is being sent a head for too long; one that answers a request waits for no head."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
