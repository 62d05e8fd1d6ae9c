"""A release's engine in this process: what every way of serving is measured against, and what LitServe serves."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exchange.contract import OPENVINO_PRECISION
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import ENGINE_FOLDER, ReleaseError, verify_release


class BareEngine:
    """Compiled with the settings of model_repository/segmenter, so that every way computes the same."""

    def __init__(self, release: Path, threads: int = 0) -> None:
        """
        Args:
            threads: cores for one inference, beside others that compute at the same time; 0 means all, and alone.

        Raises:
            ReleaseError: incomplete, or made for another engine than OpenVINO.
        """
        import openvino  # here, because only a process that computes is to have it loaded

        manifest = verify_release(release)
        if manifest.engine != "openvino":
            raise ReleaseError(f"{release} has a {manifest.engine} engine: give a release with an openvino one")
        settings = {
            "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[manifest.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        if threads:
            settings["ENABLE_CPU_PINNING"] = False  # else all who compute at the same time take the same cores
        compiled = openvino.Core().compile_model(release / ENGINE_FOLDER / "model.xml", "CPU", settings)
        self.frame_size_hw = manifest.frame_size
        self._request = compiled.create_infer_request()
        self._no_adjustment_K = np.zeros(NUM_CLASSES, np.float32)

    def label(self, frame_HW3: NDArray[np.uint8], valid_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """Train ids uint8 [H, W], in memory that the next call overwrites."""
        inputs = {
            "FRAME": frame_HW3,
            "LOG_PRIOR_RATIO": self._no_adjustment_K,
            "VALID_HW": np.array(valid_hw, np.int32),
        }
        self._request.infer(inputs, share_inputs=True)
        return self._request.get_tensor("LABEL").data
