import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AskRequest(_message.Message):
    __slots__ = ("domain", "clicks", "minutes", "double_share", "by")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    CLICKS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_SHARE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    domain: str
    clicks: int
    minutes: float
    double_share: float
    by: str
    def __init__(self, domain: _Optional[str] = ..., clicks: _Optional[int] = ..., minutes: _Optional[float] = ..., double_share: _Optional[float] = ..., by: _Optional[str] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("batch", "clicks")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CLICKS_FIELD_NUMBER: _ClassVar[int]
    batch: str
    clicks: int
    def __init__(self, batch: _Optional[str] = ..., clicks: _Optional[int] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("annotator", "domain")
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    annotator: str
    domain: str
    def __init__(self, annotator: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("top", "bottom", "left", "right")
    TOP_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    top: int
    bottom: int
    left: int
    right: int
    def __init__(self, top: _Optional[int] = ..., bottom: _Optional[int] = ..., left: _Optional[int] = ..., right: _Optional[int] = ...) -> None: ...

class RegionTask(_message.Message):
    __slots__ = ("id", "domain", "frame_sha256", "box", "predicted", "model_version", "score", "leased_until", "crop_png", "box_in_crop", "segment_png")
    ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    FRAME_SHA256_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LEASED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CROP_PNG_FIELD_NUMBER: _ClassVar[int]
    BOX_IN_CROP_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_PNG_FIELD_NUMBER: _ClassVar[int]
    id: str
    domain: str
    frame_sha256: str
    box: Box
    predicted: int
    model_version: int
    score: float
    leased_until: _timestamp_pb2.Timestamp
    crop_png: bytes
    box_in_crop: Box
    segment_png: bytes
    def __init__(self, id: _Optional[str] = ..., domain: _Optional[str] = ..., frame_sha256: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., predicted: _Optional[int] = ..., model_version: _Optional[int] = ..., score: _Optional[float] = ..., leased_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., crop_png: _Optional[bytes] = ..., box_in_crop: _Optional[_Union[Box, _Mapping]] = ..., segment_png: _Optional[bytes] = ...) -> None: ...

class LeaseResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: RegionTask
    def __init__(self, task: _Optional[_Union[RegionTask, _Mapping]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("task", "annotator", "label")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    task: str
    annotator: str
    label: int
    def __init__(self, task: _Optional[str] = ..., annotator: _Optional[str] = ..., label: _Optional[int] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("state", "decided", "agreed")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    state: str
    decided: int
    agreed: bool
    def __init__(self, state: _Optional[str] = ..., decided: _Optional[int] = ..., agreed: bool = ...) -> None: ...

class SkipRequest(_message.Message):
    __slots__ = ("task", "annotator", "why")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    task: str
    annotator: str
    why: str
    def __init__(self, task: _Optional[str] = ..., annotator: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class SkipResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UndoRequest(_message.Message):
    __slots__ = ("annotator",)
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    annotator: str
    def __init__(self, annotator: _Optional[str] = ...) -> None: ...

class GetProgressRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class LabelProgress(_message.Message):
    __slots__ = ("domain", "waiting", "leased", "labelled", "skipped", "unsure", "disputed", "clicks_used", "clicks_left", "minutes", "seconds_a_click", "agreement", "answered_twice", "held_out", "sentinel_share", "batches")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    UNSURE_FIELD_NUMBER: _ClassVar[int]
    DISPUTED_FIELD_NUMBER: _ClassVar[int]
    CLICKS_USED_FIELD_NUMBER: _ClassVar[int]
    CLICKS_LEFT_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_A_CLICK_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_TWICE_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    SENTINEL_SHARE_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    waiting: int
    leased: int
    labelled: int
    skipped: int
    unsure: int
    disputed: int
    clicks_used: int
    clicks_left: int
    minutes: float
    seconds_a_click: float
    agreement: float
    answered_twice: int
    held_out: int
    sentinel_share: float
    batches: _containers.RepeatedCompositeFieldContainer[RegionBatch]
    def __init__(self, domain: _Optional[str] = ..., waiting: _Optional[int] = ..., leased: _Optional[int] = ..., labelled: _Optional[int] = ..., skipped: _Optional[int] = ..., unsure: _Optional[int] = ..., disputed: _Optional[int] = ..., clicks_used: _Optional[int] = ..., clicks_left: _Optional[int] = ..., minutes: _Optional[float] = ..., seconds_a_click: _Optional[float] = ..., agreement: _Optional[float] = ..., answered_twice: _Optional[int] = ..., held_out: _Optional[int] = ..., sentinel_share: _Optional[float] = ..., batches: _Optional[_Iterable[_Union[RegionBatch, _Mapping]]] = ...) -> None: ...

class RegionBatch(_message.Message):
    __slots__ = ("id", "phase", "reason", "regions", "open")
    ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    phase: str
    reason: str
    regions: int
    open: int
    def __init__(self, id: _Optional[str] = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ..., regions: _Optional[int] = ..., open: _Optional[int] = ...) -> None: ...
