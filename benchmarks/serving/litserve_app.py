"""The same engine behind LitServe, for comparison: `python -m benchmarks.serving.litserve_app RELEASE PORT WORKERS`.

One worker, LitServe's default, computes one frame at a time on all cores; several share the cores as our processes do.
"""

import sys
from pathlib import Path
from typing import Annotated

import litserve
import numpy as np
import simplejpeg
from fastapi import Body, Response
from numpy.typing import NDArray

from benchmarks.serving.engine import BareEngine
from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.images.labels import encode_palette_png
from exchange.usable_cpus import usable_cpus

_LONGEST_WAIT_S = 5.0
"""LitServe refuses what has waited longer: half of what a vehicle waits, so that it computes no frame in vain.
At its default of 30 s it would, under overload, answer none in time."""

Size = tuple[int, int]
Jpeg = Annotated[bytes, Body(media_type="application/octet-stream")]  # raw, which is quicker than JSON or a form


class SegmentationApi(litserve.LitAPI):
    def __init__(self, release: Path, workers: int) -> None:
        super().__init__()
        self._release = release
        self._threads = 0 if workers == 1 else usable_cpus() // workers

    def setup(self, device: str) -> None:
        self._engine = BareEngine(self._release, self._threads)

    def decode_request(self, request: Jpeg) -> tuple[NDArray[np.uint8], Size, Size]:
        image_HW3 = simplejpeg.decode_jpeg(request)
        return *fit_frame(image_HW3, self._engine.frame_size_hw), image_HW3.shape[:2]

    def predict(self, frame: tuple[NDArray[np.uint8], Size, Size]) -> NDArray[np.uint8]:
        frame_HW3, valid_hw, original_hw = frame
        return restore_labels(self._engine.label(frame_HW3, valid_hw), valid_hw, original_hw)

    def encode_response(self, labels_HW: NDArray[np.uint8]) -> Response:
        return Response(encode_palette_png(labels_HW), media_type="image/png")


if __name__ == "__main__":
    release, port, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    server = litserve.LitServer(
        SegmentationApi(release, workers), accelerator="cpu", workers_per_device=workers, timeout=_LONGEST_WAIT_S
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")
