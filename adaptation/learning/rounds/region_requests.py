"""Which regions of the target's frames people should label: asked for on disk, and answered by an oracle.

    <out>/requests/<frame>.png   predicted train ids where a label is asked, 255 elsewhere
    <out>/regions.json           what was asked, of which frames, by which weights
    <out>/labels/<frame>.png     answers of the same form, which a round reads (--labels)

A share of the pixels is asked as RIPU does, in regions of 3 x 3 pixels whose every pixel is labelled; a click names the
class of a superpixel, which a person can see.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from adaptation.learning.data.label_pairs import check_pairs, label_files
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_image, read_labels
from adaptation.learning.evaluation.evaluate import FrameLabeller
from adaptation.learning.methods.ripu import (
    AskedRegion,
    paint_answer,
    region_scores,
    regions_for_people,
    regions_per_round,
    reveal_labels,
    select_regions,
)
from adaptation.learning.networks.layers import resized
from exchange.images.file_names import namesakes
from exchange.images.labels import decode_index_png, encode_gray_png
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.registry.releases import file_sha256

REQUESTS_FOLDER = "requests"
LABELS_FOLDER = "labels"
REGIONS_FILE = "regions.json"
PIXEL_RADIUS = 1
"""RIPU's regions of 3 x 3 pixels."""


class RegionBudget(BaseModel):
    """How much of each frame may be asked: a share of its pixels, or a number of clicks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_share: float | None = Field(default=None, gt=0, le=1)
    clicks: int | None = Field(default=None, ge=1)
    random_seed: int | None = None
    """Instead of where a label teaches most, at random places: what a selection must beat."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.pixel_share is None) == (self.clicks is None):
            raise ValueError("give a share of the pixels or a number of clicks, one of the two")
        return self


class RequestedFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The frame's file name without its ending, which the PNGs carry."""
    image_sha256: str
    regions: int
    """Each costs one click, or the labels of 3 x 3 pixels."""
    asked_pixels: int
    superpixels: tuple[AskedRegion, ...]
    """Those that clicks are for; empty where a share of the pixels is asked."""


class RegionRequests(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: RegionBudget
    network_sha256: str
    frames: tuple[RequestedFrame, ...]

    @classmethod
    def read(cls, out: Path) -> Self:
        return cls.model_validate_json((out / REGIONS_FILE).read_text())


class _Asked(NamedTuple):
    mask_HW: NDArray[np.uint8]
    regions: int
    superpixels: tuple[AskedRegion, ...] = ()


def request_regions(
    out: Path,
    labeller: FrameLabeller,
    network_sha256: str,
    images: Sequence[Path],
    budget: RegionBudget,
    labelled: Path | None,
    on_frame: Callable[[int, int], None],
) -> RegionRequests:
    """Writes the requests for every image; regions.json is written last.

    Args:
        labelled: folder of labels that people gave before; what they cover, and a margin, is not asked again.

    Raises:
        DataError: an image or a label map cannot be read, they differ in size, two images have one name, or a label is
            not read; nothing is written for names.
    """
    if twins := namesakes(images):
        raise DataError(
            f"{twins[0]} and {twins[1]} would share one request: rename one, or ask in one folder at a time"
        )
    if labelled:
        check_pairs(label_files(labelled), images)
    (out / REQUESTS_FOLDER).mkdir(parents=True, exist_ok=True)
    labeller = labeller.for_frames(len(images))
    frames = []
    for index, image in enumerate(images):
        image_HW3 = read_image(image)
        asked = _ask(image_HW3, labeller, budget, _labelled_before(labelled, image, image_HW3.shape[:2]), index)
        (out / REQUESTS_FOLDER / f"{image.stem}.png").write_bytes(encode_gray_png(asked.mask_HW))
        frames.append(
            RequestedFrame(
                name=image.stem,
                image_sha256=file_sha256(image),
                regions=asked.regions,
                asked_pixels=int((asked.mask_HW != IGNORE_ID).sum()),
                superpixels=asked.superpixels,
            )
        )
        on_frame(index + 1, len(images))
    requests = RegionRequests(budget=budget, network_sha256=network_sha256, frames=tuple(frames))
    (out / REGIONS_FILE).write_text(requests.model_dump_json() + "\n")
    return requests


def answer_from_truth(out: Path, truth: Sequence[LabelledFrame], earlier: Path | None) -> Path:
    """The oracle annotator of benchmarks: writes what a flawless person would answer, and returns the folder.

    In a pixel region every pixel gets its true class; a click gives a whole superpixel the class that most of it has.

    Args:
        truth: labels of the frames that were asked.
        earlier: labels given before, kept beside the new ones.

    Raises:
        DataError: a frame that was asked has no truth, or two have one name.
    """
    if twins := namesakes([frame.image for frame in truth]):
        raise DataError(f"{twins[0]} and {twins[1]} would share one answer: rename one of them")
    answers = out / LABELS_FOLDER
    answers.mkdir(exist_ok=True)
    known = {frame.image.stem: frame for frame in truth}
    for frame in RegionRequests.read(out).frames:
        if frame.name not in known:
            raise DataError(f"{frame.name} was asked but has no known labels: give a data set that holds it")
        truth_HW = read_labels(known[frame.name])
        predicted_HW = decode_index_png((out / REQUESTS_FOLDER / f"{frame.name}.png").read_bytes())
        answered_HW = _labelled_before(earlier, known[frame.name].image, truth_HW.shape)
        if frame.superpixels:
            for region in frame.superpixels:
                paint_answer(answered_HW, region, _named(truth_HW, region))
        else:
            answered_HW = np.where(predicted_HW != IGNORE_ID, truth_HW, answered_HW)
        (answers / f"{frame.name}.png").write_bytes(encode_gray_png(answered_HW))
    return answers


@torch.inference_mode()
def full_size_logits(labeller: FrameLabeller, image_HW3: NDArray[np.uint8]) -> Tensor:
    """Float32 [K, H, W] at the image's own size, on the CPU."""
    logits, (rows, columns) = labeller.logits(image_HW3)
    return resized(logits[..., :rows, :columns], image_HW3.shape[:2])[0].cpu()


def _ask(
    image_HW3: NDArray[np.uint8],
    labeller: FrameLabeller,
    budget: RegionBudget,
    labelled_HW: NDArray[np.uint8],
    index: int,
) -> _Asked:
    logits_KHW = full_size_logits(labeller, image_HW3)
    predicted_HW = logits_KHW.argmax(dim=0).numpy().astype(np.uint8)
    rng = None if budget.random_seed is None else np.random.default_rng((budget.random_seed, index))
    mask_HW = np.full(predicted_HW.shape, IGNORE_ID, dtype=np.uint8)
    if budget.clicks is not None:
        regions = regions_for_people(image_HW3, logits_KHW, labelled_HW != IGNORE_ID, rng)[: budget.clicks]
        for region in regions:
            paint_answer(mask_HW, region, region.predicted)
        return _Asked(mask_HW, len(regions), tuple(regions))
    assert budget.pixel_share is not None  # noqa: S101 - one of the two
    scores_HW = region_scores(logits_KHW, PIXEL_RADIUS).acquisition_HW.numpy()
    if rng is not None:
        scores_HW = rng.random(predicted_HW.shape, dtype=np.float32)
    # Boxes of this radius then overlap nothing that was labelled.
    side = 2 * PIXEL_RADIUS + 1
    active_HW = cv2.dilate((labelled_HW != IGNORE_ID).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    height, width = predicted_HW.shape
    count = regions_per_round(height, width, budget.pixel_share, 1, PIXEL_RADIUS)
    centers_R2 = select_regions(scores_HW, active_HW, count, PIXEL_RADIUS).centers_R2
    return _Asked(reveal_labels(mask_HW, predicted_HW, centers_R2, PIXEL_RADIUS), len(centers_R2))


def _labelled_before(folder: Path | None, image: Path, size: Sequence[int]) -> NDArray[np.uint8]:
    path = folder / f"{image.stem}.png" if folder else None
    if path is None or not path.exists():
        return np.full(tuple(size), IGNORE_ID, dtype=np.uint8)
    labels_HW = read_labels(LabelledFrame(image, path, "train", ""))
    if labels_HW.shape != tuple(size):
        raise DataError(f"{path} is {labels_HW.shape} but its frame {tuple(size)}: make them one size")
    return labels_HW


def _named(truth_HW: NDArray[np.uint8], region: AskedRegion) -> int:
    """The class that most labelled pixels of a region have; 255 where none is labelled."""
    true = truth_HW[region.top : region.bottom, region.left : region.right][region.segment_hw]
    counts = np.bincount(true[true != IGNORE_ID], minlength=NUM_CLASSES)
    return int(counts.argmax()) if counts.any() else IGNORE_ID
