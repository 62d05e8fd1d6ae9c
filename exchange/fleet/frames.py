"""Captured frames as WebDataset tar shards: four members a frame, named alike up to the first dot.

<key>.jpg | <key>.png | <key>.rgb   the frame's bytes as they came; .rgb is raw rows of 3 bytes a pixel
<key>.labels.png                    the answered train ids, palette PNG at the frame's own size
<key>.confidence.png                round(255 x confidence), gray PNG of the same size
<key>.json                          `FrameMetadata`

A later version may add members by further extensions, to a frame or, by another name, to the shard.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from exchange.images.frames import ImageFormat
from exchange.storage.locations import DomainName, GatewayName
from exchange.storage.records import Moment, PerClass, Record, RecordError

_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)
_LABELS, _CONFIDENCE, _METADATA = "labels.png", "confidence.png", "json"

KeptFor = Literal["uniform", "low confidence", "rare class"]
ImageExtension = Literal["jpg", "png", "rgb"]
FORMAT_OF_EXTENSION: Mapping[ImageExtension, ImageFormat] = {
    "jpg": ImageFormat.JPEG,
    "png": ImageFormat.PNG,
    "rgb": ImageFormat.RGB8,
}
_OF_A_FRAME = {*FORMAT_OF_EXTENSION, _LABELS, _CONFIDENCE, _METADATA}
"""By one of these a group of members is a frame, which must be whole."""


class FrameMetadata(Record):
    format: Literal[1] = 1
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    domain: DomainName
    gateway: GatewayName
    vehicle: str
    """A pseudonym (`exchange.fleet.pseudonyms`), as is the drive."""
    drive: str
    captured_at: Moment
    model_version: int
    prior_id: str
    image: ImageExtension
    size_hw: tuple[int, int]
    mean_confidence: float = Field(ge=0, le=1)
    class_fractions: PerClass
    presence: PerClass
    mean_probability: PerClass
    kept_for: KeptFor
    """Only `uniform` frames are a fair sample of what was served."""


@dataclass(frozen=True)
class CapturedFrame:
    metadata: FrameMetadata
    image: bytes
    labels_png: bytes
    confidence_png: bytes
    others: Mapping[str, bytes] = field(default_factory=dict)
    """Members that this version does not know, by extension: a later one's, written back as they are."""


def encode_members(frame: CapturedFrame) -> bytes:
    """One frame's members, without a tar's end: parts of a shard can be joined."""
    metadata = frame.metadata
    contents = {
        metadata.image: frame.image,
        _LABELS: frame.labels_png,
        _CONFIDENCE: frame.confidence_png,
        _METADATA: metadata.encode(),
        **frame.others,
    }
    blocks = []
    for extension, content in contents.items():
        header = tarfile.TarInfo(f"{metadata.key}.{extension}")
        header.size = len(content)
        header.mtime = int(metadata.captured_at.timestamp())
        blocks += [header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % _BLOCK_BYTES)]
    return b"".join(blocks)


def join_shard(members: Iterable[bytes]) -> bytes:
    """A whole shard of what `encode_members` gave."""
    return b"".join((*members, _END))


def read_shard(data: bytes, key: str) -> Iterator[CapturedFrame]:
    """The frames of a shard, in order; members that are of no frame are passed over.

    Raises:
        RecordError: it is cut off, or a frame lacks a member.
    """
    if not data.endswith(_END):
        raise RecordError(f"{key} is no complete shard")
    members: dict[str, dict[str, bytes]] = {}
    read_bytes = len(_END)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                file = tar.extractfile(info)
                name, _, extension = info.name.partition(".")
                members.setdefault(name, {})[extension] = b"" if file is None else file.read()
                read_bytes += _BLOCK_BYTES + info.size + -info.size % _BLOCK_BYTES
    except (tarfile.TarError, LookupError, OSError, ValueError, ArithmeticError, RecursionError) as error:
        raise RecordError(f"{key} is no complete shard: {error}") from error
    if read_bytes != len(data):  # tarfile takes a damaged header for the end
        raise RecordError(f"{key} is no complete shard: it is damaged at byte {read_bytes - len(_END)}")
    for name, contents in members.items():
        if not contents.keys() & _OF_A_FRAME:
            continue  # a later version's, of the shard as a whole
        yield _frame(f"{key}:{name}", contents)


def _frame(place: str, contents: dict[str, bytes]) -> CapturedFrame:
    try:
        metadata = FrameMetadata.decode(contents[_METADATA], f"{place}.{_METADATA}")
        image, labels, confidence = contents[metadata.image], contents[_LABELS], contents[_CONFIDENCE]
        known = (metadata.image, _LABELS, _CONFIDENCE, _METADATA)
        others = {extension: content for extension, content in contents.items() if extension not in known}
        return CapturedFrame(metadata, image, labels, confidence, others)
    except KeyError as missing:
        raise RecordError(f"{place} lacks its {missing.args[0]}") from None
