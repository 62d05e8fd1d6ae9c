"""tritonclient against the gateway, unchanged; and what the protocol allows beyond what tritonclient sends."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as pb_grpc
from tritonclient.utils import InferenceServerException

from server.gateway.kserve_servicer import KserveServicer
from server.routing import DomainPlan, ServingPlan
from server.segmenter import FakeBehavior
from tests.gateways import Served, StartGateway, eventually


def inputs(frame_HW3: NDArray[np.uint8], ratio_K: NDArray[np.float32] | None = None) -> list[Any]:
    frame = triton.InferInput("FRAME", list(frame_HW3.shape), "UINT8")
    frame.set_data_from_numpy(frame_HW3)
    if ratio_K is None:
        return [frame]
    ratio = triton.InferInput("LOG_PRIOR_RATIO", [19], "FP32")
    ratio.set_data_from_numpy(ratio_K)
    return [frame, ratio]


async def blocking(served: Served, use: Callable[[triton.InferenceServerClient], Any]) -> Any:
    """Runs tritonclient's blocking client beside the gateway's event loop."""

    def run() -> Any:
        with triton.InferenceServerClient(served.address) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def test_tritonclient_finds_everything_alive_and_ready(start_gateway: StartGateway) -> None:
    served = await start_gateway()

    def ask(client: triton.InferenceServerClient) -> list[Any]:
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready("segmenter"),
            client.is_model_ready("segmenter", "1"),
            client.is_model_ready("segmenter", "2"),
            client.is_model_ready("segmenter", "abc"),
            client.is_model_ready("another"),
        ]

    assert await blocking(served, ask) == [True, True, True, True, False, False, False]
    served.segmenter.versions.clear()
    assert await blocking(served, ask) == [True, False, False, False, False, False, False]


async def test_metadata_says_what_to_send_and_what_comes_back(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    metadata = await blocking(served, lambda client: client.get_model_metadata("segmenter", as_json=True))
    assert metadata["versions"] == ["1"]
    assert {tensor["name"]: tensor["shape"] for tensor in metadata["inputs"]} == {
        "FRAME": ["-1", "-1", "3"], "LOG_PRIOR_RATIO": ["19"],
    }  # fmt: skip
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["LABEL", "CONFIDENCE", "PRESENCE", "MEAN_PROBABILITY"]
    server = await blocking(served, lambda client: client.get_server_metadata())
    assert server.name == "roadshift"
    with pytest.raises(InferenceServerException, match="version 99 is not loaded"):
        await blocking(served, lambda client: client.get_model_metadata("segmenter", "99"))


async def test_what_is_not_served_is_said_without_a_traceback(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    with pytest.raises(InferenceServerException, match="serves live, ready, metadata and infer"):
        await blocking(served, lambda client: client.get_model_config("segmenter"))
    generated = vars(pb_grpc.GRPCInferenceServiceServicer)
    assert {name for name in generated if name[0].isupper()} <= set(vars(KserveServicer))


async def test_infer_answers_the_whole_contract(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    options = {"request_id": "r7", "priority": 1, "timeout": 10**7}
    result = await blocking(served, lambda client: client.infer("segmenter", inputs(known_frame), **options))
    np.testing.assert_array_equal(result.as_numpy("LABEL"), known_labels)
    assert (result.as_numpy("CONFIDENCE") == round(255 * np.exp(4) / (np.exp(4) + 18))).all()
    shares = np.bincount(known_labels.ravel(), minlength=19) / known_labels.size
    top, rest = np.exp(4) / (np.exp(4) + 18), 1 / (np.exp(4) + 18)
    np.testing.assert_allclose(result.as_numpy("MEAN_PROBABILITY"), shares * top + (1 - shares) * rest, rtol=1e-5)
    presence = np.log(shares * np.exp(top) + (1 - shares) * np.exp(rest))
    np.testing.assert_allclose(result.as_numpy("PRESENCE"), presence, rtol=1e-5)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("r7", "segmenter", "1")
    assert response.parameters["domain"].string_param == "default"


async def test_frames_of_any_size_and_some_of_the_outputs(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    frame_HW3 = np.zeros((31, 200, 3), dtype=np.uint8)
    async with triton_aio.InferenceServerClient(served.address) as client:
        result = await client.infer(
            "segmenter", inputs(frame_HW3), outputs=[triton.InferRequestedOutput("LABEL")], model_version="1"
        )
    assert result.as_numpy("LABEL").shape == (31, 200)
    assert result.as_numpy("CONFIDENCE") is None


async def test_the_prior_is_the_requests_own_or_that_of_its_domain(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    only_sky = np.full(19, -20, dtype=np.float32)
    only_sky[10] = 0
    dusk = DomainPlan(serving=1, prior_id="dusk-3", log_prior_ratio_K=only_sky)
    served.gateway.router.plan = ServingPlan(revision=1, default=DomainPlan(serving=1), domains={"sim-dusk": dusk})

    def ask(ratio_K: NDArray[np.float32] | None, parameters: dict[str, str]) -> Any:
        return blocking(
            served, lambda client: client.infer("segmenter", inputs(known_frame, ratio_K), parameters=parameters)
        )

    by_domain = await ask(None, {"domain": "sim-dusk", "vehicle_id": "car-1"})
    assert (by_domain.as_numpy("LABEL") == 10).all()
    assert by_domain.get_response().parameters["prior_id"].string_param == "dusk-3"
    own = await ask(np.zeros(19, dtype=np.float32), {"domain": "sim-dusk"})
    np.testing.assert_array_equal(own.as_numpy("LABEL"), known_labels)
    assert own.get_response().parameters["prior_id"].string_param == "request"
    neither = await ask(None, {"domain": "elsewhere"})
    np.testing.assert_array_equal(neither.as_numpy("LABEL"), known_labels)


def request(**changes: Any) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="segmenter")
    message.inputs.add(name="FRAME", datatype="UINT8", shape=[2, 2, 3])
    message.raw_input_contents.append(bytes(12))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def changed(change: Callable[[pb.ModelInferRequest], Any]) -> pb.ModelInferRequest:
    message = request()
    change(message)
    return message


INVALID = {
    "no model": (request(model_name="other"), "NOT_FOUND", "no model 'other' here: ask for 'segmenter'"),
    "no version": (request(model_version="7"), "NOT_FOUND", "version 7 is not loaded"),
    "no number": (request(model_version="last"), "NOT_FOUND", "no version 'last'"),
    "no frame": (pb.ModelInferRequest(model_name="segmenter"), "INVALID_ARGUMENT", "the input FRAME is missing"),
    "other input": (
        changed(lambda m: (m.inputs.add(name="VALID_HW"), m.raw_input_contents.append(b""))),
        "INVALID_ARGUMENT", "no input 'VALID_HW'",
    ),
    "other type": (
        changed(lambda m: setattr(m.inputs[0], "datatype", "FP32")), "INVALID_ARGUMENT", "send UINT8 [-1, -1, 3]",
    ),
    "other shape": (
        changed(lambda m: m.inputs[0].shape.insert(0, 1)), "INVALID_ARGUMENT", "FRAME is UINT8 [1, 2, 2, 3]: send",
    ),
    "no pixels": (
        changed(lambda m: m.inputs[0].shape.__setitem__(0, 0)), "INVALID_ARGUMENT", "FRAME is UINT8 [0, 2, 3]: send",
    ),
    "short": (
        changed(lambda m: m.raw_input_contents.__setitem__(0, b"x")), "INVALID_ARGUMENT", "has 1 bytes: send all of it",
    ),
    "more contents": (
        changed(lambda m: m.raw_input_contents.append(b"x")), "INVALID_ARGUMENT", "1 inputs with 2 raw contents",
    ),
    "shared memory": (
        changed(lambda m: m.inputs[0].parameters["shared_memory_region"].SetInParent()),
        "INVALID_ARGUMENT", "such as a shared memory region: send the bytes",
    ),
    "other output": (changed(lambda m: m.outputs.add(name="MASK")), "INVALID_ARGUMENT", "no output 'MASK'"),
    "other parameter": (
        changed(lambda m: m.parameters["speed"].MergeFrom(pb.InferParameter(int64_param=1))),
        "INVALID_ARGUMENT", "unknown parameter 'speed': send some of domain, vehicle_id, drive_id",
    ),
    "number as domain": (
        changed(lambda m: m.parameters["domain"].MergeFrom(pb.InferParameter(int64_param=5))),
        "INVALID_ARGUMENT", "parameter domain is not a string",
    ),
    "huge shape": (
        changed(lambda m: (m.inputs[0].ClearField("shape"), m.inputs[0].shape.extend([1 << 32, 1 << 32, 3]),
                           m.raw_input_contents.__setitem__(0, b""))),
        "INVALID_ARGUMENT", "has 0 bytes: send all of it",
    ),
    "typed value over 255": (
        changed(lambda m: (m.raw_input_contents.pop(), m.inputs[0].contents.uint_contents.extend([300] * 12))),
        "INVALID_ARGUMENT", "has values over 255",
    ),
    "other domain": (
        changed(lambda m: m.parameters["domain"].MergeFrom(pb.InferParameter(string_param="A"))),
        "INVALID_ARGUMENT", "is not a domain name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
async def test_what_is_not_understood_is_told_what_to_send(start_gateway: StartGateway, name: str) -> None:
    served = await start_gateway()
    message, status, details = INVALID[name]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await pb_grpc.GRPCInferenceServiceStub(served.channel).ModelInfer(message)
    assert failure.value.code().name == status
    assert details in (failure.value.details() or "")


async def test_a_version_that_is_being_brought_back_may_be_tried_again(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    served.segmenter.behaviors[1] = FakeBehavior(is_down=True)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await pb_grpc.GRPCInferenceServiceStub(served.channel).ModelInfer(request(model_version="1"))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "retry-after-ms" in dict(failure.value.trailing_metadata() or ())


async def test_a_ratio_that_is_not_finite_is_refused(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    ratio_K = np.full(19, np.nan, dtype=np.float32)
    with pytest.raises(InferenceServerException, match="not finite"):
        await blocking(served, lambda client: client.infer("segmenter", inputs(known_frame, ratio_K)))


async def test_contents_may_also_come_as_typed_values(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    message = pb.ModelInferRequest(model_name="segmenter")
    tensor = message.inputs.add(name="FRAME", datatype="UINT8", shape=known_frame.shape)
    tensor.contents.uint_contents.extend(known_frame.ravel().tolist())
    response = await pb_grpc.GRPCInferenceServiceStub(served.channel).ModelInfer(message)
    labels = np.frombuffer(response.raw_output_contents[0], np.uint8).reshape(known_labels.shape)
    np.testing.assert_array_equal(labels, known_labels)


async def test_it_passes_the_same_admission_and_metrics(start_gateway: StartGateway) -> None:
    served = await start_gateway(in_flight=1, queued=0)
    served.segmenter.gate.clear()
    stub = pb_grpc.GRPCInferenceServiceStub(served.channel)
    first = stub.ModelInfer(request())
    await eventually(lambda: served.segmenter.inferred_frames == 1)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.ModelInfer(request())
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "retry-after-ms" in dict(failure.value.trailing_metadata() or ())
    served.segmenter.gate.set()
    await first
    registry = served.gateway.metrics.registry
    counted = {"domain": "default", "version": "1"}
    assert registry.get_sample_value("roadshift_requests_total", {**counted, "status": "OK"}) == 1
    assert registry.get_sample_value("roadshift_requests_total", {**counted, "status": "RESOURCE_EXHAUSTED"}) == 1
