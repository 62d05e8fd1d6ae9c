"""Writes simulated drives in the folder layout of the Cityscapes data set."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from clients.simulation.city.canvas import Bytes
from clients.simulation.city.drive import SimulatedDrive, SimulatedFrame
from exchange.label_space import CITYSCAPES_ID_TO_TRAIN_ID

_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_VALIDATION_SEEDS_FROM = 1_000_000


def city_name(domain: str) -> str:
    """The "city" of a domain in file names: no hyphens, for underscores separate a Cityscapes name."""
    return domain.replace("-", "")


def drive_seeds(seed: int, split: str, drives: int) -> list[int]:
    """Seeds of a set's drives; sets of different `seed`, and the two splits, share no drive."""
    start = seed * 10_000 + (_VALIDATION_SEEDS_FROM * 10_000 if split == "val" else 0)
    return list(range(start, start + drives))


def _write_png(path: Path, image: Bytes) -> None:
    if not cv2.imwrite(str(path), image, _PNG):
        raise OSError(f"could not write {path}: is the disk full or the folder read-only?")


def _write_frame(root: Path, split: str, stem: str, frame: SimulatedFrame) -> None:
    city = stem.split("_")[0]
    label_ids = np.zeros(256, np.uint8)
    for label_id, train_id in CITYSCAPES_ID_TO_TRAIN_ID.items():
        label_ids[train_id] = label_id
    images, labels = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    _write_png(images / f"{stem}_leftImg8bit.png", frame.image_HW3[..., ::-1])
    _write_png(labels / f"{stem}_gtFine_labelIds.png", label_ids[frame.labels_HW])
    _write_png(labels / f"{stem}_gtFine_labelTrainIds.png", frame.labels_HW)


def write_cityscapes(
    root: Path, domain: str, split: str, frames: int, drives: int, seed: int, size_hw: tuple[int, int]
) -> Iterator[Path]:
    """Writes `frames` frames, one second apart, from `drives` drives; yields each image's path once it is there.

    leftImg8bit/<split>/<city>/<city>_<drive>_<frame>_leftImg8bit.png, and under gtFine the labelIds and labelTrainIds.
    """
    city = city_name(domain)
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder / split / city).mkdir(parents=True, exist_ok=True)
    for number, drive_seed in enumerate(drive_seeds(seed, split, drives)):
        drive = SimulatedDrive(domain, drive_seed, size_hw, frames_per_s=1.0)
        for index in range(frames * number // drives, frames * (number + 1) // drives):
            step = index - frames * number // drives
            stem = f"{city}_{number:06}_{step:06}"
            _write_frame(root, split, stem, drive.frame(step))
            yield root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
