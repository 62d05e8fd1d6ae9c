"""The boundary between the gateway and whatever computes labels, and the deterministic fake that ships beside it.

The real one is `server.triton`; both compute the model contract: FRAME, LOG_PRIOR_RATIO and VALID_HW in, LABEL,
CONFIDENCE, PRESENCE and MEAN_PROBABILITY out.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from server.errors import ServingError, VersionUnavailable


@dataclass(frozen=True)
class SegmenterOutput:
    """One frame's answer, in memory of its own (never a view of memory that the next frame overwrites)."""

    labels_HW: NDArray[np.uint8]
    """Train ids."""
    confidence_HW: NDArray[np.uint8]
    """round(255 x highest probability), after adjustment."""
    presence_K: NDArray[np.float32]
    """Log mean exp of the class probabilities before adjustment, over the valid pixels."""
    mean_probability_K: NDArray[np.float32]
    """Mean class probability before adjustment, over the valid pixels."""


class Segmenter(Protocol):
    """Computes labels with any of the versions that it has loaded. Safe to call from many tasks of one event loop."""

    @property
    def ready_versions(self) -> Mapping[int, tuple[int, int]]:
        """Each version that now answers, as shown by a real inference, with its frame size (rows, columns).

        Empty while nothing works. Cheap: read on every frame and by the health check.
        """

    @property
    def restarts(self) -> int:
        """How often the engine process had to be brought back since the start."""

    async def infer(
        self,
        version: int,
        frame_HW3: NDArray[np.uint8],
        log_prior_ratio_K: NDArray[np.float32],
        valid_hw: tuple[int, int],
    ) -> SegmenterOutput:
        """Labels one frame.

        Args:
            version: one of `ready_versions`.
            frame_HW3: uint8 RGB of exactly that version's frame size.
            log_prior_ratio_K: float32, added to the logits; zeros switch adjustment off.
            valid_hw: rows and columns that are frame, not padding; they count from the top left.

        Raises:
            VersionUnavailable: the version is not loaded, or is being dropped.
            EngineUnavailable: the engine process is down, or its reply was lost.
            Overloaded: the engine's own bounded queue is full.
            EngineFailed: the engine answered with an error.

        Cancelling the awaiting task abandons the answer; the inference itself may run to its end.
        """


class FakeSegmenter:
    """Labels each pixel with the class whose Cityscapes colour is nearest: deterministic, and known in advance.

    One frame at a time, as one engine would. `latency_s` is added to every frame; while `gate` is clear, frames wait
    inside `infer`; `failure`, when set, is raised in place of an answer; `versions` may be changed at any time.
    """

    LOGIT = 4.0
    """Logit of the nearest class; every other class has 0."""

    def __init__(self, frame_size_hw: tuple[int, int] = (256, 512), *, latency_s: float = 0.0) -> None:
        self.versions: dict[int, tuple[int, int]] = {1: frame_size_hw}
        self.latency_s = latency_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: ServingError | None = None
        self.inferred_frames = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def ready_versions(self) -> Mapping[int, tuple[int, int]]:
        return self.versions

    @property
    def restarts(self) -> int:
        return 0

    async def infer(
        self,
        version: int,
        frame_HW3: NDArray[np.uint8],
        log_prior_ratio_K: NDArray[np.float32],
        valid_hw: tuple[int, int],
    ) -> SegmenterOutput:
        async with self._one_at_a_time:
            if version not in self.versions:
                raise VersionUnavailable(f"version {version} is not loaded; loaded are {sorted(self.versions)}")
            if frame_HW3.shape != (*self.versions[version], 3):
                raise ValueError(f"frame of {frame_HW3.shape} for version {version} of {self.versions[version]}")
            self.inferred_frames += 1
            await self.gate.wait()
            await asyncio.sleep(self.latency_s)
            if self.failure is not None:
                raise self.failure
            return await asyncio.to_thread(label_by_nearest_color, frame_HW3, log_prior_ratio_K, valid_hw, self.LOGIT)


def label_by_nearest_color(
    frame_HW3: NDArray[np.uint8],
    log_prior_ratio_K: NDArray[np.float32],
    valid_hw: tuple[int, int],
    nearest_logit: float,
) -> SegmenterOutput:
    """The whole model contract on top of a "network" whose logits are `nearest_logit` at the nearest class, else 0."""
    cells = frame_HW3 >> 3
    nearest_HW = _CLASS_OF_CELL[cells[..., 0], cells[..., 1], cells[..., 2]]
    logits_CK = nearest_logit * np.eye(NUM_CLASSES)  # row c: the logits of a pixel whose nearest class is c
    probability_CK = _softmax(logits_CK)
    adjusted_CK = _softmax(logits_CK + log_prior_ratio_K)
    rows, columns = valid_hw
    share_C = np.bincount(nearest_HW[:rows, :columns].ravel(), minlength=NUM_CLASSES) / (rows * columns)
    return SegmenterOutput(
        labels_HW=adjusted_CK.argmax(axis=1).astype(np.uint8)[nearest_HW],
        confidence_HW=np.round(255 * adjusted_CK.max(axis=1)).astype(np.uint8)[nearest_HW],
        presence_K=np.log(share_C @ np.exp(probability_CK)).astype(np.float32),
        mean_probability_K=(share_C @ probability_CK).astype(np.float32),
    )


def _softmax(logits_CK: NDArray[np.float64]) -> NDArray[np.float64]:
    exponential_CK: NDArray[np.float64] = np.exp(logits_CK - logits_CK.max(axis=1, keepdims=True))
    exponential_CK /= exponential_CK.sum(axis=1, keepdims=True)
    return exponential_CK


def _classes_of_color_cells() -> NDArray[np.uint8]:
    """uint8 [32, 32, 32]: the nearest class for each cell of 8 x 8 x 8 colours; a palette colour maps to itself."""
    centers = np.stack(np.meshgrid(*[np.arange(32) * 8 + 4] * 3, indexing="ij"), axis=-1)
    distance = ((centers[..., None, :] - PALETTE_RGB.astype(np.int64)) ** 2).sum(axis=-1)
    classes: NDArray[np.uint8] = distance.argmin(axis=-1).astype(np.uint8)
    classes[tuple((PALETTE_RGB >> 3).T)] = np.arange(NUM_CLASSES)
    return classes


_CLASS_OF_CELL = _classes_of_color_cells()
