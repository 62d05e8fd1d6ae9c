"""Callers that never finish: calls without a message, and messages of which only the beginning is sent."""

import socket
import struct
from collections.abc import Iterator
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


class StalledCalls:
    """Calls of one method over one connection. Each sends its headers and `begun`, and then nothing more."""

    def __init__(self, port: int, method: str, calls: int, *, begun: bytes = b"", token: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60.0)
        self._heard = False
        self._socket.sendall(_PREFACE + _frame(_SETTINGS))
        headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost", "te": "trailers"}
        headers |= {"content-type": "application/grpc"} | ({"authorization": f"Bearer {token}"} if token else {})
        block = b"".join(_literal(name, value) for name, value in headers.items())
        self._open = set(range(1, 2 * calls, 2))
        for stream in sorted(self._open):
            self._socket.sendall(_frame(_HEADERS, block, flags=_END_HEADERS, stream=stream))
            if begun:
                self._socket.sendall(_frame(_DATA, begun, stream=stream))

    def wait_for_ends(self) -> None:
        """Returns when the server has ended every call; fails where it does not."""
        while self._open:
            self._read_on()

    def wait_until_heard(self) -> None:
        """Returns when the server has read all that was sent: it answers a ping in its order."""
        self._socket.sendall(_frame(_PING, b"all sent"))
        while not self._heard:
            self._read_on()

    def _read_on(self) -> None:
        kind, flags, stream, payload = self._next_frame()
        assert kind != _GO_AWAY, payload
        if kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            self._open.discard(stream)
        elif kind == _PING and flags & _ACK:
            self._heard = True
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._socket.sendall(_frame(kind, payload if kind == _PING else b"", flags=_ACK))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_frame(self) -> tuple[int, int, int, bytes]:
        head = self._exactly(9)
        stream = struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
        return head[3], head[4], stream, self._exactly(int.from_bytes(head[:3], "big"))

    def _exactly(self, size: int) -> bytes:
        return b"".join(self._parts(size))

    def _parts(self, size: int) -> Iterator[bytes]:
        while size:
            part = self._socket.recv(size)
            assert part, "the server hung up"
            size -= len(part)
            yield part


def message_head(size_bytes: int) -> bytes:
    """What goes before a gRPC message of that size."""
    return struct.pack(">BI", 0, size_bytes)


def _frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header that neither side need remember (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))
