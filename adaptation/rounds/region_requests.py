"""Which regions of the target's frames people should label: asked for on disk, and answered by an oracle.

    <out>/requests/<frame>.png   predicted train ids where a label is asked, 255 elsewhere
    <out>/regions.json           what was asked, of which frames, by which weights
    <out>/labels/<frame>.png     answers of the same form, which a round reads (--labels)

A share of the pixels is asked as RIPU does, in regions of 3 x 3 pixels whose every pixel is labelled; clicks are asked
in boxes a person can see, one click naming the class of one predicted segment.
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

from adaptation.data.labelled_frames import DataError, LabelledFrame, read_image, read_labels
from adaptation.data.normalization import normalize
from adaptation.evaluation.evaluate import FrameLabeller
from adaptation.networks.layers import resized
from adaptation.region_selection import (
    AskedRegion,
    paint_answers,
    radius_for_people,
    region_scores,
    regions_per_round,
    reveal_labels,
    select_regions,
    select_regions_for_people,
)
from exchange.frame_fitting import fit_frame
from exchange.label_images import decode_index_png, encode_gray_png
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.releases import file_sha256

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
    clicks: int
    """One for each pixel region, and for each segment of a box."""
    asked_pixels: int
    boxes: tuple[AskedRegion, ...]
    """Rows and columns of the boxes for people, and their segments by predicted class; empty for pixel regions."""


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
    boxes: tuple[AskedRegion, ...] = ()


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
        DataError: an image or a label map cannot be read, or they differ in size.
    """
    (out / REQUESTS_FOLDER).mkdir(parents=True, exist_ok=True)
    frames = []
    for index, image in enumerate(images):
        logits_KHW = full_size_logits(labeller, read_image(image))
        asked = _ask(logits_KHW, budget, _labelled_before(labelled, image, logits_KHW.shape[-2:]), index)
        (out / REQUESTS_FOLDER / f"{image.stem}.png").write_bytes(encode_gray_png(asked.mask_HW))
        frames.append(
            RequestedFrame(
                name=image.stem,
                image_sha256=file_sha256(image),
                regions=asked.regions,
                clicks=sum(len(box.segments) for box in asked.boxes) if asked.boxes else asked.regions,
                asked_pixels=int((asked.mask_HW != IGNORE_ID).sum()),
                boxes=asked.boxes,
            )
        )
        on_frame(index + 1, len(images))
    requests = RegionRequests(budget=budget, network_sha256=network_sha256, frames=tuple(frames))
    (out / REGIONS_FILE).write_text(requests.model_dump_json() + "\n")
    return requests


def answer_from_truth(out: Path, truth: Sequence[LabelledFrame], earlier: Path | None) -> Path:
    """The oracle annotator of benchmarks: writes what a flawless person would answer, and returns the folder.

    In a pixel region every pixel gets its true class; a click gives all of a segment the class that most of it has.

    Args:
        truth: labels of the frames that were asked.
        earlier: labels given before, kept beside the new ones.

    Raises:
        DataError: a frame that was asked has no truth.
    """
    answers = out / LABELS_FOLDER
    answers.mkdir(exist_ok=True)
    known = {frame.image.stem: frame for frame in truth}
    for frame in RegionRequests.read(out).frames:
        if frame.name not in known:
            raise DataError(f"{frame.name} was asked but has no known labels: give a data set that holds it")
        truth_HW = read_labels(known[frame.name])
        predicted_HW = decode_index_png((out / REQUESTS_FOLDER / f"{frame.name}.png").read_bytes())
        answered_HW = _labelled_before(earlier, known[frame.name].image, truth_HW.shape)
        if frame.boxes:
            for box in frame.boxes:
                answered_HW = paint_answers(answered_HW, predicted_HW, box, _named(truth_HW, predicted_HW, box))
        else:
            answered_HW = np.where(predicted_HW != IGNORE_ID, truth_HW, answered_HW)
        (answers / f"{frame.name}.png").write_bytes(encode_gray_png(answered_HW))
    return answers


@torch.inference_mode()
def full_size_logits(labeller: FrameLabeller, image_HW3: NDArray[np.uint8]) -> Tensor:
    """Float32 [K, H, W] at the image's own size, on the CPU."""
    frame, (rows, columns) = fit_frame(image_HW3, labeller.frame_size)
    images = normalize(torch.from_numpy(frame)[None].to(labeller.device))
    logits = labeller.network.forward_frame(images, labeller.windows)
    return resized(logits[..., :rows, :columns], image_HW3.shape[:2])[0].cpu()


def _ask(logits_KHW: Tensor, budget: RegionBudget, labelled_HW: NDArray[np.uint8], index: int) -> _Asked:
    predicted_HW = logits_KHW.argmax(dim=0).numpy().astype(np.uint8)
    height, width = predicted_HW.shape
    radius = PIXEL_RADIUS if budget.clicks is None else radius_for_people(height)
    if budget.random_seed is None:
        value_HW = region_scores(logits_KHW, radius).acquisition_HW.numpy()
    else:
        value_HW = np.random.default_rng((budget.random_seed, index)).random((height, width), dtype=np.float32)
    # Boxes of this radius then overlap nothing that was labelled.
    side = 2 * radius + 1
    active_HW = cv2.dilate((labelled_HW != IGNORE_ID).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    nothing_HW = np.full((height, width), IGNORE_ID, dtype=np.uint8)
    if budget.pixel_share is not None:
        count = regions_per_round(height, width, budget.pixel_share, 1, radius)
        centers_R2 = select_regions(value_HW, active_HW, count, radius).centers_R2
        return _Asked(reveal_labels(nothing_HW, predicted_HW, centers_R2, radius), len(centers_R2))
    boxes = select_regions_for_people(value_HW, predicted_HW, active_HW, budget.clicks or 0, radius).regions
    mask_HW = nothing_HW
    for box in boxes:
        mask_HW = paint_answers(mask_HW, predicted_HW, box, {segment: segment for segment in box.segments})
    return _Asked(mask_HW, len(boxes), tuple(boxes))


def _labelled_before(folder: Path | None, image: Path, size: Sequence[int]) -> NDArray[np.uint8]:
    path = folder / f"{image.stem}.png" if folder else None
    if path is None or not path.exists():
        return np.full(tuple(size), IGNORE_ID, dtype=np.uint8)
    labels_HW = read_labels(LabelledFrame(image, path, "train", ""))
    if labels_HW.shape != tuple(size):
        raise DataError(f"{path} is {labels_HW.shape} but its frame {tuple(size)}: make them one size")
    return labels_HW


def _named(truth_HW: NDArray[np.uint8], predicted_HW: NDArray[np.uint8], box: AskedRegion) -> dict[int, int]:
    """The class that most labelled pixels of each segment have; 255 where none is labelled."""
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    named = {}
    for segment in box.segments:
        true = truth_HW[inside][predicted_HW[inside] == segment]
        counts = np.bincount(true[true != IGNORE_ID], minlength=NUM_CLASSES)
        named[segment] = int(counts.argmax()) if counts.any() else IGNORE_ID
    return named
