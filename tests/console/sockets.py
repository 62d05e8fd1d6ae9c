"""A visitor without a browser: the session, the pages that it opens, and sockets that say whatever they like."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

_PATIENCE_S = 30.0


class Intruder:
    """Somebody who has a token, and speaks to the console past its scripts."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        with httpx.Client(base_url=address, follow_redirects=True, timeout=_PATIENCE_S) as client:
            client.get(f"/?token={token}").raise_for_status()
            self._cookies = {"cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)}

    def opened_page(self, path: str) -> tuple[str, str]:
        """Return the page's id, and what was sent of it."""
        sent = self._get(path).text
        found = re.search(r"[\"']client_id[\"']: *[\"']([0-9a-f-]{36})", sent)
        assert found, sent
        return found[1], sent

    def status_of(self, path: str) -> int:
        return self._get(path).status_code

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self._address}{path}", headers=self._cookies, timeout=_PATIENCE_S)

    @contextmanager
    def socket(self) -> Iterator["Socket"]:
        """A socket that says nothing of the page that it is for."""
        with connect(
            f"{self._address.replace('http', 'ws', 1)}/_nicegui_ws/socket.io/?EIO=4&transport=websocket",
            additional_headers=self._cookies,
            origin=self._address,  # type: ignore[arg-type]
            open_timeout=_PATIENCE_S,
        ) as connection:
            yield Socket(connection)


class Socket:
    """Engine.IO and Socket.IO, as far as is needed; for half a minute."""

    def __init__(self, connection: ClientConnection) -> None:
        self._over_s = time.monotonic() + _PATIENCE_S
        self._connection = connection
        self._ids = count()
        assert self._received().startswith("0")
        connection.send("40")
        assert self._received().startswith("40")

    def say(self, event: str, *data: Any) -> None:
        self._connection.send(f"42{json.dumps([event, *data])}")

    def ask(self, event: str, *data: Any) -> Any:
        """Return what the event's handler does."""
        number = next(self._ids)
        self._connection.send(f"42{number}{json.dumps([event, *data])}")
        while not (answer := self._received()).startswith(f"43{number}"):
            pass
        (returned,) = json.loads(answer.removeprefix(f"43{number}")) or (None,)
        return returned

    def claim(self, page: str) -> bool:
        return bool(self.ask("handshake", {"client_id": page, "tab_id": "a", "document_id": "b"}))

    def received_until(self, text: str) -> str:
        """Return all that comes up to a message with this text."""
        received = self._received()
        while text not in received:
            received += self._received()
        return received

    def wait_for_end(self) -> None:
        """Raises websockets' ConnectionClosed; answers what the server asks for until then."""
        while True:
            self._received()

    def _received(self) -> str:
        while (message := str(self._connection.recv(timeout=max(0.0, self._over_s - time.monotonic())))) == "2":
            self._connection.send("3")
        return message
