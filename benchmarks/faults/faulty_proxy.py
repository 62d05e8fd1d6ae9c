"""Stands in front of an S3 server and does to some requests what networks and servers do."""

import http.client
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_SLOW_S = (0.2, 1.5)
_STRUCK = 0.4
"""Share of the requests, while it lasts."""
_TIMEOUT_S = 30.0
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that are killed hang up."""


class FaultyProxy:
    """`trouble` is "slow", "failing" (503, or the connection ends before the request is done), "deaf" (the request is
    done, and its reply lost), "cut off" (half of the reply), or none."""

    def __init__(self, endpoint: str, seed: int) -> None:
        self.trouble = ""
        self.struck = 0
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._lock = threading.Lock()
        target = urlsplit(endpoint).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy._serve(self, target)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: BaseHTTPRequestHandler, target: str) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        trouble, slow_s, refuses = self._draw()
        if trouble == "slow":
            time.sleep(slow_s)
        elif trouble == "failing":
            request.close_connection = True
            if refuses:
                request.send_error(503)
            return
        upstream = http.client.HTTPConnection(target, timeout=_TIMEOUT_S)
        try:
            upstream.request(request.command, request.path, body, dict(request.headers))
            reply = upstream.getresponse()
            data = reply.read()
        except (OSError, http.client.HTTPException):
            request.close_connection = True
            return
        finally:
            upstream.close()
        if trouble == "deaf":
            request.close_connection = True
            return
        try:
            self._answer(request, reply, data, cut_off=trouble == "cut off")
        except OSError:  # the caller has gone
            request.close_connection = True

    def _draw(self) -> tuple[str, float, bool]:
        with self._lock:
            trouble = self.trouble if self._rng.random() < _STRUCK else ""
            self.struck += bool(trouble)
            return trouble, self._rng.uniform(*_SLOW_S), self._rng.random() < 0.5

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, reply: http.client.HTTPResponse, data: bytes, *, cut_off: bool
    ) -> None:
        request.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        length = reply.getheader("Content-Length") if request.command == "HEAD" else str(len(data))
        request.send_header("Content-Length", length or "0")
        request.end_headers()
        request.close_connection = request.close_connection or cut_off
        if request.command != "HEAD":
            request.wfile.write(data[: len(data) // 2] if cut_off else data)
