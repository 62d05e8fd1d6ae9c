"""The captured frames that a round learns from: copied in the root, and laid out on the learner's disk.

The copies outlive the shards, which are bounded by age and number, so that a round can be taken over by another
learner. An erasure takes a vehicle out of the copies as it does out of the shards; what is laid out is read from them
each time, without the vehicles that were erased by then.
"""

import hashlib
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from adaptation.service.round_state import round_key
from exchange.erasures import Erasure
from exchange.failpoints import failpoint
from exchange.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.locations import ERASURES, FRAMES, DomainName, ShardName
from exchange.records import Record, RecordError
from exchange.storage import ObjectMissing, StorageRoot

MOST_FRAMES = 1024
MOST_BYTES = 1 << 30
_log = logging.getLogger(__name__)


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

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)


class LaidOut(Record):
    """What is on this machine's disk."""

    format: Literal[1] = 1
    vehicles: tuple[str, ...]
    """Whose frames."""
    erasures: tuple[str, ...]
    """That were known then."""


def copy_captured(root: StorageRoot, domain: str, round_id: str) -> CapturedSnapshot:
    """Copies a domain's newest captured frames, up to the bounds; what was copied before is returned as it is.

    Only frames that were kept by chance are taken: the others are no fair sample of what is driven through, and wait
    for people's labels.

    Raises:
        RecordError, StorageError: something cannot be read or written; call it again.
    """
    key = round_key(round_id, "snapshot.json")
    if (found := root.read_if_any(key)) is not None:
        return CapturedSnapshot.decode(found.data, key)
    copied: list[Copied] = []
    frames_left, bytes_left = MOST_FRAMES, MOST_BYTES
    for shard, frames in _newest_first(root, domain):
        taken: list[bytes] = []
        for frame in frames:
            members = encode_members(frame)
            if len(taken) == frames_left or len(members) > bytes_left:
                break
            taken.append(members)
            bytes_left -= len(members)
        if taken:
            data, name = join_shard(taken), f"frames/{len(copied):05}.tar"
            root.write(round_key(round_id, name), data)
            failpoint("snapshot.after-shard")
            copied.append(
                Copied(name=name, sha256=hashlib.sha256(data).hexdigest(), frames=len(taken), copied_from=shard)
            )
            frames_left -= len(taken)
        if len(taken) < len(frames):
            break
    snapshot = CapturedSnapshot(domain=domain, shards=tuple(copied))
    root.write(key, snapshot.encode())
    failpoint("snapshot.after-list")
    return snapshot


def lay_out(root: StorageRoot, round_id: str, snapshot: CapturedSnapshot, folder: Path) -> LaidOut:
    """Writes the frames as a round's target, a folder for each drive.

    Raises:
        RecordError, StorageError: a copy cannot be read.
        OSError: the disk does not take them.
    """
    erasures = tuple(info.key for info in root.list_objects(ERASURES))
    erased = _erasures(root)
    folder.mkdir()
    vehicles = set()
    for shard in snapshot.shards:
        key = round_key(round_id, shard.name)
        for frame in read_shard(root.read(key).data, key):
            if not _is_erased(frame, erased):
                _write_image(frame, folder)
                vehicles.add(frame.metadata.vehicle)
    return LaidOut(vehicles=tuple(sorted(vehicles)), erasures=erasures)


def erased_since(root: StorageRoot, laid_out: LaidOut) -> bool:
    """Whether some vehicle was erased whose frames are still on the disk.

    Raises:
        RecordError, StorageError: the erasures cannot be read.
    """
    keys = {info.key for info in root.list_objects(ERASURES)} - set(laid_out.erasures)
    return any(Erasure.decode(root.read(key).data, key).vehicle in laid_out.vehicles for key in keys)


def captured_since(root: StorageRoot, domain: str, since: datetime | None) -> int:
    """How many frames were captured in a domain after a moment, by the names of the shards."""
    names = (ShardName.parse(info.key) for info in root.list_objects(f"{FRAMES}/{domain}"))
    return sum(name.frames for name in names if name is not None and (since is None or name.closed_at > since))


def _newest_first(root: StorageRoot, domain: str) -> Iterator[tuple[str, list[CapturedFrame]]]:
    """Each shard's key and its frames that may be taken."""
    erased = _erasures(root)
    names = filter(None, (ShardName.parse(info.key) for info in root.list_objects(f"{FRAMES}/{domain}")))
    for name in sorted(names, key=lambda name: name.closed_at, reverse=True):
        try:
            frames = list(read_shard(root.read(name.key).data, name.key))
        except ObjectMissing:  # it was too old
            continue
        except RecordError as error:
            _log.warning("a round goes without a damaged shard: %s", error)
            continue
        yield name.key, [f for f in frames if f.metadata.kept_for == "uniform" and not _is_erased(f, erased)]


def _erasures(root: StorageRoot) -> dict[str, datetime]:
    """When each erased vehicle was erased last; what it sent later is captured anew."""
    records = [Erasure.decode(root.read(info.key).data, info.key) for info in root.list_objects(ERASURES)]
    return {record.vehicle: record.requested_at for record in sorted(records, key=lambda record: record.requested_at)}


def _is_erased(frame: CapturedFrame, erased: dict[str, datetime]) -> bool:
    at = erased.get(frame.metadata.vehicle)
    return at is not None and frame.metadata.captured_at <= at


def _write_image(frame: CapturedFrame, folder: Path) -> None:
    metadata = frame.metadata
    drive = folder / hashlib.sha256(metadata.drive.encode()).hexdigest()[:16]
    drive.mkdir(exist_ok=True)
    if metadata.image != "rgb":
        (drive / f"{metadata.key}.{metadata.image}").write_bytes(frame.image)
        return
    rows, columns = metadata.size_hw
    if len(frame.image) != 3 * rows * columns:
        raise RecordError(f"{metadata.key} holds {len(frame.image)} bytes of pixels where {rows}x{columns} belong")
    image_HW3 = np.frombuffer(frame.image, np.uint8).reshape(rows, columns, 3)
    written, png = cv2.imencode(".png", cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR))
    if not written:
        raise RecordError(f"{metadata.key} cannot be written as PNG")
    (drive / f"{metadata.key}.png").write_bytes(png.tobytes())
