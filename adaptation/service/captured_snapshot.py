"""The captured frames that a round learns from, copied in the root, with what people labelled of them.

The copies outlive the shards, which are bounded by age and number, so that a round can be taken over by another
learner. An erasure takes a vehicle out of the copies as it does out of the shards.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Literal

from pydantic import Field

from adaptation.data.captured_frames import newest_first
from adaptation.service.round_state import round_key
from exchange.failpoints import failpoint
from exchange.frames import encode_members, join_shard
from exchange.images.labels import encode_gray_png
from exchange.locations import FRAMES, DomainName, ShardName
from exchange.records import Record
from exchange.region_batches import read_batches
from exchange.region_labels import region_labels
from exchange.regions import is_held_out
from exchange.storage import StorageRoot

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

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)


def copy_captured(root: StorageRoot, domain: str, round_id: str) -> CapturedSnapshot:
    """Copies a domain's newest captured frames and those with labels, up to the bounds; what was copied before is
    returned as it is.

    Of the unlabelled frames only those that were kept by chance are taken: the others are no fair sample of what is
    driven through, and wait for people's labels.

    Raises:
        RecordError, StorageError: something cannot be read or written; call it again.
    """
    key = round_key(round_id, "snapshot.json")
    if (found := root.read_if_any(key)) is not None:
        return CapturedSnapshot.decode(found.data, key)
    labelled, held_out = _copy_labelled(root, domain, round_id)
    snapshot = CapturedSnapshot(
        domain=domain, shards=_copy_unlabelled(root, domain, round_id), labelled=labelled, held_out=held_out
    )
    root.write(key, snapshot.encode())
    failpoint("snapshot.after-list")
    return snapshot


def _copy_unlabelled(root: StorageRoot, domain: str, round_id: str) -> tuple[Copied, ...]:
    copied: list[Copied] = []
    frames_left, bytes_left = MOST_FRAMES, MOST_BYTES
    for shard, captured in newest_first(root, domain):
        frames = [frame for frame in captured if frame.metadata.kept_for == "uniform"]
        taken: list[bytes] = []
        for frame in frames:
            members = encode_members(frame)
            if len(taken) == frames_left or len(members) > bytes_left:
                break
            taken.append(members)
            bytes_left -= len(members)
        if taken:
            copied.append(_copy(root, round_id, f"frames/{len(copied):05}.tar", taken, shard))
            failpoint("snapshot.after-shard")
            frames_left -= len(taken)
        if len(taken) < len(frames):
            break
    return tuple(copied)


def _copy_labelled(root: StorageRoot, domain: str, round_id: str) -> tuple[tuple[Copied, ...], tuple[Copied, ...]]:
    """Those to learn from, and those to judge by; the ones that were asked about last come first."""
    copied: dict[str, list[Copied]] = {LABELLED: [], HELD_OUT: []}
    left_bytes, batches = MOST_BYTES, read_batches(root, domain)
    for found in islice(region_labels(root, domain, batches), MOST_FRAMES):
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
