"""Health, reflection and metrics: what an operator's tools see."""

import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest
from roadshift.v1 import segmentation_pb2 as pb

from exchange.label_space import CLASS_NAMES
from tests.gateways import Served, StartGateway, eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "roadshift.v1.Segmentation", "inference.GRPCInferenceService")


async def health(served: Served, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(served.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.parametrize("service", SERVICES)
async def test_health_follows_what_really_answers(start_gateway: StartGateway, service: str) -> None:
    served = await start_gateway()
    stub = health_pb2_grpc.HealthStub(served.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
    assert (await watch.read()).status == SERVING
    lost = served.segmenter.versions.pop(1)
    assert (await watch.read()).status == NOT_SERVING
    served.segmenter.versions[1] = lost
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_who_watches_health_leaves_room_for_who_asks(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    stub = health_pb2_grpc.HealthStub(served.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(8)]
    for watch in watches:
        assert (await watch.read()).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError, match="too many health watches are open already: call Check now and then"):
        await stub.Watch(health_pb2.HealthCheckRequest()).read()
    assert await health(served, "") == SERVING
    watches.pop().cancel()

    async def there_is_room() -> bool:
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        try:
            return (await watch.read()).status == SERVING
        except grpc.aio.AioRpcError:
            return False
        finally:
            watch.cancel()

    while not await there_is_room():
        pass
    for watch in watches:
        watch.cancel()


async def test_health_of_an_unknown_service_is_not_found(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await health(served, "another.Service")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_every_service_and_describes_it(start_gateway: StartGateway) -> None:
    served = await start_gateway()

    async def ask(**question: str) -> reflection_pb2.ServerReflectionResponse:
        call = reflection_pb2_grpc.ServerReflectionStub(served.channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(**question)])
        )
        return await call.read()

    listed = {service.name for service in (await ask(list_services="")).list_services_response.service}
    assert listed == {*SERVICES[1:], "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    described = await ask(file_containing_symbol="roadshift.v1.Segmentation")
    assert b"SegmentStream" in described.file_descriptor_response.file_descriptor_proto[0]


async def test_every_metric_is_there_with_bounded_labels(start_gateway: StartGateway, frame_message: pb.Frame) -> None:
    served = await start_gateway(domains=("sim-day",), metrics="127.0.0.1:0")
    for domain in ("sim-day", "sim-day", "one-of-very-many"):
        await served.stub.Segment(pb.SegmentRequest(frame=frame_message, domain=domain, vehicle_id="car-1"))
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.Segment(pb.SegmentRequest(frame=pb.Frame(data=b"x", format="png"), domain="sim-day"))
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.Segment(pb.SegmentRequest(frame=frame_message, domain="No Domain"))
    text = generate_latest(served.gateway.metrics.registry).decode()
    assert "car-1" not in text
    assert "very-many" not in text
    value = served.gateway.metrics.registry.get_sample_value
    counted = {
        (domain, version, status): value(
            "roadshift_requests_total", {"domain": domain, "version": version, "status": status}
        )
        for domain in ("sim-day", "default")
        for version in ("1", "none")
        for status in ("OK", "INVALID_ARGUMENT")
    }
    assert {labels: count for labels, count in counted.items() if count} == {
        ("sim-day", "1", "OK"): 2, ("default", "1", "OK"): 1,
        ("sim-day", "1", "INVALID_ARGUMENT"): 1, ("default", "none", "INVALID_ARGUMENT"): 1,
    }  # fmt: skip
    assert value("roadshift_refused_total", {"reason": "invalid"}) == 2
    for stage in ("queue", "decode", "infer", "encode", "total"):
        assert value("roadshift_stage_duration_seconds_count", {"stage": stage}) == 3
    assert value("roadshift_frame_size_bytes_sum", {"format": "rgb8"}) == 4 * len(frame_message.data)
    assert value("roadshift_confidence_ratio_count", {"domain": "sim-day"}) == 2
    labels = [{"domain": "sim-day", "class_name": name} for name in CLASS_NAMES]
    assert sum(value("roadshift_class_fraction_ratio_total", label) or 0 for label in labels) == pytest.approx(2)
    assert value("roadshift_version_ready", {"version": "1"}) == 1
    assert value("roadshift_version_serving", {"version": "1"}) == 1
    assert value("roadshift_in_flight_frames") == value("roadshift_queued_frames") == 0
    assert value("roadshift_engine_restarts_total") == 0


async def test_queues_and_versions_are_read_at_each_scrape(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    value = served.gateway.metrics.registry.get_sample_value
    served.segmenter.gate.clear()
    calls = [served.stub.Segment(pb.SegmentRequest(frame=frame_message)) for _ in range(2)]
    await eventually(lambda: value("roadshift_queued_frames") == 1)
    assert value("roadshift_in_flight_frames") == 1
    served.segmenter.versions[2] = (8, 8)
    assert value("roadshift_version_ready", {"version": "2"}) == 1
    assert value("roadshift_version_serving", {"version": "2"}) == 0
    del served.segmenter.versions[2]
    assert value("roadshift_version_ready", {"version": "2"}) is None
    served.segmenter.gate.set()
    for call in calls:
        await call


async def test_prometheus_reads_them_over_http(start_gateway: StartGateway) -> None:
    served = await start_gateway(metrics="127.0.0.1:0")
    with urllib.request.urlopen(f"http://127.0.0.1:{served.gateway.metrics_port}/metrics") as response:
        assert "roadshift_in_flight_frames 0.0" in response.read().decode()
