"""Spans of each frame by OpenTelemetry: one for the frame, below the caller's own, and one for each stage in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from exchange.net.addresses import AddressError, called_address, grpc_target
from exchange.net.proxies import channel_options
from exchange.net.startup_error import StartupError
from server.tracing import TRACE_METADATA, FrameTrace

_PREFIX = "roadshift."
_W3C = TraceContextTextMapPropagator()


class OpenTelemetryTracing:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("roadshift")

    @contextmanager
    def frame(self, parent: str) -> Iterator[FrameTrace]:
        context = _W3C.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span("segment", context=context, kind=SpanKind.SERVER) as span:
            yield _Frame(self._tracer, span)

    def close(self) -> None:
        self._provider.shutdown()


class _Frame:
    """Its stages run in other tasks than it began in, so they are told whose they are."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(name, context=self._context):
            onward: dict[str, str] = {}
            _W3C.inject(onward)
            before = TRACE_METADATA.set(tuple(onward.items()))
            try:
                yield
            finally:
                TRACE_METADATA.reset(before)

    def waited(self, name: str, seconds: float) -> None:
        now_ns = time.time_ns()
        began_ns = now_ns - round(1e9 * seconds)
        self._tracer.start_span(name, context=self._context, start_time=began_ns).end(now_ns)

    def note(self, **facts: str | int) -> None:
        for name, value in facts.items():
            self._span.set_attribute(_PREFIX + name, value)


def traced_by_otlp(collector: str, gateway: str) -> OpenTelemetryTracing:
    """Spans wait in a bounded queue, and are dropped where the collector does not take them.

    Raises:
        StartupError: the collector is no URL of a host and a port.
    """
    resource = Resource.create({"service.name": "roadshift-gateway", "service.instance.id": gateway})
    provider = TracerProvider(resource=resource)
    address = _address_in(collector)
    endpoint, options = f"{collector.partition('://')[0]}://{address}", tuple(channel_options(address))
    exporter = OTLPSpanExporter(endpoint=endpoint, channel_options=options)  # type: ignore[arg-type]  # gRPC takes numbers
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OpenTelemetryTracing(provider)


def _address_in(collector: str) -> str:
    scheme, _, address = collector.partition("://")
    try:
        if scheme not in ("http", "https"):
            raise AddressError(f"{collector} is no URL")
        return grpc_target(str(called_address(address.removesuffix("/"))))
    except AddressError as error:
        raise StartupError(f"--traces {error}: give http://HOST:PORT, or https://HOST:PORT for TLS") from error
