"""Ways in which one frame of a good shard cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.storage import StorageRoot
from exchange.storage.locations import FRAMES
from tests.service.learner_rig import FRAME_SIZE

Damage = Callable[[CapturedFrame], CapturedFrame]
_ANOTHER_SIZE = (FRAME_SIZE[0] // 2, FRAME_SIZE[1])


def _with_wrong_crc(png: bytes) -> bytes:
    """The CRC of the last chunk that holds pixels."""
    end = png.rindex(b"IEND") - 4
    return png[: end - 4] + bytes(byte ^ 0xFF for byte in png[end - 4 : end]) + png[end:]


def _of_another_size(frame: CapturedFrame) -> CapturedFrame:
    return replace(frame, metadata=frame.metadata.model_copy(update={"size_hw": _ANOTHER_SIZE}))


def _as_raw_rows(frame: CapturedFrame) -> CapturedFrame:
    return replace(frame, metadata=frame.metadata.model_copy(update={"image": "rgb"}))


DAMAGES: Mapping[str, Damage] = MappingProxyType(
    {
        "cut before its end": lambda frame: replace(frame, image=frame.image[:-12]),
        "cut in the middle": lambda frame: replace(frame, image=frame.image[: len(frame.image) // 2]),
        "wrong CRC": lambda frame: replace(frame, image=_with_wrong_crc(frame.image)),
        "no bytes": lambda frame: replace(frame, image=b""),
        "no image": lambda frame: replace(frame, image=b"no image at all"),
        "another size": _of_another_size,
        "another kind": _as_raw_rows,
        "labels cut": lambda frame: replace(frame, labels_png=frame.labels_png[: len(frame.labels_png) // 2]),
        "no confidence": lambda frame: replace(frame, confidence_png=b""),
    }
)


def damage(root: StorageRoot, domain: str, damaged: Damage, *, places: tuple[int, ...] = (5,)) -> str:
    """Damages frames of the domain's newest shard in their places, and returns the shard's key."""
    key = root.list_objects(f"{FRAMES}/{domain}")[-1].key
    frames = list(read_shard(root.read(key).data, key))
    for place in places:
        frames[place] = damaged(frames[place])
    root.write(key, join_shard(map(encode_members, frames)))
    return key
