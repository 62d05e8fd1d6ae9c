"""An engine's output as the answer that was asked for: at the frame's own size, reduced, encoded, summed up."""

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.images.frame_fitting import restore_labels
from exchange.images.labels import encode_gray_png, encode_palette_png, encode_runs
from exchange.label_space import NUM_CLASSES
from server.frames.frames import AnswerOptions, EncodedMap, MapEncoding
from server.segmenter import SegmenterOutput


def encode_maps(
    output: SegmenterOutput, options: AnswerOptions, valid_hw: tuple[int, int], original_hw: tuple[int, int]
) -> tuple[EncodedMap, EncodedMap | None]:
    """The label map and, where asked for, the confidence map."""
    step = options.reduce_by

    def encoded(map_HW: NDArray[np.uint8], encoding: MapEncoding, palette: bool) -> EncodedMap:
        reduced_HW = restore_labels(map_HW, valid_hw, original_hw)[::step, ::step]
        height, width = reduced_HW.shape
        return EncodedMap(encoding, _encode(reduced_HW, encoding, palette), (height, width))

    labels = encoded(output.labels_HW, options.labels, palette=True)
    if options.confidence is None:
        return labels, None
    return labels, encoded(output.confidence_HW, options.confidence, palette=False)


def summarize(output: SegmenterOutput, valid_hw: tuple[int, int]) -> tuple[float, NDArray[np.float32]]:
    """Mean confidence from 0 to 1, and the share of each class, float32 [K], over what is no padding."""
    rows, columns = valid_hw
    mean_confidence = cv2.mean(output.confidence_HW[:rows, :columns])[0] / 255
    # OpenCV counts bytes several times faster than numpy, which would widen them first.
    counts = cv2.calcHist([output.labels_HW[:rows, :columns]], [0], None, [NUM_CLASSES], [0, NUM_CLASSES])
    return mean_confidence, (counts.ravel() / (rows * columns)).astype(np.float32)


def _encode(map_HW: NDArray[np.uint8], encoding: MapEncoding, palette: bool) -> bytes:
    if encoding is MapEncoding.RAW:
        return map_HW.tobytes()
    if encoding is MapEncoding.RLE:
        return encode_runs(map_HW)
    return encode_palette_png(map_HW) if palette else encode_gray_png(map_HW)
