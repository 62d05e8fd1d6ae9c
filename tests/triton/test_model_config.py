import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from server.triton.model_config import ModelConfig


def parsed(config: ModelConfig) -> model_config_pb2.ModelConfig:
    return text_format.Parse(config.to_pbtxt(), model_config_pb2.ModelConfig())


def test_the_file_says_what_the_dataclass_says() -> None:
    message = parsed(ModelConfig(versions=(3, 7), threads=5, frames_at_once=2))

    assert message.name == "segmenter"
    assert (message.backend, message.platform, message.max_batch_size) == ("python", "", 0)
    assert list(message.version_policy.specific.versions) == [3, 7]
    assert message.parameters["threads"].string_value == "5"
    assert [group.count for group in message.instance_group] == [2]
    assert not message.HasField("dynamic_batching")


def test_the_tensors_are_the_contract() -> None:
    message = parsed(ModelConfig(versions=(1,)))

    inputs = {
        tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in message.input
    }
    outputs = {
        tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in message.output
    }
    assert inputs == {
        "FRAME": ("TYPE_UINT8", [-1, -1, 3]),
        "LOG_PRIOR_RATIO": ("TYPE_FP32", [19]),
        "VALID_HW": ("TYPE_INT32", [2]),
    }
    assert outputs == {
        "LABEL": ("TYPE_UINT8", [-1, -1]),
        "CONFIDENCE": ("TYPE_UINT8", [-1, -1]),
        "PRESENCE": ("TYPE_FP32", [19]),
        "MEAN_PROBABILITY": ("TYPE_FP32", [19]),
    }


def test_a_tensorrt_release_is_a_native_model_of_one_frame_size() -> None:
    message = parsed(ModelConfig(versions=(1,), backend="tensorrt", frame_size=(512, 1024), frames_at_once=2))

    assert (message.backend, message.platform) == ("", "tensorrt_plan")
    assert message.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert message.instance_group[0].count == 1
    assert list(message.input[0].dims) == [512, 1024, 3]
    assert list(message.output[0].dims) == [512, 1024]


@pytest.mark.parametrize("config", [ModelConfig(versions=(1, 2)), ModelConfig((4,), "tensorrt", (64, 128))])
def test_the_override_of_a_load_equals_the_file(config: ModelConfig) -> None:
    assert json_format.Parse(config.to_json(), model_config_pb2.ModelConfig()) == parsed(config)
