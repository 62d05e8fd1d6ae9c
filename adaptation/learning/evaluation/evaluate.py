"""A network's labels for frames of any size, by the geometry that the gateway serves, and their scores."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.data.labelled_frames import LabelledFrame, read_frame
from adaptation.learning.evaluation.scores import count_confusion
from adaptation.learning.methods.label_shift import adjust
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.frame_forward import FrameForward, is_worth_compiling
from adaptation.learning.networks.frame_sizes import check_sizes, with_crops
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.windows import Size
from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.label_space import NUM_CLASSES
from exchange.networks import WindowConfig, whole_frame_windows
from exchange.registry.releases import MANIFEST_NAME, read_manifest

Frame = TypeVar("Frame")

DEFAULT_FRAME_SIZE = (512, 1024)


@dataclass(frozen=True)
class FrameLabeller:
    """A network with the frame size and the windows at which it is served."""

    network: HRDA
    frame_size: Size
    windows: WindowConfig
    device: torch.device
    log_ratio: tuple[float, ...] | None = None
    """Added to the logits by `labels`, as serving does to follow another prior."""
    temperature: float = 1.0
    """What a release's manifest divides its logits by, so that its probabilities are right on average."""
    compiled: bool = False
    """Whether OpenVINO reads the frames; see `for_frames`."""

    def for_frames(self, count: int) -> Self:
        """Return one that reads so many frames soonest; the network must not change from then on."""
        return replace(self, compiled=is_worth_compiling(count, self.frame_size, self.device))

    @cached_property
    def _forward(self) -> FrameForward:
        return FrameForward(self.network, self.frame_size, self.windows, self.device, compiled=self.compiled)

    def logits(self, image_HW3: NDArray[np.uint8]) -> tuple[Tensor, Size]:
        """Return logits float32 [1, K, H, W] of an RGB image fitted into the frame, and its rows and columns there."""
        frame_HW3, valid_hw = fit_frame(image_HW3, self.frame_size)
        return self._forward.logits(frame_HW3), valid_hw

    def labels(self, image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Train ids uint8 [H, W] of an RGB image of any size."""
        logits, valid_hw = self.logits(image_HW3)
        if self.log_ratio is not None:
            logits = adjust(logits, self.log_ratio)
        labels = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return restore_labels(labels, valid_hw, (image_HW3.shape[0], image_HW3.shape[1]))


def open_labeller(
    folder: Path,
    frame_size: Size | None,
    device: torch.device,
    *,
    outer_crop: Size | None = None,
    detail_crop: Size | None = None,
) -> FrameLabeller:
    """Loads a network's or a release's folder; a release brings its own frame size and windows.

    `outer_crop` and `detail_crop` ask for other windows, every half of that: the authors' nested test mode.

    Raises:
        CheckpointError: the folder holds no network of the label space.
        ReleaseError: it holds a release that is not understood.
        ValueError: the network cannot take the frame size or the windows.
    """
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else None
    network = load_network(folder, manifest.network if manifest else None).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    size = frame_size or (manifest.frame_size if manifest else DEFAULT_FRAME_SIZE)
    own = manifest.windows if manifest and size == manifest.frame_size else whole_frame_windows(size)
    windows = with_crops(own, outer_crop, detail_crop)
    check_sizes(network, size, windows)
    temperature = manifest.calibration_temperature if manifest else 1.0
    return FrameLabeller(network, size, windows, device, temperature=temperature)


def confusion_over(
    labeller: FrameLabeller, frames: Sequence[LabelledFrame], on_frame: Callable[[int], None]
) -> NDArray[np.int64]:
    """Confusion counts [19, 19] over frames at their own sizes; calls `on_frame` with the number done.

    Raises:
        DataError: a frame cannot be read.
    """
    labeller = labeller.for_frames(len(frames))
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    for done, frame in enumerate(frames, start=1):
        image, truth = read_frame(frame)
        confusion += count_confusion(truth, labeller.labels(image))
        on_frame(done)
    return confusion


def spread(frames: Sequence[Frame], limit: int | None) -> list[Frame]:
    """At most `limit` frames, evenly spread over all."""
    if limit is None or limit >= len(frames):
        return list(frames)
    return [frames[index * len(frames) // limit] for index in range(limit)]


def parse_size(text: str) -> Size:
    """Reads ROWSxCOLUMNS. Raises ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise ValueError(f"{text!r} is no frame size: write rows and columns, for example 512x1024")
    return int(match[1]), int(match[2])


def parse_size_if(text: str | None) -> Size | None:
    """`parse_size` of an option that may be left out."""
    return parse_size(text) if text else None
