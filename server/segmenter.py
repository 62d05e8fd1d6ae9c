"""The boundary between the gateway and whatever computes labels, and the deterministic fake that ships beside it.

The real one is `server.triton`; both compute the model contract: FRAME, LOG_PRIOR_RATIO and VALID_HW in, LABEL,
CONFIDENCE, PRESENCE and MEAN_PROBABILITY out.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from exchange.registry.releases import read_manifest
from server.cannot_load import CannotLoad
from server.errors import ServingError, VersionUnavailable
from server.fake_marks import mark_of, marked

_HANG_PAUSE_S = 0.005


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
    def loaded_versions(self) -> Collection[int]:
        """Those that were loaded and not dropped; some may be down, and on their way back."""

    @property
    def restarts(self) -> int:
        """How often the engine process had to be brought back since the start."""

    async def load(self, version: int, release_dir: Path) -> None:
        """Adds a version beside the others, and shows by a real inference that it works. Nothing where it is loaded.

        Raises:
            CannotLoad: this machine cannot take it, or its engine does not work.
            ReleaseError: the release is incomplete or altered.
        """

    async def drop(self, version: int) -> None:
        """Gives a version up; what it is computing finishes.

        Raises:
            ValueError: it is not loaded, or is the only one.
        """

    def expecting(self) -> AbstractContextManager[None]:
        """While open, a frame is on its way: one that comes before it is not to take the whole engine."""

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


@dataclass
class FakeBehavior:
    """How one version of the fake differs from the others; may be changed at any time."""

    latency_s: float = 0.0
    """Added to the latency that all versions have."""
    failure: ServingError | None = None
    """Raised in place of an answer."""
    hangs: bool = False
    """Frames get no answer while this is so, and keep no other version's waiting."""
    is_down: bool = False
    """Loaded, but does not answer, as while an engine is being brought back."""
    class_shift: int = 0
    """Added to each class, modulo their number: the version labels every pixel otherwise."""
    mark: int = 0
    """Likewise, where `fake_marks` has its squares: the version agrees with others about nearly all pixels."""
    load_failure: str = ""
    """Why it cannot be loaded."""
    load_s: float = 0.0


class FakeSegmenter:
    """Labels each pixel with the class whose Cityscapes colour is nearest: deterministic, and known in advance.

    One frame at a time, as one engine would. `latency_s` is added to every frame; while `gate` is clear, frames wait
    inside `infer`; `failure`, when set, is raised in place of an answer; `versions` may be changed at any time, and
    `behaviors` says how single ones differ. With `by_release` they do from the start: a version that is loaded marks
    its answers by `mark_of` its release, so that each shows which release gave it, and that it was whole. The version
    that it starts with bears no mark.
    """

    LOGIT = 4.0
    """Logit of the nearest class; every other class has 0."""

    def __init__(
        self, frame_size_hw: tuple[int, int] = (256, 512), *, latency_s: float = 0.0, by_release: bool = False
    ) -> None:
        self.versions: dict[int, tuple[int, int]] = {1: frame_size_hw}
        self.latency_s = latency_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: ServingError | None = None
        self.behaviors: dict[int, FakeBehavior] = {}
        self.inferred_frames = 0
        self._by_release = by_release
        self._one_at_a_time = asyncio.Lock()

    @property
    def ready_versions(self) -> Mapping[int, tuple[int, int]]:
        return {version: size for version, size in self.versions.items() if not self._behavior(version).is_down}

    @property
    def loaded_versions(self) -> Collection[int]:
        return self.versions

    @property
    def restarts(self) -> int:
        return 0

    async def load(self, version: int, release_dir: Path) -> None:
        """Takes the release's frame size, and its mark where that is asked for; its engine plays no part."""
        behavior = self._behavior(version)
        await asyncio.sleep(behavior.load_s)
        if behavior.load_failure:
            raise CannotLoad(behavior.load_failure)
        if self._by_release and version not in self.versions:
            behavior.mark = await asyncio.to_thread(mark_of, release_dir)
        self.versions.setdefault(version, read_manifest(release_dir).frame_size)

    async def drop(self, version: int) -> None:
        if version not in self.versions or len(self.versions) == 1:
            raise ValueError(f"version {version} cannot be dropped; loaded are {sorted(self.versions)}")
        del self.versions[version]

    def _behavior(self, version: int) -> FakeBehavior:
        return self.behaviors.setdefault(version, FakeBehavior())

    def expecting(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def infer(
        self,
        version: int,
        frame_HW3: NDArray[np.uint8],
        log_prior_ratio_K: NDArray[np.float32],
        valid_hw: tuple[int, int],
    ) -> SegmenterOutput:
        behavior = self._behavior(version)
        while behavior.hangs:
            await asyncio.sleep(_HANG_PAUSE_S)
        async with self._one_at_a_time:
            if version not in self.versions:
                raise VersionUnavailable(f"version {version} is not loaded; loaded are {sorted(self.versions)}")
            if frame_HW3.shape != (*self.versions[version], 3):
                raise ValueError(f"frame of {frame_HW3.shape} for version {version} of {self.versions[version]}")
            self.inferred_frames += 1
            await self.gate.wait()
            await asyncio.sleep(self.latency_s + behavior.latency_s)
            if (failure := self.failure or behavior.failure) is not None:
                raise failure
            output = await asyncio.to_thread(label_by_nearest_color, frame_HW3, log_prior_ratio_K, valid_hw, self.LOGIT)
            labels_HW = (output.labels_HW + np.uint8(behavior.class_shift)) % np.uint8(NUM_CLASSES)
            return replace(output, labels_HW=marked(labels_HW, behavior.mark))


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
