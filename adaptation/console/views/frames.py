"""The newest captured frames of a domain, and which of them somebody wants to see."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from adaptation.control.rounds.left_out import LeftOutFrames
from exchange.fleet.erasures import ErasureReader
from exchange.fleet.frames import CapturedFrame, FrameMetadata, read_shard
from exchange.label_space import CLASS_NAMES, NUM_CLASSES
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import FRAMES, ShardName
from exchange.storage.readable_objects import UNREADABLE, domain_folders

MOST_FRAMES = 48
"""Of a domain, on one page."""
_MOST_SHARDS = 12
_MOST_KEPT_BYTES = 64 << 20
_LEAST_FRACTION = 0.001
"""Of a frame's pixels, for a class to count as in it."""


@dataclass(frozen=True)
class FrameCard:
    shard: str
    key: str
    """With the shard, which frame it is."""
    captured_at: datetime
    vehicle: str
    version: int
    prior_id: str
    confidence: float
    kept_for: str
    classes: tuple[tuple[int, float], ...]
    """Train ids with their share of the pixels, the largest first."""
    unreadable: str = ""
    """Reason why it is left out, without a picture; empty where it can be read."""


@dataclass(frozen=True)
class FramesView:
    domains: tuple[str, ...]
    """That frames were captured of."""
    domain: str
    """Whose frames these are: the one that was asked for, or else the first; empty where there is none."""
    frames: tuple[FrameCard, ...]
    """The newest first."""
    stored: int
    """Captured of this domain, and not yet too old."""
    left_out: tuple[str, ...] = ()
    """Those of them that were found unreadable, and shards that are damaged: which, and why."""


@dataclass(frozen=True)
class FrameFilter:
    train_id: int | None = None
    """Frames that show this class; None: whatever they show."""
    most_confidence: float = 1.0

    def passes(self, card: FrameCard) -> bool:
        shown = self.train_id is None or any(
            train_id == self.train_id and share >= _LEAST_FRACTION for train_id, share in card.classes
        )
        return shown and card.confidence <= self.most_confidence


class FrameShelf:
    """Reads shards, and keeps the last ones; what was erased is neither shown nor kept. For one thread."""

    def __init__(self, root: StorageRoot, left_out: LeftOutFrames | None = None) -> None:
        self._root = root
        self._left_out = left_out or LeftOutFrames()
        self._erasures = ErasureReader(root)
        self._kept: OrderedDict[str, tuple[CapturedFrame, ...]] = OrderedDict()

    def view(self, domain: str) -> FramesView:
        """Raises RecordError or StorageError."""
        self._forget_erased()
        domains = tuple(sorted(domain_folders(self._root, FRAMES)))
        domain = domain if domain in domains else next(iter(domains), "")
        infos = self._root.list_objects(f"{FRAMES}/{domain}") if domain else []
        names = sorted(filter(None, (ShardName.parse(info.key) for info in infos)), key=lambda name: name.closed_at)
        cards: list[FrameCard] = []
        for name in names[: -_MOST_SHARDS - 1 : -1]:
            cards += self._cards_of(name)
            if len(cards) >= MOST_FRAMES:
                break
        shards = {name.key for name in names}
        left_out = tuple(f"{left.shard}: {left.why}" for left in self._left_out.of(domain) if left.shard in shards)
        return FramesView(domains, domain, tuple(cards[:MOST_FRAMES]), sum(name.frames for name in names), left_out)

    def frame(self, shard: str, key: str) -> CapturedFrame | None:
        """None where it is gone: too old by now, or erased.

        Raises:
            RecordError, StorageError: it cannot be read.
        """
        self._forget_erased()
        if ShardName.parse(shard) is None:
            return None
        return next((frame for frame in self._shard(shard) if frame.metadata.key == key), None)

    def _forget_erased(self) -> None:
        if self._erasures.unseen():
            self._kept.clear()  # the shards are written anew without the vehicle's frames

    def _cards_of(self, name: ShardName) -> list[FrameCard]:
        """The newest first; none of a damaged shard."""
        try:
            frames = self._shard(name.key)
        except UNREADABLE as error:
            self._left_out.note_shard(name.domain, name.key, error)
            return []
        return [card_of(name.key, frame.metadata, self._left_out.why(name.key, frame)) for frame in reversed(frames)]

    def _shard(self, key: str) -> tuple[CapturedFrame, ...]:
        if key not in self._kept:
            try:
                self._kept[key] = tuple(read_shard(self._root.read(key).data, key))
            except ObjectMissing:
                return ()
            while len(self._kept) > 1 and sum(map(_size_bytes, self._kept.values())) > _MOST_KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def class_choices() -> dict[int, str]:
    return {train_id: CLASS_NAMES[train_id] for train_id in range(NUM_CLASSES)}


def card_of(shard: str, metadata: FrameMetadata, unreadable: str = "") -> FrameCard:
    shares = sorted(enumerate(metadata.class_fractions), key=lambda each: -each[1])
    return FrameCard(
        shard=shard,
        key=metadata.key,
        captured_at=metadata.captured_at,
        vehicle=metadata.vehicle,
        version=metadata.model_version,
        prior_id=metadata.prior_id,
        confidence=metadata.mean_confidence,
        kept_for=metadata.kept_for,
        classes=tuple((train_id, share) for train_id, share in shares if share >= _LEAST_FRACTION),
        unreadable=unreadable,
    )


def _size_bytes(shard: tuple[CapturedFrame, ...]) -> int:
    return sum(len(frame.image) + len(frame.labels_png) + len(frame.confidence_png) for frame in shard)
