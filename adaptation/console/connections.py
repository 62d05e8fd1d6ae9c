"""The console's connections, before and after they show whose they are.

Without a visitor who may look, a connection has ten seconds to send a request's head, a form as long for its body, and
few such connections are open at once: the oldest makes way. So strangers take no file descriptor that the learner
needs, and keep no visitor out.
"""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

COMMON_NAMES = "common_names"
"""In a connection's state: those of the client's certificate."""
RECOGNIZED = "recognized"
"""In a connection's state: to be called once its visitor may look, with what tells visitors' tokens apart."""
HEAD_WITHIN_S = 10.0


class Connections:
    """Those of one event loop: strangers, and those whose visitor may look, which hold no stranger's place."""

    def __init__(self, at_most: int) -> None:
        """`at_most`: of each of the two; half of the visitors' are any one token's at most."""
        self._at_most = at_most
        self._strangers: dict[asyncio.Transport, None] = {}
        self._recognized: dict[asyncio.Transport, str] = {}
        """With whose they are."""

    def admit(self, transport: asyncio.Transport) -> None:
        """Note a stranger; where there are too many, the oldest is aborted."""
        self._strangers[transport] = None
        if len(self._strangers) > self._at_most:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()

    def recognize(self, transport: asyncio.Transport, whose: str) -> None:
        """Count a connection as that of a visitor with this token; it is aborted where there are too many."""
        self._strangers.pop(transport, None)
        if transport not in self._recognized and not self._has_room(whose):
            transport.abort()
        else:
            self._recognized[transport] = whose

    def _has_room(self, whose: str) -> bool:
        if self._is_full(whose):
            self._recognized = {each: holder for each, holder in self._recognized.items() if not each.is_closing()}
        return not self._is_full(whose)

    def _is_full(self, whose: str) -> bool:
        held = Counter(self._recognized.values())
        return held.total() >= self._at_most or held[whose] >= self._at_most // 2

    def forget(self, transport: asyncio.Transport) -> None:
        """Count a lost connection no more. Sockets end unseen, and are found to have when their places are needed."""
        self._strangers.pop(transport, None)
        self._recognized.pop(transport, None)


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
