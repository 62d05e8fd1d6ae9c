"""Spans of frames through a real gateway, and that nothing of OpenTelemetry is there without a collector."""

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from exchange.net.startup_error import StartupError
from server.assembly import running_gateway
from server.engine_start import StartedEngine
from server.errors import EngineFailed
from server.opentelemetry import OpenTelemetryTracing
from server.segmenter import FakeSegmenter
from server.settings import GatewaySettings
from server.tracing import start_tracing
from server.triton.connection import TritonConnection
from tests.gateways import FRAME_SIZE_HW, Served, eventually

STAGES = ["queue", "decode", "infer", "encode"]
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"),)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def served(exporter: InMemorySpanExporter) -> AsyncIterator[Served]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    segmenter = FakeSegmenter(FRAME_SIZE_HW)
    settings = GatewaySettings(listen="127.0.0.1:0", metrics="", in_flight=1)
    tracing = OpenTelemetryTracing(provider)
    async with running_gateway(settings, StartedEngine(segmenter, 1), tracing=tracing) as gateway:
        address = f"127.0.0.1:{gateway.port}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield Served(gateway, segmenter, address, channel)


def spans_of_frames(exporter: InMemorySpanExporter) -> list[tuple[ReadableSpan, list[ReadableSpan]]]:
    """Each frame's span with its stages, in order of time."""
    finished = exporter.get_finished_spans()
    frames = [span for span in finished if span.name == "segment"]
    stages = [[s for s in finished if s.parent and s.parent.span_id == frame.context.span_id] for frame in frames]
    return [
        (frame, sorted(its, key=lambda span: span.start_time or 0)) for frame, its in zip(frames, stages, strict=True)
    ]


async def test_a_frames_stages_are_below_the_callers_span(
    served: Served, exporter: InMemorySpanExporter, frame_message: pb.Frame
) -> None:
    await served.stub.Segment(pb.SegmentRequest(frame=frame_message, domain="sim-dusk"), metadata=PARENT)
    ((frame, stages),) = spans_of_frames(exporter)
    assert f"{frame.context.trace_id:032x}" == TRACE_ID
    assert frame.parent is not None
    assert f"{frame.parent.span_id:016x}" == PARENT_ID
    assert [span.name for span in stages] == STAGES
    assert all(one.end_time <= next_.start_time for one, next_ in itertools.pairwise(stages))
    assert dict(frame.attributes or {}) == {
        "roadshift.status": "OK", "roadshift.domain": "default", "roadshift.version": 1, "roadshift.prior": "none",
    }  # fmt: skip


async def test_a_frame_that_waited_keeps_its_own_trace(
    served: Served, exporter: InMemorySpanExporter, frame_message: pb.Frame
) -> None:
    served.segmenter.gate.clear()
    request = pb.SegmentRequest(frame=frame_message)
    first = served.stub.Segment(request)
    await eventually(lambda: served.gateway.admission.in_flight == 1)
    second = served.stub.Segment(request, metadata=PARENT)
    await eventually(lambda: served.gateway.admission.queued == 1)
    served.segmenter.gate.set()
    await asyncio.gather(first, second)
    traced = {f"{frame.context.trace_id:032x}": stages for frame, stages in spans_of_frames(exporter)}
    assert len(traced) == 2
    assert all([span.name for span in stages] == STAGES for stages in traced.values())
    assert {span.context.trace_id for span in traced[TRACE_ID]} == {int(TRACE_ID, 16)}


async def test_a_failure_is_told_in_the_stage_that_failed(
    served: Served, exporter: InMemorySpanExporter, frame_message: pb.Frame
) -> None:
    served.segmenter.failure = EngineFailed("the engine answered with an error")
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.Segment(pb.SegmentRequest(frame=frame_message))
    ((frame, stages),) = spans_of_frames(exporter)
    assert (frame.attributes or {})["roadshift.status"] == "INTERNAL"
    assert [span.status.is_ok for span in stages] == [True, True, False]
    assert "the engine answered" in (stages[-1].events[0].attributes or {})["exception.message"]


async def test_frames_of_a_stream_are_traced_one_by_one(
    served: Served, exporter: InMemorySpanExporter, frame_message: pb.Frame
) -> None:
    stub = pb_grpc.SegmentationStub(served.channel)
    messages = [pb.SegmentStreamRequest(settings=pb.StreamSettings(vehicle_id="car-1"))]
    messages += [pb.SegmentStreamRequest(frame=frame_message) for _ in range(3)]
    outcomes = [outcome async for outcome in stub.SegmentStream(iter(messages), metadata=PARENT)]
    assert len(outcomes) == 3
    traced = spans_of_frames(exporter)
    assert len(traced) == 3
    assert {f"{frame.context.trace_id:032x}" for frame, _ in traced} == {TRACE_ID}


async def test_what_is_no_traceparent_begins_a_trace_of_its_own(
    served: Served, exporter: InMemorySpanExporter, frame_message: pb.Frame
) -> None:
    await served.stub.Segment(pb.SegmentRequest(frame=frame_message), metadata=(("traceparent", "nonsense"),))
    ((frame, _),) = spans_of_frames(exporter)
    assert frame.parent is None


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers nothing, and remembers who asked."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str]] = []

    async def ModelInfer(  # noqa: N802
        self, request: service_pb2.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        return service_pb2.ModelInferResponse()


async def test_triton_is_told_of_the_stage_that_asks_it(exporter: InMemorySpanExporter) -> None:
    provider, triton = TracerProvider(), Triton()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    connection = TritonConnection(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()
    with OpenTelemetryTracing(provider).frame("") as trace, trace.stage("infer"):
        await asyncio.create_task(connection.infer(service_pb2.ModelInferRequest()))
    await connection.infer(service_pb2.ModelInferRequest())
    await connection.close()
    await server.stop(None)
    (infer,) = (span for span in exporter.get_finished_spans() if span.name == "infer")
    _, trace_id, span_id, _ = triton.metadata[0]["traceparent"].split("-")
    assert (int(trace_id, 16), int(span_id, 16)) == (infer.context.trace_id, infer.context.span_id)
    assert "traceparent" not in triton.metadata[1]


class Collector(TraceServiceServicer):
    """Takes spans by OTLP, as a real one does."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802
        self.requests.append(request)
        return ExportTraceServiceResponse()


async def test_a_collector_gets_the_spans_when_the_gateway_ends(frame_message: pb.Frame) -> None:
    collector = Collector()
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        add_TraceServiceServicer_to_server(collector, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        traces = f"http://127.0.0.1:{port}"
        settings = GatewaySettings(listen="127.0.0.1:0", metrics="", traces=traces, gateway="gw-a")
        async with (
            running_gateway(settings, StartedEngine(FakeSegmenter(FRAME_SIZE_HW), 1)) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
        ):
            await pb_grpc.SegmentationStub(channel).Segment(pb.SegmentRequest(frame=frame_message))
        server.stop(None).wait()
    (exported,) = (resource for request in collector.requests for resource in request.resource_spans)
    told = {attribute.key: attribute.value.string_value for attribute in exported.resource.attributes}
    assert (told["service.name"], told["service.instance.id"]) == ("roadshift-gateway", "gw-a")
    names = [span.name for scope in exported.scope_spans for span in scope.spans]
    assert sorted(names) == sorted([*STAGES, "segment"])


def test_without_a_collector_nothing_of_it_is_imported() -> None:
    code = (
        "import sys\n"
        "from server.tracing import NO_TRACING, start_tracing\n"
        "import server.assembly\n"
        "assert start_tracing('', 'gw-a') is NO_TRACING\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "collector", ["127.0.0.1:4317", "[::1]:4317", "ftp://a:1", "http://a", "http://a b:1", "http://a:0"]
)
def test_a_collector_that_is_no_url_of_host_and_port_is_refused_by_name(collector: str) -> None:
    with pytest.raises(
        StartupError, match=f"--traces {re.escape(collector.removeprefix('http://'))}.*http://HOST:PORT"
    ):
        start_tracing(collector, "gw-a")
