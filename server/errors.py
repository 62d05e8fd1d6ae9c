"""Everything that the gateway refuses or fails with, as one tree with a gRPC status each.

    ServingError
    ├── InvalidRequest        INVALID_ARGUMENT    the caller must send something else
    ├── NotFound              NOT_FOUND           no such model or version
    ├── Overloaded            RESOURCE_EXHAUSTED  try again after `retry_after_s`
    │   ├── QueueFull                             too many frames wait
    │   ├── VehicleShareUsed                      too many frames of this vehicle wait
    │   ├── DeadlineTooNear                       the frames before it leave no time to answer by its deadline
    │   ├── Overtaken                             a newer frame of the same stream came (`latest_wins`)
    │   └── TooManyStreams                        as many streams are open as may be
    ├── DeadlinePassed        DEADLINE_EXCEEDED   the answer would have come too late
    ├── Unavailable           UNAVAILABLE         try again, here or at another gateway
    │   ├── Draining                              this gateway is going down
    │   ├── VersionUnavailable                    this version is not loaded, or is being dropped
    │   ├── EngineUnavailable                     the engine process is down and being repaired
    │   └── StreamIdle                            this stream sent nothing for long
    ├── EngineFailed          INTERNAL            the engine answered with an error; trying again will not help
    └── Defect                INTERNAL            anything else: the gateway's own fault; details only in its log

A message says what to do. Who may not call, or sends no message, is refused before that (`server.gateway.access`).
"""

import grpc


class ServingError(Exception):
    """The root; never raised itself.

    `status` is what the caller sees, `reason` the bounded label that metrics use, and `retry_after_s` the hint that
    goes into the trailing metadata (`retry-after-ms`), None where trying again is pointless.
    """

    status = grpc.StatusCode.INTERNAL
    reason = "internal"
    default_retry_after_s: float | None = None

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = self.default_retry_after_s if retry_after_s is None else retry_after_s


class InvalidRequest(ServingError):
    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "invalid"


class NotFound(ServingError):
    status = grpc.StatusCode.NOT_FOUND
    reason = "not_found"


class Overloaded(ServingError):
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "overloaded"
    default_retry_after_s = 0.1


class QueueFull(Overloaded):
    reason = "queue_full"


class VehicleShareUsed(Overloaded):
    reason = "vehicle_share"


class DeadlineTooNear(Overloaded):
    reason = "deadline_near"


class Overtaken(Overloaded):
    reason = "overtaken"


class TooManyStreams(Overloaded):
    reason = "streams"
    default_retry_after_s = 2.0


class DeadlinePassed(ServingError):
    status = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "deadline"


class Unavailable(ServingError):
    status = grpc.StatusCode.UNAVAILABLE
    reason = "unavailable"
    default_retry_after_s = 0.5


class Draining(Unavailable):
    reason = "draining"


class VersionUnavailable(Unavailable):
    reason = "version"


class EngineUnavailable(Unavailable):
    reason = "engine"


class StreamIdle(Unavailable):
    reason = "stream_idle"


class EngineFailed(ServingError):
    reason = "engine_failed"


class Defect(ServingError):
    def __init__(self) -> None:
        super().__init__("the gateway failed; its log says why")
