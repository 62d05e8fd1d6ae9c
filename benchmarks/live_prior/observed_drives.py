"""Simulated drives as a release's engine sees them, kept on disk: what estimation gets, and what it should find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.export.build_torch import LOGITS
from adaptation.learning.export.engines import compile_openvino
from clients.simulation.city import SimulatedDrive
from exchange.contract import INPUTS
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.registry.releases import ENGINE_FOLDER, ReleaseError, verify_release

SECONDS_APART = 2.0
_CELLS_APART = 4
"""Of the network's output grid, every so manyth row and column is scored."""


@dataclass(frozen=True)
class ObservedDrive:
    """N frames of a drive, and S pixels of each."""

    presence_NK: NDArray[np.float32]
    mean_probability_NK: NDArray[np.float32]
    true_share_NK: NDArray[np.float32]
    """Of the labelled pixels."""
    logits_NKS: NDArray[np.float16]
    truth_NS: NDArray[np.uint8]


def observe_drives(
    release: Path, work: Path, domain: str, seeds: range, frames: int, on_drive: Callable[[], None]
) -> Iterator[ObservedDrive]:
    """Renders and labels what is not in the work folder yet.

    Raises:
        ReleaseError: the release is incomplete, or its engine does not show logits of one window.
    """
    manifest = verify_release(release)
    work.mkdir(parents=True, exist_ok=True)
    engine = None
    for seed in seeds:
        file = work / f"{domain}-{seed}-{frames}.npz"
        if not file.exists():
            if manifest.engine != "openvino":
                raise ReleaseError(f"{release} has no openvino engine: export one to see its logits")
            engine = engine or _Engine(release, manifest.frame_size)
            drive = SimulatedDrive(domain, seed, manifest.frame_size, 1 / SECONDS_APART)
            _save(file, _observe(engine, drive, frames))
        on_drive()
        with np.load(file) as arrays:
            yield ObservedDrive(*(arrays[field.name] for field in fields(ObservedDrive)))


class _Engine:
    def __init__(self, release: Path, frame_size: tuple[int, int]) -> None:
        self._frame_size = frame_size
        manifest = verify_release(release)
        compiled = compile_openvino(release / ENGINE_FOLDER, manifest.precision, with_logits=True)
        self._request = compiled.create_infer_request()

    def run(self, image_HW3: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        inputs = (image_HW3, np.zeros(NUM_CLASSES, np.float32), np.array(self._frame_size, np.int32))
        self._request.infer({spec.name: array for spec, array in zip(INPUTS, inputs, strict=True)})
        names = ("PRESENCE", "MEAN_PROBABILITY", LOGITS)
        return {name: np.array(self._request.get_tensor(name).data) for name in names}


def _observe(engine: _Engine, drive: SimulatedDrive, frames: int) -> ObservedDrive:
    seen = [_observe_frame(engine, drive, index) for index in range(frames)]
    return ObservedDrive(
        presence_NK=np.concatenate([frame.presence_NK for frame in seen]),
        mean_probability_NK=np.concatenate([frame.mean_probability_NK for frame in seen]),
        true_share_NK=np.concatenate([frame.true_share_NK for frame in seen]),
        logits_NKS=np.concatenate([frame.logits_NKS for frame in seen]),
        truth_NS=np.concatenate([frame.truth_NS for frame in seen]),
    )


def _observe_frame(engine: _Engine, drive: SimulatedDrive, index: int) -> ObservedDrive:
    """A drive of one frame."""
    moment = drive.frame(index)
    outputs = engine.run(moment.image_HW3)
    logits_1Khw = outputs[LOGITS]
    if len(logits_1Khw) != 1:
        raise ReleaseError("a release with several outer windows: this benchmark takes one of whole frames")
    stride = moment.labels_HW.shape[0] // logits_1Khw.shape[2]
    truth_hw = moment.labels_HW[stride // 2 :: stride, stride // 2 :: stride]
    first = _CELLS_APART // 2
    counts_K = np.bincount(moment.labels_HW.ravel(), minlength=256)[:NUM_CLASSES]
    return ObservedDrive(
        presence_NK=outputs["PRESENCE"][None],
        mean_probability_NK=outputs["MEAN_PROBABILITY"][None],
        true_share_NK=(counts_K / max(int(counts_K.sum()), 1)).astype(np.float32)[None],
        logits_NKS=logits_1Khw[..., first::_CELLS_APART, first::_CELLS_APART]
        .reshape(1, NUM_CLASSES, -1)
        .astype(np.float16),
        truth_NS=truth_hw[first::_CELLS_APART, first::_CELLS_APART].reshape(1, -1),
    )


def _save(file: Path, drive: ObservedDrive) -> None:
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **{field.name: getattr(drive, field.name) for field in fields(drive)})
    partial.rename(file)


def count_labels(
    logits_NKS: NDArray[np.float16], truth_NS: NDArray[np.uint8], log_ratio_K: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Confusion [K, K] of the adjusted labels; rows are the truth."""
    labels_NS = (logits_NKS + log_ratio_K[:, None].astype(np.float32)).argmax(axis=1)
    known = truth_NS != IGNORE_ID
    pairs = truth_NS[known].astype(np.int64) * NUM_CLASSES + labels_NS[known]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)
