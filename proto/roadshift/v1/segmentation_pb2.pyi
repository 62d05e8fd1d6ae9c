import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_ENCODING_UNSPECIFIED: _ClassVar[LabelEncoding]
    LABEL_ENCODING_PALETTE_PNG: _ClassVar[LabelEncoding]
    LABEL_ENCODING_RAW: _ClassVar[LabelEncoding]
    LABEL_ENCODING_RLE: _ClassVar[LabelEncoding]

class ConfidenceEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIDENCE_ENCODING_UNSPECIFIED: _ClassVar[ConfidenceEncoding]
    CONFIDENCE_ENCODING_PNG: _ClassVar[ConfidenceEncoding]
    CONFIDENCE_ENCODING_RAW: _ClassVar[ConfidenceEncoding]
LABEL_ENCODING_UNSPECIFIED: LabelEncoding
LABEL_ENCODING_PALETTE_PNG: LabelEncoding
LABEL_ENCODING_RAW: LabelEncoding
LABEL_ENCODING_RLE: LabelEncoding
CONFIDENCE_ENCODING_UNSPECIFIED: ConfidenceEncoding
CONFIDENCE_ENCODING_PNG: ConfidenceEncoding
CONFIDENCE_ENCODING_RAW: ConfidenceEncoding

class Frame(_message.Message):
    __slots__ = ("timestamp", "data", "format", "frame_id", "width", "height")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    data: bytes
    format: str
    frame_id: str
    width: int
    height: int
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., data: _Optional[bytes] = ..., format: _Optional[str] = ..., frame_id: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class SegmentOptions(_message.Message):
    __slots__ = ("label_encoding", "confidence_encoding", "reduce_by")
    LABEL_ENCODING_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_ENCODING_FIELD_NUMBER: _ClassVar[int]
    REDUCE_BY_FIELD_NUMBER: _ClassVar[int]
    label_encoding: LabelEncoding
    confidence_encoding: ConfidenceEncoding
    reduce_by: int
    def __init__(self, label_encoding: _Optional[_Union[LabelEncoding, str]] = ..., confidence_encoding: _Optional[_Union[ConfidenceEncoding, str]] = ..., reduce_by: _Optional[int] = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("frame", "vehicle_id", "drive_id", "domain", "options")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    DRIVE_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    frame: Frame
    vehicle_id: str
    drive_id: str
    domain: str
    options: SegmentOptions
    def __init__(self, frame: _Optional[_Union[Frame, _Mapping]] = ..., vehicle_id: _Optional[str] = ..., drive_id: _Optional[str] = ..., domain: _Optional[str] = ..., options: _Optional[_Union[SegmentOptions, _Mapping]] = ...) -> None: ...

class LabelMap(_message.Message):
    __slots__ = ("encoding", "data", "width", "height")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    encoding: LabelEncoding
    data: bytes
    width: int
    height: int
    def __init__(self, encoding: _Optional[_Union[LabelEncoding, str]] = ..., data: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class ConfidenceMap(_message.Message):
    __slots__ = ("encoding", "data", "width", "height")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    encoding: ConfidenceEncoding
    data: bytes
    width: int
    height: int
    def __init__(self, encoding: _Optional[_Union[ConfidenceEncoding, str]] = ..., data: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class StageSeconds(_message.Message):
    __slots__ = ("queue", "decode", "infer", "encode", "total")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    queue: float
    decode: float
    infer: float
    encode: float
    total: float
    def __init__(self, queue: _Optional[float] = ..., decode: _Optional[float] = ..., infer: _Optional[float] = ..., encode: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("frame_id", "timestamp", "labels", "confidence", "model_version", "prior_id", "domain", "mean_confidence", "class_fractions", "stage_seconds")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIOR_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    MEAN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FRACTIONS_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    frame_id: str
    timestamp: _timestamp_pb2.Timestamp
    labels: LabelMap
    confidence: ConfidenceMap
    model_version: int
    prior_id: str
    domain: str
    mean_confidence: float
    class_fractions: _containers.RepeatedScalarFieldContainer[float]
    stage_seconds: StageSeconds
    def __init__(self, frame_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Union[LabelMap, _Mapping]] = ..., confidence: _Optional[_Union[ConfidenceMap, _Mapping]] = ..., model_version: _Optional[int] = ..., prior_id: _Optional[str] = ..., domain: _Optional[str] = ..., mean_confidence: _Optional[float] = ..., class_fractions: _Optional[_Iterable[float]] = ..., stage_seconds: _Optional[_Union[StageSeconds, _Mapping]] = ...) -> None: ...

class SegmentStreamRequest(_message.Message):
    __slots__ = ("settings", "frame")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    settings: StreamSettings
    frame: Frame
    def __init__(self, settings: _Optional[_Union[StreamSettings, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class StreamSettings(_message.Message):
    __slots__ = ("vehicle_id", "drive_id", "domain", "options", "latest_wins")
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    DRIVE_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LATEST_WINS_FIELD_NUMBER: _ClassVar[int]
    vehicle_id: str
    drive_id: str
    domain: str
    options: SegmentOptions
    latest_wins: bool
    def __init__(self, vehicle_id: _Optional[str] = ..., drive_id: _Optional[str] = ..., domain: _Optional[str] = ..., options: _Optional[_Union[SegmentOptions, _Mapping]] = ..., latest_wins: bool = ...) -> None: ...

class SegmentStreamResponse(_message.Message):
    __slots__ = ("frame_id", "answer", "error", "skipped")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    frame_id: str
    answer: SegmentResponse
    error: FrameError
    skipped: FrameSkipped
    def __init__(self, frame_id: _Optional[str] = ..., answer: _Optional[_Union[SegmentResponse, _Mapping]] = ..., error: _Optional[_Union[FrameError, _Mapping]] = ..., skipped: _Optional[_Union[FrameSkipped, _Mapping]] = ...) -> None: ...

class FrameError(_message.Message):
    __slots__ = ("code", "message", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    retry_after_ms: int
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class FrameSkipped(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
