"""What a failed call to Triton means to the caller of the gateway.

Triton 2.51 says the same thing by several codes and some things only by words; both were read off the real server.
"""

import grpc

from server.errors import EngineFailed, EngineUnavailable, ServingError, VersionUnavailable

_STUB_DIED = ("Stub process", "shared memory region")
"""The second: a restarted Triton that does not know the gateway's regions yet."""


def serving_error(version: int, error: grpc.aio.AioRpcError) -> ServingError:
    """The error of the drawn tree for one failed inference; everything that a repair can cure is retryable."""
    details = error.details() or ""
    code = error.code()
    if code == grpc.StatusCode.NOT_FOUND or "not at ready state" in details or "no available versions" in details:
        return VersionUnavailable(f"version {version} is not loaded just now: try again")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return EngineUnavailable("the engine process is being brought back: try again")
    if any(words in details for words in _STUB_DIED):
        return EngineUnavailable(f"the engine of version {version} is being brought back: try again")
    return EngineFailed(f"the engine of version {version} failed: {details.strip()}")


def load_failure(error: grpc.aio.AioRpcError) -> str:
    """Why a load failed, in one line: Triton's words without the traceback after them."""
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return (
            "Triton has not loaded it in time: free this machine of other work, and look into triton.log; "
            "one that runs elsewhere needs a --model-repository without spaces and marks in its path"
        )
    words, _, _ = (error.details() or str(error.code())).partition("\n\nAt:")
    return " ".join(words.split())
