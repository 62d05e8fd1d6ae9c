"""Runs a learner with its port: from taking the lease to giving it back."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
from prometheus_client import CollectorRegistry
from roadshift.v1 import annotation_pb2_grpc
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from adaptation.control.api.annotation_servicer import AnnotationServicer
from adaptation.control.api.call_access import MOST_WATCHERS, CallAccess, Sort, sort_of
from adaptation.control.api.operations_servicer import OperationsServicer
from adaptation.control.learner.learner import Learner
from adaptation.control.learner.metrics import lease_gauge
from adaptation.control.settings import LearnerSettings
from adaptation.learning.data.job_sources import chosen_sources, held_out_sources
from adaptation.learning.data.labelled_frames import DataError
from exchange.metrics_port import serve_metrics
from exchange.net.call_errors import CallErrors
from exchange.net.callers import Callers
from exchange.net.connections import server_options
from exchange.net.guarded_calls import GuardedCalls
from exchange.net.listening import StartupError, check_free, checked_tls, open_port
from exchange.net.serving_thread import HandlersInThreads, serving_thread
from exchange.net.tls_files import TlsFiles
from exchange.plan.lease import Lease, LeaseHeld, holding
from exchange.registry.audit import user_at_host
from exchange.storage import JoinedRoots, StorageRoot, open_root

_THREADS = 4
"""For each sort of calls but watches, which have one each."""
_CONNECTIONS = 256
"""Of operators, annotators and commands; each has few."""
_GRACE_S = 1.0
_log = logging.getLogger(__name__)


def serve(settings: LearnerSettings, on_ready: Callable[[Learner, int, tuple[int, str] | None], None]) -> None:
    """Keeps a root adapted until SIGTERM or SIGINT; a round that is under way goes on with the next learner.

    `on_ready` is given the learner, its port, and the console's port and link; the link is empty where tokens or
    certificates open the console.

    Raises:
        StartupError: one line that says what to change.
        LeaseHeld: another learner holds the lease.
        LeaseLost: another learner took over.
        RecordError, ReleaseError, StorageError: the root cannot be begun with.
    """
    settings.recipes()
    settings.limits()
    _check_sources(settings)
    check_free(settings.listen, "--listen")
    check_free(settings.console_listen or "", "--console-port")
    check_free(settings.metrics, "--metrics")
    tls = checked_tls(settings)
    callers = Callers(client_certificates=settings.tls_client_ca is not None, token_file=settings.token_file)
    stopping = _StopSignal()
    joined = JoinedRoots(settings.run_dir)
    joined_before = settings.root in joined
    root = open_root(settings.root, joined_before=joined_before)
    hasty_root = open_root(settings.root, settings.lease_s / 5, joined_before=joined_before)
    joined.add(settings.root)
    registry = CollectorRegistry()
    show_lease = lease_gauge(registry)
    with ExitStack() as stack:
        if settings.metrics:
            metrics_port, stop_metrics = serve_metrics(settings.metrics, registry)
            stack.callback(stop_metrics)
            _log.info("metrics on port %d", metrics_port)
        lease = _acquire(stack, hasty_root, settings, stopping)
        if lease is None:
            return
        show_lease(lease)
        learner = Learner(root, lease, settings, user_at_host())
        registry.register(learner.metrics)
        stopping.tell(learner.stop)
        learner.begin()
        with (
            _port(learner, callers, CallErrors("learner", registry), tls) as port,
            _console(learner, callers, tls) as console,
        ):
            on_ready(learner, port, console)
            learner.run()


class _StopSignal:
    """Heard from the start, also by what is made later."""

    def __init__(self) -> None:
        self.came = False
        self._stop: Callable[[], None] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._note())

    def tell(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self.came:
            stop()

    def _note(self) -> None:
        self.came = True
        self._stop()


def _acquire(stack: ExitStack, root: StorageRoot, settings: LearnerSettings, stopping: _StopSignal) -> Lease | None:
    """The lease, kept until the stack ends; None where the signal came while another learner had it."""
    while not stopping.came:
        try:
            return stack.enter_context(holding(root, user_at_host(), lasts_s=settings.lease_s))
        except LeaseHeld as error:
            if not settings.standby:
                raise
            _log.info("standing by: %s", error)
        time.sleep(settings.lease_s / 10)
    return None


@contextmanager
def _port(learner: Learner, callers: Callers, errors: CallErrors, tls: TlsFiles | None) -> Iterator[int]:
    executors = {
        sort: ThreadPoolExecutor(MOST_WATCHERS if sort is Sort.WATCHES else _THREADS, thread_name_prefix=sort.name)
        for sort in Sort
    }

    async def start() -> tuple[grpc.aio.Server, int]:
        in_threads = HandlersInThreads(lambda method: executors[sort_of(method)])
        guards = [GuardedCalls(CallAccess(callers)), errors, in_threads]
        server = grpc.aio.server(interceptors=guards, options=server_options(_CONNECTIONS))
        pb_grpc.add_OperationsServicer_to_server(OperationsServicer(learner, callers), server)
        annotation_pb2_grpc.add_AnnotationServicer_to_server(AnnotationServicer(learner, callers), server)
        port = open_port(server, learner.settings, tls)
        await server.start()
        return server, port

    try:
        with serving_thread(start, grace_s=_GRACE_S) as port:
            yield port
    finally:
        for executor in executors.values():
            executor.shutdown(wait=False)


@contextmanager
def _console(learner: Learner, callers: Callers, tls: TlsFiles | None) -> Iterator[tuple[int, str] | None]:
    if learner.settings.console_listen is None:
        yield None
        return
    from adaptation.console.serving import running_console  # a web server that nobody else needs

    with running_console(learner, callers, learner.settings.console_listen, tls) as console:
        yield console


def _check_sources(settings: LearnerSettings) -> None:
    """Finds what is wrong with the data before a round does, hours later."""
    for choose, option in ((chosen_sources, "--source-split"), (held_out_sources, "--held-out-split")):
        try:
            for choice in choose(settings.sources):
                choice.frames()
        except DataError as error:
            raise StartupError(f"{error}; or name another {option}") from error
