import grpc
import pytest

from server.errors import EngineFailed, EngineUnavailable, ServingError, VersionUnavailable
from server.triton.status import load_failure, serving_error


def failed(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        ("NOT_FOUND", "Request for unknown model: 'segmenter' has no available versions", VersionUnavailable),
        ("UNAVAILABLE", "Request for unknown model: 'segmenter' version 2 is not at ready state", VersionUnavailable),
        ("UNAVAILABLE", "Socket closed", EngineUnavailable),
        ("CANCELLED", "CANCELLED", EngineUnavailable),
        ("INTERNAL", "Stub process 'segmenter_0_0' is not healthy.", EngineUnavailable),
        ("INVALID_ARGUMENT", "Unable to find shared memory region: 'frames'", EngineUnavailable),
        ("INTERNAL", "the engine failed on a frame of (8, 8, 3): no", EngineFailed),
    ],
)
def test_what_a_repair_can_cure_is_retryable(code: str, details: str, kind: type[ServingError]) -> None:
    error = serving_error(2, failed(grpc.StatusCode[code], details))

    assert type(error) is kind
    assert (error.retry_after_s is None) == (kind is EngineFailed)


def test_a_load_that_takes_too_long_says_where_to_look() -> None:
    assert "look into triton.log" in load_failure(failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))


def test_a_refused_load_is_one_line_without_the_traceback() -> None:
    details = "load failed: Internal: RuntimeError: no\n  such file\n\nAt:\n  model.py(31): initialize\n;\n"

    assert load_failure(failed(grpc.StatusCode.INVALID_ARGUMENT, details)) == (
        "load failed: Internal: RuntimeError: no such file"
    )
