"""The shifts that rounds are measured on: labelled frames to learn from, unlabelled ones to adapt to, and a truth.

camvid-dusk   CamVid as `day/` and `dusk/` folders: source 0006R0 and 0016E5, target the 62 dusk frames of one drive.
              Rows without target labels score all of them; rows with labels learn from frames 0 to 43 and score 50 to
              61. One drive: intervals resample blocks of 10 successive frames.
bdd-night     BDD100K's drivable area by day and at night, written as train ids 0 (drivable) and 2 (the rest) and scored
              on drivable alone. `night-adapt` is the target, and tunes; nothing learns from `night-test`.
sim-dusk, sim-rain, sim-fog
              The simulated city, rendered below the work folder at 256x512; other drives score.
"""

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame
from clients.simulation.city.cityscapes_writer import write_cityscapes

SOURCE_SEQUENCES = ("0006R0", "0016E5")
VALIDATION_SEQUENCES = ("Seq05VD",)
_LABELLED_FRAMES, _BLOCK = 44, 10
_BLOCKS_WITH_LABELS = ("5", "6")
"""Blocks of dusk that lie behind every labelled frame and a gap of six."""
_DRIVABLE, _OTHER = 0, 2
_CITY_SIZE = (256, 512)
_CITY_FRAMES = {"sim-day": (480, 96), "target": (96, 64)}
"""Frames to learn from, and to score."""
_FRAMES_PER_DRIVE = 4


@dataclass(frozen=True)
class Truth:
    """Frames that score, each in the block that is resampled as a whole."""

    frames: tuple[LabelledFrame, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Shift:
    name: str
    classes: str
    """The subset that is scored."""
    scored_class: str | None
    """The one whose IoU is the figure; None for the mean over all."""
    frame_size: tuple[int, int]
    source: DataChoice
    source_held_out: DataChoice
    target: DataChoice
    """Rounds see its frames alone."""
    truths: Mapping[str, Truth]
    """The first is the one that rows without target labels are compared by."""
    labelled: DataChoice
    """Target frames whose labels some rows learn from."""
    truth_with_labels: str
    """The truth that is apart from those."""


def open_shift(name: str, data: Path | None, work: Path) -> Shift:
    """Return the shift of that name.

    Args:
        data: folder of CamVid or of BDD's night; the city needs none.
        work: where frames are laid out or rendered.

    Raises:
        DataError: `data` is missing or lacks a part.
    """
    work.mkdir(parents=True, exist_ok=True)
    if name.startswith("sim-"):
        return _city(name, work)
    if data is None:
        raise DataError(f"{name} needs its frames: give their folder by --{name.split('-')[0]}")
    return _camvid(data, work) if name == "camvid-dusk" else _bdd(data, work)


def _camvid(data: Path, work: Path) -> Shift:
    def drives(names: tuple[str, ...]) -> DataChoice:
        return choose_data([data / "day"], "all", sequences=[",".join(names)])[0]

    (target,) = choose_data([data / "dusk"], "all")
    frames = target.frames()
    blocks = tuple(str(index // _BLOCK) for index in range(len(frames)))
    last = [index for index, block in enumerate(blocks) if block in _BLOCKS_WITH_LABELS]
    labelled = work / "labelled"
    if not labelled.exists():
        _lay_out(labelled, frames[:_LABELLED_FRAMES])
    return Shift(
        name="camvid-dusk",
        classes="camvid11",
        scored_class=None,
        frame_size=(512, 704),
        source=drives(SOURCE_SEQUENCES),
        source_held_out=drives(VALIDATION_SEQUENCES),
        target=target,
        truths={
            "dusk": Truth(frames, blocks),
            "dusk, last frames": Truth(tuple(frames[i] for i in last), tuple(blocks[i] for i in last)),
        },
        labelled=choose_data([labelled], "all")[0],
        truth_with_labels="dusk, last frames",
    )


def _lay_out(folder: Path, frames: tuple[LabelledFrame, ...]) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part in ("frames", "labels"):
        (partial / part).mkdir(parents=True)
    for frame in frames:
        shutil.copyfile(frame.image, partial / "frames" / frame.image.name)
        shutil.copyfile(frame.labels, partial / "labels" / f"{frame.image.stem}.png")
    partial.rename(folder)


def _bdd(data: Path, work: Path) -> Shift:
    laid_out = work / "cityscapes"
    if not laid_out.exists():
        _as_cityscapes(data, laid_out)

    def choice(split: str) -> DataChoice:
        return choose_data([laid_out], split)[0]

    def truth(split: str) -> Truth:
        frames = choice(split).frames()
        return Truth(frames, tuple(frame.sequence for frame in frames))

    return Shift(
        name="bdd-night",
        classes="19",
        scored_class="road",
        frame_size=(384, 640),
        source=choice("day-train"),
        source_held_out=choice("day-val"),
        target=choice("night-adapt"),
        truths={"night-adapt": truth("night-adapt"), "night-test": truth("night-test")},
        labelled=choice("night-adapt"),
        truth_with_labels="night-test",
    )


def _as_cityscapes(data: Path, out: Path) -> None:
    """Writes one city folder a drive."""
    listing = data / "splits.csv"
    if not listing.is_file():
        raise DataError(f"{listing} is missing: give the folder that holds splits.csv, frames/ and labels/")
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with listing.open() as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        images, labels = (partial / part / row["split"] / row["drive"] for part in ("leftImg8bit", "gtFine"))
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / "frames" / f"{row['name']}.jpg", images / f"{row['name']}_leftImg8bit.jpg")
        is_drivable = np.array(Image.open(data / "labels" / f"{row['name']}.png")) == 1
        train_ids = np.where(is_drivable, _DRIVABLE, _OTHER).astype(np.uint8)
        Image.fromarray(train_ids).save(labels / f"{row['name']}_gtFine_labelTrainIds.png")
    partial.rename(out)


def _city(target: str, work: Path) -> Shift:
    rendered = {domain: _rendered(work.parent / "city", domain) for domain in ("sim-day", target)}
    (source, held_out), (unlabelled, unseen) = rendered["sim-day"], rendered[target]
    frames = unseen.frames()
    return Shift(
        name=target,
        classes="19",
        scored_class=None,
        frame_size=_CITY_SIZE,
        source=source,
        source_held_out=held_out,
        target=unlabelled,
        truths={"unseen drives": Truth(frames, tuple(_drive(frame) for frame in frames))},
        labelled=unlabelled,
        truth_with_labels="unseen drives",
    )


def _rendered(folder: Path, domain: str) -> tuple[DataChoice, DataChoice]:
    """Renders a domain's `train` and `val` frames unless they are there."""
    for split, frames in zip(("train", "val"), _CITY_FRAMES.get(domain, _CITY_FRAMES["target"]), strict=True):
        mark = folder / domain / f"{split}.complete"
        if not mark.exists():
            for _ in write_cityscapes(
                folder / domain, domain, split, frames, frames // _FRAMES_PER_DRIVE, 0, _CITY_SIZE
            ):
                pass
            mark.touch()
    train, val = (choose_data([folder / domain], split)[0] for split in ("train", "val"))
    return train, val


def _drive(frame: LabelledFrame) -> str:
    """Return the city's name and the drive's number, as `write_cityscapes` names files."""
    return frame.image.stem.removesuffix("_leftImg8bit").rpartition("_")[0]


SHIFTS = ("camvid-dusk", "bdd-night", "sim-dusk", "sim-rain", "sim-fog")
