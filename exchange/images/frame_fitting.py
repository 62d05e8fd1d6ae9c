"""How a frame of any size meets a network of one size: fitted with its aspect kept, padded, and its labels restored.

The gateway and the evaluation use this one geometry, so that what is measured is what is served.
"""

import cv2
import numpy as np
from numpy.typing import NDArray


def fitted_size(original_hw: tuple[int, int], frame_size_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the largest image of the original's aspect inside the frame size, rounded half up."""
    scale = min(frame_size_hw[0] / original_hw[0], frame_size_hw[1] / original_hw[1])
    rows, columns = (max(1, int(side * scale + 0.5)) for side in original_hw)
    return rows, columns


def fit_frame(
    image_HW3: NDArray[np.uint8], frame_size_hw: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Resizes a frame into the frame size (area down, bilinear up) and pads it right and below by its edge.

    Returns:
        The frame, uint8 [H, W, 3] of the frame size, and the rows and columns of it that are not padding.
    """
    original_hw = (image_HW3.shape[0], image_HW3.shape[1])
    valid_hw = fitted_size(original_hw, frame_size_hw)
    if valid_hw != original_hw:
        how = cv2.INTER_AREA if valid_hw < original_hw else cv2.INTER_LINEAR
        image_HW3 = cv2.resize(image_HW3, (valid_hw[1], valid_hw[0]), interpolation=how).astype(np.uint8, copy=False)
    missing = (frame_size_hw[0] - valid_hw[0], frame_size_hw[1] - valid_hw[1])
    if any(missing):
        image_HW3 = np.pad(image_HW3, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return image_HW3, valid_hw


def restore_labels(
    labels_HW: NDArray[np.uint8], valid_hw: tuple[int, int], original_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cuts the padding off a label map and brings it to the original size by nearest neighbour, uint8 [h, w]."""
    labels_HW = labels_HW[: valid_hw[0], : valid_hw[1]]
    if valid_hw == original_hw:
        return labels_HW
    size = (original_hw[1], original_hw[0])
    return cv2.resize(labels_HW, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
