"""Traces of frames for an OpenTelemetry collector. Without one nothing of it is imported, and a frame costs no more."""

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from exchange.net.listening import StartupError

TRACE_METADATA: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("trace metadata", default=())
"""For calls that belong to the present stage, so that whoever is called can trace on; empty where nothing is traced."""


class FrameTrace(Protocol):
    """Of one frame."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Around a stage of the frame's way."""

    def waited(self, name: str, seconds: float) -> None:
        """A stage that ends now, after so long."""

    def note(self, **facts: str | int) -> None:
        """What is known of the frame as a whole."""


class Tracing(Protocol):
    def frame(self, parent: str) -> AbstractContextManager[FrameTrace]:
        """Around a frame. `parent`: the caller's W3C traceparent, or empty."""

    def close(self) -> None:
        """Hands on what was traced."""


class NoTracing:
    """Both for all frames and for each."""

    def frame(self, parent: str) -> AbstractContextManager[FrameTrace]:
        return _NO_FRAME

    def stage(self, name: str) -> AbstractContextManager[object]:
        return _NO_STAGE

    def waited(self, name: str, seconds: float) -> None:
        pass

    def note(self, **facts: str | int) -> None:
        pass

    def close(self) -> None:
        pass


NO_TRACING = NoTracing()
_NO_FRAME: AbstractContextManager[FrameTrace] = nullcontext(NO_TRACING)
_NO_STAGE: AbstractContextManager[object] = nullcontext()


def start_tracing(collector: str, gateway: str) -> Tracing:
    """To a collector by OTLP over gRPC, such as http://127.0.0.1:4317; to nobody where that is empty.

    Raises:
        StartupError: OpenTelemetry is not installed, or the collector is no such URL.
    """
    if not collector:
        return NO_TRACING
    try:
        from server.opentelemetry import traced_by_otlp
    except ImportError as error:
        raise StartupError(f"--traces needs OpenTelemetry ({error.name}): pip install 'roadshift[otel]'") from error
    return traced_by_otlp(collector, gateway)
