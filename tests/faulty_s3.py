"""A proxy before an S3 server that answers some writes as S3 may: with 409 and nothing written, or not at all."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

Fault = Literal["conflict", "lost"]

_CONFLICT = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>ConditionalRequestConflict</Code>'
    b"<Message>A conflicting conditional operation is currently in progress against this resource.</Message></Error>"
)
_PASSED_ON = ("ETag", "Last-Modified", "Content-Type")


class FaultyS3:
    """Passes every request on but for the faults that are asked for; conditional writes alone have them."""

    def __init__(self, endpoint: str) -> None:
        self.target = endpoint.removeprefix("http://")
        self._lock = threading.Lock()
        self._planned: list[Fault | None] = []
        self._in = ""
        self.met: list[Fault] = []
        """The faults that there were."""

        class Handler(_Handler):
            proxy = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def plan(self, *faults: Fault | None, path: str = "") -> None:
        """What the next conditional writes to paths with `path` in them meet, in order; None passes one on.

        conflict: 409 ConditionalRequestConflict, and nothing is passed on. lost: it is passed on, and not answered.
        """
        with self._lock:
            self._planned, self._in, self.met = list(faults), path, []

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            fault = self._planned.pop(0) if self._planned and self._in in path else None
            if fault is not None:
                self.met.append(fault)
            return fault

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyS3

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        is_conditional = "If-None-Match" in self.headers or "If-Match" in self.headers
        fault = self.proxy.next_fault(self.path) if is_conditional else None
        if fault == "conflict":
            self.answer(409, {"Content-Length": str(len(_CONFLICT))}, _CONFLICT)
        else:
            self.pass_on(body, is_answered=fault is None)

    def pass_on(self, body: bytes, *, is_answered: bool = True) -> None:
        passed = http.client.HTTPConnection(self.proxy.target)
        passed.request(self.command, self.path, body, dict(self.headers))
        reply = passed.getresponse()
        content = reply.read()
        passed.close()
        if is_answered:
            headers = {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}
            size = reply.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
            self.answer(reply.status, {**headers, "Content-Length": size or "0"}, content)
        self.close_connection = True

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.pass_on(self.rfile.read(int(self.headers["Content-Length"] or 0)))

    do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass
