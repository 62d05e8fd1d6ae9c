"""A release as the gate runs it: its own engine, at its own frame size, with its calibration."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.export.calibration import Calibration, CalibrationSample, fit_labels
from adaptation.learning.export.engine_logits import Reading, ReleaseReader
from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.registry.releases import ReleaseError, verify_release


class Contestant:
    """Candidate, incumbent or anchor."""

    def __init__(self, release_dir: Path, threads: int) -> None:
        """Raises as `ReleaseReader`, and ReleaseError where a file differs from the manifest."""
        self.release_dir = release_dir
        self.manifest = verify_release(release_dir)
        self._reader = ReleaseReader(release_dir, self.manifest, threads=threads)
        self._sample = CalibrationSample()
        self._calibration: Calibration | None = None
        if self.manifest.atc_threshold is not None:
            self._calibration = Calibration(self.manifest.calibration_temperature, self.manifest.atc_threshold)

    def read(self, image_HW3: NDArray[np.uint8]) -> Reading:
        """Of an image of any size."""
        return self._reader.read(*fit_frame(image_HW3, self.manifest.frame_size))

    def label(self, image_HW3: NDArray[np.uint8], truth_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Train ids of an image at its own size; where the manifest has no calibration, the truth is used for one."""
        frame_HW3, valid_hw = fit_frame(image_HW3, self.manifest.frame_size)
        reading = self._reader.read(frame_HW3, valid_hw)
        if self._calibration is None:
            self._sample.add(reading.logits, fit_labels(truth_HW, valid_hw))
        return restore_labels(reading.outputs.label_HW, valid_hw, (image_HW3.shape[0], image_HW3.shape[1]))

    @property
    def calibration(self) -> Calibration:
        """The manifest's, or one of the labelled frames that were read.

        Raises:
            ReleaseError: there is neither.
        """
        if self._calibration is None:
            self._calibration = self._sample.fit()
        if self._calibration is None:
            raise ReleaseError(f"{self.release_dir} says no ATC threshold: export it with held-out frames (--data)")
        return self._calibration

    def probabilities(self, reading: Reading) -> Tensor:
        """Calibrated class probabilities of the cells, [K, h, w]."""
        return (reading.logits.grid_KHW / self.calibration.temperature).softmax(dim=0)
