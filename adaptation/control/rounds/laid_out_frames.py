"""A round's frames on the learner's disk: read from the copies in the root each time, without erased vehicles."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from adaptation.control.rounds.captured_frames import is_erased, when_erased
from adaptation.control.rounds.captured_snapshot import CapturedSnapshot, Copied
from adaptation.control.rounds.round_state import round_key
from exchange.fleet.captured_images import write_image
from exchange.fleet.erasures import erasure_keys, read_erasures
from exchange.fleet.frames import CapturedFrame, read_shard
from exchange.jobs.round_files import ASKED_FOLDER, CHOSEN_DRIVES, HELD_OUT_FOLDER, TARGET_FOLDER
from exchange.storage import StorageRoot
from exchange.storage.records import Record


class LaidOut(Record):
    """What is on this machine's disk."""

    format: Literal[1] = 1
    vehicles: tuple[str, ...]
    """Whose frames."""
    erasures: tuple[str, ...]
    """That were known then."""


def lay_out(root: StorageRoot, round_id: str, snapshot: CapturedSnapshot, folder: Path) -> LaidOut:
    """Writes the frames into a round's folder: its target, a folder for each drive, and what people said.

        target/<drive>/<name>                   what is learnt from; chosen/<drive>/ where chance did not keep a frame
        asked/<sha256>.png                      labels of frames of the target
        held_out/frames/<drive>/<sha256>.png    frames that are not in the target
        held_out/labels/<sha256>.png            and their labels

    Raises:
        RecordError, StorageError: a copy cannot be read.
        OSError: the disk does not take them.
    """
    erasures = tuple(erasure_keys(root))
    erased = when_erased(root)
    vehicles, with_labels = set[str](), set[str]()

    def frames_of(shards: tuple[Copied, ...]) -> Iterator[tuple[str, CapturedFrame]]:
        for shard in shards:
            key = round_key(round_id, shard.name)
            for frame in read_shard(root.read(key).data, key):
                if not is_erased(frame, erased):
                    vehicles.add(frame.metadata.vehicle)
                    yield hashlib.sha256(frame.image).hexdigest(), frame

    target, held_out = folder / TARGET_FOLDER, folder / HELD_OUT_FOLDER
    target.mkdir()
    for sha256, frame in frames_of(snapshot.held_out):
        _write_labelled(frame, sha256, held_out / "frames", held_out / "labels")
        with_labels.add(sha256)
    for sha256, frame in frames_of(snapshot.labelled):
        by_chance = frame.metadata.kept_for == "uniform"
        _write_labelled(frame, sha256, target if by_chance else target / CHOSEN_DRIVES, folder / ASKED_FOLDER)
        with_labels.add(sha256)
    for sha256, frame in frames_of(snapshot.shards):
        if sha256 not in with_labels:
            _write_image(frame, frame.metadata.key, target)
    return LaidOut(vehicles=tuple(sorted(vehicles)), erasures=erasures)


def erased_since(root: StorageRoot, laid_out: LaidOut) -> bool:
    """Whether some vehicle was erased whose frames are still on the disk.

    Raises:
        StorageError: the erasures cannot be listed.
    """
    keys = set(erasure_keys(root)) - set(laid_out.erasures)
    return any(erasure.vehicle in laid_out.vehicles for erasure in read_erasures(root, keys))


def _write_labelled(frame: CapturedFrame, sha256: str, frames: Path, labels: Path) -> None:
    _write_image(frame, sha256, frames)
    labels.mkdir(parents=True, exist_ok=True)
    (labels / f"{sha256}.png").write_bytes(frame.labels_png)


def _write_image(frame: CapturedFrame, name: str, folder: Path) -> None:
    drive = folder / hashlib.sha256(frame.metadata.drive.encode()).hexdigest()[:16]
    drive.mkdir(parents=True, exist_ok=True)
    write_image(frame, drive, name)
