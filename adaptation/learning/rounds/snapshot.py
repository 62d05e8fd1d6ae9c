"""What a round learns from, frozen: target frames copied and hashed, source frames listed and their classes counted."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from adaptation.learning.data.class_statistics import count_classes, scan_labels
from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.data.label_pairs import check_pairs, label_files
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_image, read_labels
from adaptation.learning.data.layouts import detect_layout
from adaptation.learning.rounds.steps import RoundError
from exchange.images.file_names import IMAGE_ENDINGS
from exchange.images.labels import encode_gray_png
from exchange.jobs.round_files import CHOSEN_DRIVES
from exchange.registry.releases import file_sha256

SNAPSHOT_FILE = "snapshot.json"
_COUNTS_FILE = "source_counts.npz"


class FrozenFrame(BaseModel):
    """One target frame; its files in the snapshot's folders carry its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    """Path below the snapshot."""
    image_sha256: str
    drive: str
    asked_sha256: str | None = None
    """Of asked/<name>.png: train ids where a person was asked, else 255."""
    has_truth: bool
    """truth/<name>.png holds its labels, which score the round and train nothing."""


class FrozenSource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    layout: str
    split: str | None
    sequences: tuple[str, ...]
    frames: int
    names_sha256: str


class Snapshot(BaseModel):
    """A snapshot's description, and what its folder holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: tuple[FrozenFrame, ...]
    sources: tuple[FrozenSource, ...]

    @property
    def fair_frames(self) -> tuple[FrozenFrame, ...]:
        """Those that may stand for the target where something is measured; the others are learnt from."""
        return tuple(frame for frame in self.frames if not frame.drive.startswith(f"{CHOSEN_DRIVES}/"))

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / SNAPSHOT_FILE).read_text())


def freeze(
    folder: Path,
    sources: Sequence[DataChoice],
    target: Path,
    target_split: str,
    asked: Path | None,
    on_frame: Callable[[int, int], None],
) -> None:
    """Writes a snapshot: copies of the target's frames, asked labels and truth; the source's class counts.

    Args:
        target: a labelled data set, whose labels only score the round, or any folder of images.
        asked: train-id PNGs named like the target's frames, 255 where nobody was asked.
        on_frame: called with the number of target frames copied, and to be copied.

    Raises:
        DataError: data that is missing or damaged, a source without a labelled pixel, or labels that two frames share.
        RoundError: labels that belong to no frame of the target.
    """
    for name in ("frames", "asked", "truth"):
        (folder / name).mkdir(exist_ok=True)
    listed = list_target(target, target_split)
    asked_files = {path.stem: path for path in label_files(asked)} if asked else {}
    check_pairs([*asked_files.values()], (image for image, _, _ in listed))
    if asked and not asked_files:
        raise DataError(f"{asked} holds no PNG: give the folder of train-id PNGs that people labelled")
    if strangers := sorted(set(asked_files) - {image.stem for image, _, _ in listed}):
        raise RoundError(
            f"{asked_files[strangers[0]]} is named like no frame of {target}, a JPEG or PNG: rename or remove it"
        )
    frozen = []
    for index, (image, drive, labelled) in enumerate(listed):
        frozen.append(_freeze_frame(folder, f"{index:06}_{image.stem}", image, drive, labelled, asked_files))
        on_frame(index + 1, len(listed))
    kept = [_list_source(choice) for choice in sources]
    counts = [np.stack(list(scan_labels(frames, _count, threads=2))) for _, frames in kept]
    for choice, counts_NK in zip(sources, counts, strict=True):
        if not counts_NK.any():
            raise DataError(f"{choice.folder} has no labelled pixel: name a split or data set that has labels")
    np.savez(folder / _COUNTS_FILE, *counts)
    snapshot = Snapshot(frames=tuple(frozen), sources=tuple(source for source, _ in kept))
    (folder / SNAPSHOT_FILE).write_text(snapshot.model_dump_json(indent=2) + "\n")


def list_target(target: Path, split: str) -> list[tuple[Path, str, LabelledFrame | None]]:
    """The target's images in order of name, each with its drive and, from a labelled data set, its labels.

    Raises:
        DataError: there is no image.
    """
    try:
        detect_layout(target)
    except DataError:
        images = sorted(path for path in target.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not images:
            raise DataError(f"{target} holds no JPEG or PNG: give a folder of frames or a data set") from None
        return [(image, image.parent.relative_to(target).as_posix(), None) for image in images]
    (choice,) = choose_data([target], split)
    return [(frame.image, frame.sequence, frame) for frame in choice.frames()]


def source_frames(
    folder: Path, choices: Sequence[DataChoice]
) -> list[tuple[tuple[LabelledFrame, ...], NDArray[np.int64]]]:
    """Each source's frames with their pixels by class [N, 19], as they were when the snapshot was taken.

    Raises:
        RoundError: the source has other frames now.
    """
    opened = []
    with np.load(folder / _COUNTS_FILE) as counts:
        for place, (choice, expected) in enumerate(zip(choices, Snapshot.read(folder).sources, strict=True)):
            found, frames = _list_source(choice)
            if found != expected:
                raise RoundError(f"{choice.folder} changed since the round began: restore it, or choose another --out")
            opened.append((frames, counts[f"arr_{place}"]))
    return opened


def read_truth(folder: Path, frame: FrozenFrame) -> NDArray[np.uint8] | None:
    """Train ids uint8 [H, W]; None where the target came without labels."""
    return _read_kept(folder, "truth", frame) if frame.has_truth else None


def read_asked(folder: Path, frame: FrozenFrame) -> NDArray[np.uint8] | None:
    """Train ids uint8 [H, W], 255 where nobody was asked; None where a person saw nothing of the frame."""
    return _read_kept(folder, "asked", frame) if frame.asked_sha256 else None


def _read_kept(folder: Path, kind: str, frame: FrozenFrame) -> NDArray[np.uint8]:
    return read_labels(LabelledFrame(folder / frame.image, folder / kind / f"{frame.name}.png", "train", frame.drive))


def _freeze_frame(
    folder: Path,
    name: str,
    image: Path,
    drive: str,
    labelled: LabelledFrame | None,
    asked_files: dict[str, Path],
) -> FrozenFrame:
    height, width = read_image(image).shape[:2]
    copy = folder / "frames" / f"{name}{image.suffix.lower()}"
    shutil.copyfile(image, copy)
    if labelled is not None:
        (folder / "truth" / f"{name}.png").write_bytes(encode_gray_png(read_labels(labelled)))
    asked_sha256 = None
    if (asked := asked_files.get(image.stem)) is not None:
        labels = read_labels(LabelledFrame(image, asked, "train", ""))
        if labels.shape != (height, width):
            raise DataError(f"{asked} is {labels.shape} but its frame {(height, width)}: make them one size")
        kept = folder / "asked" / f"{name}.png"
        kept.write_bytes(encode_gray_png(labels))
        asked_sha256 = file_sha256(kept)
    return FrozenFrame(
        name=name,
        image=copy.relative_to(folder).as_posix(),
        image_sha256=file_sha256(copy),
        drive=drive,
        asked_sha256=asked_sha256,
        has_truth=labelled is not None,
    )


def _list_source(choice: DataChoice) -> tuple[FrozenSource, tuple[LabelledFrame, ...]]:
    frames = choice.frames()
    source = FrozenSource(
        folder=choice.folder.name,
        layout=choice.layout,
        split=choice.split,
        sequences=choice.sequences,
        frames=len(frames),
        names_sha256=hashlib.sha256("\n".join(frame.image.name for frame in frames).encode()).hexdigest(),
    )
    return source, frames


def _count(frame: LabelledFrame) -> NDArray[np.int64]:
    return count_classes(read_labels(frame))
