import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RoundPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUND_PHASE_UNSPECIFIED: _ClassVar[RoundPhase]
    ROUND_PHASE_QUEUED: _ClassVar[RoundPhase]
    ROUND_PHASE_SNAPSHOT: _ClassVar[RoundPhase]
    ROUND_PHASE_LEARNING: _ClassVar[RoundPhase]
    ROUND_PHASE_PUBLISHING: _ClassVar[RoundPhase]
    ROUND_PHASE_ROLLOUT: _ClassVar[RoundPhase]
    ROUND_PHASE_PROMOTED: _ClassVar[RoundPhase]
    ROUND_PHASE_REJECTED: _ClassVar[RoundPhase]
    ROUND_PHASE_FAILED: _ClassVar[RoundPhase]
    ROUND_PHASE_CANCELLED: _ClassVar[RoundPhase]
ROUND_PHASE_UNSPECIFIED: RoundPhase
ROUND_PHASE_QUEUED: RoundPhase
ROUND_PHASE_SNAPSHOT: RoundPhase
ROUND_PHASE_LEARNING: RoundPhase
ROUND_PHASE_PUBLISHING: RoundPhase
ROUND_PHASE_ROLLOUT: RoundPhase
ROUND_PHASE_PROMOTED: RoundPhase
ROUND_PHASE_REJECTED: RoundPhase
ROUND_PHASE_FAILED: RoundPhase
ROUND_PHASE_CANCELLED: RoundPhase

class StartRoundRequest(_message.Message):
    __slots__ = ("domain", "recipe", "minutes", "seed", "idempotency_key", "by", "force", "why")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    domain: str
    recipe: str
    minutes: float
    seed: int
    idempotency_key: str
    by: str
    force: bool
    why: str
    def __init__(self, domain: _Optional[str] = ..., recipe: _Optional[str] = ..., minutes: _Optional[float] = ..., seed: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., by: _Optional[str] = ..., force: bool = ..., why: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "done", "total", "numbers", "paused")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STEP_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    step: str
    done: int
    total: int
    numbers: _containers.ScalarMap[str, float]
    paused: str
    def __init__(self, step: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., numbers: _Optional[_Mapping[str, float]] = ..., paused: _Optional[str] = ...) -> None: ...

class RoundEvent(_message.Message):
    __slots__ = ("at", "text")
    AT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    text: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class GateCheck(_message.Message):
    __slots__ = ("name", "value", "threshold", "at_least", "passed", "explanation")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    threshold: float
    at_least: bool
    passed: bool
    explanation: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., at_least: bool = ..., passed: bool = ..., explanation: _Optional[str] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("id", "domain", "recipe", "minutes", "seed", "trigger", "requested_by", "phase", "created_at", "changed_at", "start_version", "version", "reason", "frames", "progress", "events", "checks")
    ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    START_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    id: str
    domain: str
    recipe: str
    minutes: float
    seed: int
    trigger: str
    requested_by: str
    phase: RoundPhase
    created_at: _timestamp_pb2.Timestamp
    changed_at: _timestamp_pb2.Timestamp
    start_version: int
    version: int
    reason: str
    frames: int
    progress: Progress
    events: _containers.RepeatedCompositeFieldContainer[RoundEvent]
    checks: _containers.RepeatedCompositeFieldContainer[GateCheck]
    def __init__(self, id: _Optional[str] = ..., domain: _Optional[str] = ..., recipe: _Optional[str] = ..., minutes: _Optional[float] = ..., seed: _Optional[int] = ..., trigger: _Optional[str] = ..., requested_by: _Optional[str] = ..., phase: _Optional[_Union[RoundPhase, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_version: _Optional[int] = ..., version: _Optional[int] = ..., reason: _Optional[str] = ..., frames: _Optional[int] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., events: _Optional[_Iterable[_Union[RoundEvent, _Mapping]]] = ..., checks: _Optional[_Iterable[_Union[GateCheck, _Mapping]]] = ...) -> None: ...

class WatchRoundRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListRoundsRequest(_message.Message):
    __slots__ = ("domain", "limit")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    domain: str
    limit: int
    def __init__(self, domain: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListRoundsResponse(_message.Message):
    __slots__ = ("rounds",)
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    rounds: _containers.RepeatedCompositeFieldContainer[Round]
    def __init__(self, rounds: _Optional[_Iterable[_Union[Round, _Mapping]]] = ...) -> None: ...

class GetRoundRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelRoundRequest(_message.Message):
    __slots__ = ("id", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    by: str
    def __init__(self, id: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class ListReleasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Release(_message.Message):
    __slots__ = ("version", "published_at", "published_by", "origin", "round_id", "serves", "previous_of", "candidate_of", "pinned", "stored")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_BY_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_OF_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_OF_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    version: int
    published_at: _timestamp_pb2.Timestamp
    published_by: str
    origin: str
    round_id: str
    serves: _containers.RepeatedScalarFieldContainer[str]
    previous_of: _containers.RepeatedScalarFieldContainer[str]
    candidate_of: _containers.RepeatedScalarFieldContainer[str]
    pinned: bool
    stored: bool
    def __init__(self, version: _Optional[int] = ..., published_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., published_by: _Optional[str] = ..., origin: _Optional[str] = ..., round_id: _Optional[str] = ..., serves: _Optional[_Iterable[str]] = ..., previous_of: _Optional[_Iterable[str]] = ..., candidate_of: _Optional[_Iterable[str]] = ..., pinned: bool = ..., stored: bool = ...) -> None: ...

class ListReleasesResponse(_message.Message):
    __slots__ = ("releases",)
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, releases: _Optional[_Iterable[_Union[Release, _Mapping]]] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("version", "domain", "force", "why", "by")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    version: int
    domain: str
    force: bool
    why: str
    by: str
    def __init__(self, version: _Optional[int] = ..., domain: _Optional[str] = ..., force: bool = ..., why: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("domain", "why", "by")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    domain: str
    why: str
    by: str
    def __init__(self, domain: _Optional[str] = ..., why: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class Serving(_message.Message):
    __slots__ = ("domain", "serving", "previous", "candidate", "candidate_share", "candidate_shadow_share", "prior_id", "plan_revision")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_SHARE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_SHADOW_SHARE_FIELD_NUMBER: _ClassVar[int]
    PRIOR_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_REVISION_FIELD_NUMBER: _ClassVar[int]
    domain: str
    serving: int
    previous: int
    candidate: int
    candidate_share: float
    candidate_shadow_share: float
    prior_id: str
    plan_revision: int
    def __init__(self, domain: _Optional[str] = ..., serving: _Optional[int] = ..., previous: _Optional[int] = ..., candidate: _Optional[int] = ..., candidate_share: _Optional[float] = ..., candidate_shadow_share: _Optional[float] = ..., prior_id: _Optional[str] = ..., plan_revision: _Optional[int] = ...) -> None: ...

class PinRequest(_message.Message):
    __slots__ = ("version", "pinned", "by")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    version: int
    pinned: bool
    by: str
    def __init__(self, version: _Optional[int] = ..., pinned: bool = ..., by: _Optional[str] = ...) -> None: ...

class PinResponse(_message.Message):
    __slots__ = ("pinned",)
    PINNED_FIELD_NUMBER: _ClassVar[int]
    pinned: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pinned: _Optional[_Iterable[int]] = ...) -> None: ...

class GetPriorRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class GetPriorResponse(_message.Message):
    __slots__ = ("domain", "frozen", "estimates")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    frozen: bool
    estimates: _containers.RepeatedCompositeFieldContainer[PriorEstimate]
    def __init__(self, domain: _Optional[str] = ..., frozen: bool = ..., estimates: _Optional[_Iterable[_Union[PriorEstimate, _Mapping]]] = ...) -> None: ...

class PriorEstimate(_message.Message):
    __slots__ = ("version", "estimated_at", "frames", "effective_frames", "share", "low", "high", "log_ratio")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_AT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOG_RATIO_FIELD_NUMBER: _ClassVar[int]
    version: int
    estimated_at: _timestamp_pb2.Timestamp
    frames: int
    effective_frames: float
    share: _containers.RepeatedScalarFieldContainer[float]
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    log_ratio: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, version: _Optional[int] = ..., estimated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., frames: _Optional[int] = ..., effective_frames: _Optional[float] = ..., share: _Optional[_Iterable[float]] = ..., low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ..., log_ratio: _Optional[_Iterable[float]] = ...) -> None: ...

class SetTriggerRequest(_message.Message):
    __slots__ = ("trigger", "by")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    trigger: Trigger
    by: str
    def __init__(self, trigger: _Optional[_Union[Trigger, _Mapping]] = ..., by: _Optional[str] = ...) -> None: ...

class Trigger(_message.Message):
    __slots__ = ("domain", "interval_s", "drift", "min_new_frames", "recipe", "minutes")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    MIN_NEW_FRAMES_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    interval_s: float
    drift: bool
    min_new_frames: int
    recipe: str
    minutes: float
    def __init__(self, domain: _Optional[str] = ..., interval_s: _Optional[float] = ..., drift: bool = ..., min_new_frames: _Optional[int] = ..., recipe: _Optional[str] = ..., minutes: _Optional[float] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GatewayState(_message.Message):
    __slots__ = ("name", "written_at", "alive", "plan_revision", "loaded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_AT_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    PLAN_REVISION_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    name: str
    written_at: _timestamp_pb2.Timestamp
    alive: bool
    plan_revision: int
    loaded: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., written_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., alive: bool = ..., plan_revision: _Optional[int] = ..., loaded: _Optional[_Iterable[int]] = ...) -> None: ...

class LearnerStatus(_message.Message):
    __slots__ = ("holder", "lease_epoch", "started_at", "root", "plan_revision", "domains", "gateways", "running", "queued", "triggers", "troubles")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    PLAN_REVISION_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    holder: str
    lease_epoch: int
    started_at: _timestamp_pb2.Timestamp
    root: str
    plan_revision: int
    domains: _containers.RepeatedCompositeFieldContainer[Serving]
    gateways: _containers.RepeatedCompositeFieldContainer[GatewayState]
    running: Round
    queued: int
    triggers: _containers.RepeatedCompositeFieldContainer[Trigger]
    troubles: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, holder: _Optional[str] = ..., lease_epoch: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., root: _Optional[str] = ..., plan_revision: _Optional[int] = ..., domains: _Optional[_Iterable[_Union[Serving, _Mapping]]] = ..., gateways: _Optional[_Iterable[_Union[GatewayState, _Mapping]]] = ..., running: _Optional[_Union[Round, _Mapping]] = ..., queued: _Optional[int] = ..., triggers: _Optional[_Iterable[_Union[Trigger, _Mapping]]] = ..., troubles: _Optional[_Iterable[str]] = ...) -> None: ...
