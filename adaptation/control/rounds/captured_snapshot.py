"""The captured frames that a round learns from, copied in the root, with what people labelled of them.

The copies outlive the shards, which are bounded by age and number, so that a round can be taken over by another
learner. An erasure takes a vehicle out of the copies as it does out of the shards.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Literal

from pydantic import Field

from adaptation.control.rounds.captured_frames import newest_first
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_state import round_key
from exchange.failpoints import failpoint
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard
from exchange.images.labels import encode_gray_png
from exchange.regions.batches import read_batches
from exchange.regions.labels import region_labels
from exchange.regions.tasks import is_held_out
from exchange.storage import StorageRoot
from exchange.storage.locations import FRAMES, DomainName, ShardName
from exchange.storage.records import Record

MOST_FRAMES = 1024
MOST_BYTES = 1 << 30
"""Of unlabelled frames, and as many of those with labels."""
LABELLED, HELD_OUT = "labelled", "held_out"


class Copied(Record):
    """One copied shard."""

    name: str
    sha256: str
    """When it was copied; an erasure makes it another one."""
    frames: int = Field(ge=1)
    copied_from: str


class CapturedSnapshot(Record):
    format: Literal[1] = 1
    domain: DomainName
    shards: tuple[Copied, ...]
    """Kept by chance, and unlabelled."""
    labelled: tuple[Copied, ...] = ()
    """Frames in which people labelled regions: in place of an answer, their label map is what people said."""
    held_out: tuple[Copied, ...] = ()
    """The same of frames that no training sees, for the gate."""
    left_out: tuple[str, ...] = Field(default=(), exclude_if=lambda left_out: not left_out)
    """Why frames that belong into it are not there: they cannot be read. Release 0.1 refuses it, so it is written only
    where there are some."""

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)


def copy_captured(
    root: StorageRoot, domain: str, round_id: str, left_out: LeftOutFrames | None = None
) -> CapturedSnapshot:
    """Copies a domain's newest captured frames and those with labels, up to the bounds; what was copied before is
    returned as it is.

    Of the unlabelled frames only those that were kept by chance are taken: the others are no fair sample of what is
    driven through, and wait for people's labels. A frame that cannot be read is left out, and so is one that was
    captured twice under its key.

    Raises:
        RecordError, StorageError: something cannot be read or written; call it again.
    """
    key = round_key(round_id, "snapshot.json")
    if (found := root.read_if_any(key)) is not None:
        return CapturedSnapshot.decode(found.data, key)
    taking = _Taking(left_out or LeftOutFrames())
    labelled, held_out = _copy_labelled(root, domain, round_id, taking)
    shards = _copy_unlabelled(root, domain, round_id, taking)
    snapshot = CapturedSnapshot(
        domain=domain, shards=shards, labelled=labelled, held_out=held_out, left_out=tuple(taking.left_out)
    )
    root.write(key, snapshot.encode())
    failpoint("snapshot.after-list")
    return snapshot


class _Taking:
    """Which frames one round may take."""

    def __init__(self, known: LeftOutFrames) -> None:
        self.known = known
        self.left_out: list[str] = []
        self._keys: set[tuple[str, str]] = set()

    def readable(self, shard: str, frame: CapturedFrame) -> bool:
        if why := self.known.why(shard, frame):
            self.left_out.append(f"{shard}: {why}")
        return not why

    def takes(self, shard: str, frame: CapturedFrame) -> bool:
        """Whether it is a fair sample, readable, and not there already: two of one key would be one file."""
        key = (frame.metadata.drive, frame.metadata.key)
        if frame.metadata.kept_for != "uniform" or key in self._keys or not self.readable(shard, frame):
            return False
        self._keys.add(key)
        return True


def _copy_unlabelled(root: StorageRoot, domain: str, round_id: str, taking: _Taking) -> tuple[Copied, ...]:
    copied: list[Copied] = []
    frames_left, bytes_left, is_full = MOST_FRAMES, MOST_BYTES, False
    for shard, captured in newest_first(root, domain, taking.known):
        taken: list[bytes] = []
        for frame in filter(partial(taking.takes, shard), captured):
            members = encode_members(frame)
            is_full = len(taken) == frames_left or len(members) > bytes_left
            if is_full:
                break
            taken.append(members)
            bytes_left -= len(members)
        if taken:
            copied.append(_copy(root, round_id, f"frames/{len(copied):05}.tar", taken, shard))
            failpoint("snapshot.after-shard")
            frames_left -= len(taken)
        if is_full:
            break
    return tuple(copied)


def _copy_labelled(
    root: StorageRoot, domain: str, round_id: str, taking: _Taking
) -> tuple[tuple[Copied, ...], tuple[Copied, ...]]:
    """Those to learn from, and those to judge by; the ones that were asked about last come first."""
    copied: dict[str, list[Copied]] = {LABELLED: [], HELD_OUT: []}
    left_bytes, batches = MOST_BYTES, read_batches(root, domain)

    def damaged(key: str, error: Exception) -> None:
        taking.known.note_shard(domain, key, error)
        taking.left_out.append(str(error))

    labelled = region_labels(root, domain, batches, damaged)
    for found in islice((found for found in labelled if taking.readable(found.key, found.frame)), MOST_FRAMES):
        members = encode_members(replace(found.frame, labels_png=encode_gray_png(found.labels_HW)))
        left_bytes -= len(members)
        if left_bytes < 0:
            break
        part = HELD_OUT if is_held_out(found.frame_sha256) else LABELLED
        name = f"{part}/{len(copied[part]):05}.tar"
        copied[part].append(_copy(root, round_id, name, [members], f"regions of {found.frame_sha256}"))
    return tuple(copied[LABELLED]), tuple(copied[HELD_OUT])


def _copy(root: StorageRoot, round_id: str, name: str, members: list[bytes], copied_from: str) -> Copied:
    data = join_shard(members)
    root.write(round_key(round_id, name), data)
    return Copied(name=name, sha256=hashlib.sha256(data).hexdigest(), frames=len(members), copied_from=copied_from)


def captured_since(root: StorageRoot, domain: str, since: datetime | None) -> int:
    """How many frames were captured in a domain after a moment, by the names of the shards."""
    names = (ShardName.parse(info.key) for info in root.list_objects(f"{FRAMES}/{domain}"))
    return sum(name.frames for name in names if name is not None and (since is None or name.closed_at > since))
