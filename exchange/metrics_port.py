"""Where Prometheus reads a process: its port, and what every process tells of itself."""

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from exchange.net.addresses import parse_address
from exchange.net.listening import StartupError
from exchange.net.logs import SeldomLog
from exchange.storage.locations import AUDIT, ERASURES, FRAMES, GATEWAYS, PRESENCE, PRIORS, REGIONS, RELEASES, ROUNDS
from exchange.storage.unreadable_objects import UnreadableObjects

_FOLDERS = (AUDIT, ERASURES, FRAMES, GATEWAYS, PRESENCE, PRIORS, REGIONS, RELEASES, ROUNDS)

_MOST_READERS = 16
"""Connections at once; beyond them the oldest makes way."""
_READ_WITHIN_S = 10.0
_log = SeldomLog(logging.getLogger(__name__))


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    """Lets Prometheus read the registry; returns the port, and what ends it.

    Raises:
        StartupError: the address cannot be had.
    """
    try:
        listener = parse_address(address).bound_socket()
        http = _MetricsServer(listener, registry)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"cannot serve metrics on {address} ({error}): choose another --metrics, or '' for none"
        ) from error

    thread = threading.Thread(target=http.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        http.shutdown()
        http.server_close()
        thread.join()

    return http.server_port, stop


class _Request(WSGIRequestHandler):
    timeout = _READ_WITHIN_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests come every few seconds."""


class _MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread of its own, and few of them at once: no reader shows who it is."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        """Take over a bound socket."""
        super().__init__(listener.getsockname()[:2], _Request, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()[:2]
        self.setup_environ()
        self.set_app(make_wsgi_app(registry))
        self.server_activate()
        self._readers: dict[socket.socket, None] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._readers[request] = None
            if len(self._readers) > _MOST_READERS:
                oldest = next(iter(self._readers))
                del self._readers[oldest]
                _end(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._readers.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log seldom: readers that hang up end here, too."""
        _log.warning("a reader of the metrics was not answered: it hung up, or sent no request")


def _end(connection: socket.socket) -> None:
    """Wake the thread that reads from it, which closes it."""
    with suppress(OSError):  # it has hung up already
        connection.shutdown(socket.SHUT_RDWR)


def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """One that gets its samples by `add_metric`."""
    return GaugeMetricFamily(name, text, labels=labels)


def unreadable_family(unreadable: UnreadableObjects) -> Metric:
    """Of every folder, so that a rule sees the first one come."""
    text = "Objects of the root that cannot be read and are skipped."
    family = CounterMetricFamily("roadshift_unreadable_objects", text, labels=("folder",))
    counts = unreadable.counts.copy()
    for folder in _FOLDERS:
        family.add_metric((folder,), counts[folder])
    return family


def disk_families(folders: Mapping[str, Path]) -> Iterator[Metric]:
    """Free and whole size of the disks below named folders; one that cannot be looked at is left out."""
    free = gauge("roadshift_disk_free_bytes", "Free on the disk below a folder.", "folder")
    size = gauge("roadshift_disk_size_bytes", "Size of the disk below a folder.", "folder")
    for name, folder in folders.items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        free.add_metric((name,), usage.free)
        size.add_metric((name,), usage.total)
    yield free
    yield size
