"""Labels, confidence and statistics against a naive computation in float64."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adaptation.learning.export.outputs import PlainOutputs, TiledOutputs
from adaptation.learning.networks.windows import Box, window_boxes
from exchange.label_space import NUM_CLASSES

LAYOUTS = {
    "one window": ((64, 96), 4, (64, 96), (64, 96)),
    "three windows in a row": ((64, 128), 4, (64, 64), (32, 32)),
    "windows pulled back at the edges": ((72, 136), 4, (64, 64), (32, 32)),
    "coarse cells": ((64, 128), 8, (64, 64), (32, 32)),
}


def enlarging(cells: int, scale: int) -> NDArray[np.float64]:
    """Bilinear enlargement of one axis as a matrix, corners not aligned."""
    matrix = np.zeros((cells * scale, cells))
    for pixel in range(cells * scale):
        place = min(max((pixel + 0.5) / scale - 0.5, 0), cells - 1)
        lower = int(place)
        matrix[pixel, lower] += 1 - (place - lower)
        matrix[pixel, min(lower + 1, cells - 1)] += place - lower
    return matrix


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def naive_outputs(
    fused_NKHW: NDArray[np.float32],
    size: tuple[int, int],
    stride: int,
    outer: Sequence[Box],
    log_prior_ratio_K: NDArray[np.float32],
    valid_hw: tuple[int, int],
) -> tuple[NDArray[np.float64], ...]:
    total, count = np.zeros((NUM_CLASSES, *size)), np.zeros(size)
    for box, cells_KHW in zip(outer, fused_NKHW.astype(np.float64), strict=True):
        y, x = (enlarging(cells, stride) for cells in cells_KHW.shape[1:])
        total[:, box.y1 : box.y2, box.x1 : box.x2] += y @ cells_KHW @ x.T
        count[box.y1 : box.y2, box.x1 : box.x2] += 1
    logits = total / count
    adjusted = softmax(logits + log_prior_ratio_K[:, None, None])
    inside = softmax(logits)[:, : valid_hw[0], : valid_hw[1]]
    presence = np.log(np.exp(inside).mean(axis=(1, 2)))
    return adjusted.argmax(axis=0), np.round(255 * adjusted.max(axis=0)), presence, inside.mean(axis=(1, 2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [PlainOutputs, TiledOutputs])
def test_outputs_are_those_of_the_naive_computation(layout: str, make: type) -> None:
    size, stride, crop, step = LAYOUTS[layout]
    outer = window_boxes(size, crop, step)
    generator = np.random.default_rng(0)
    cells = (crop[0] // stride, crop[1] // stride)
    fused = generator.normal(0, 3, (len(outer), NUM_CLASSES, *cells)).astype(np.float32)
    ratio = generator.normal(0, 1, NUM_CLASSES).astype(np.float32)
    valid_hw = (size[0] - 7, size[1] - 21)
    outputs = make(size, stride, outer)(
        torch.from_numpy(fused), torch.from_numpy(ratio), torch.tensor(valid_hw, dtype=torch.int32)
    )
    label, confidence, presence, mean = naive_outputs(fused, size, stride, outer, ratio, valid_hw)
    assert [(tensor.dtype, tuple(tensor.shape)) for tensor in outputs] == [
        (torch.uint8, size),
        (torch.uint8, size),
        (torch.float32, (NUM_CLASSES,)),
        (torch.float32, (NUM_CLASSES,)),
    ]
    assert np.array_equal(outputs[0].numpy(), label)
    assert np.abs(outputs[1].numpy() - confidence).max() <= 1  # where 255 p lies between two numbers
    np.testing.assert_allclose(outputs[2].numpy(), presence, atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(outputs[3].numpy(), mean, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("make", [PlainOutputs, TiledOutputs])
def test_a_huge_ratio_is_no_overflow(make: type) -> None:
    outer = [Box(0, 64, 0, 64)]
    fused = np.random.default_rng(0).normal(0, 3, (1, NUM_CLASSES, 16, 16)).astype(np.float32)
    for ratio in (95, -95, 200):
        ratio_K = np.zeros(NUM_CLASSES, np.float32)
        ratio_K[4] = ratio
        arguments = torch.from_numpy(fused), torch.from_numpy(ratio_K), torch.tensor((64, 64), dtype=torch.int32)
        outputs = make((64, 64), 4, outer)(*arguments)
        label, confidence, _, _ = naive_outputs(fused, (64, 64), 4, outer, ratio_K, (64, 64))
        assert np.array_equal(outputs[0].numpy(), label)
        assert np.abs(outputs[1].numpy() - confidence).max() <= 1


def test_a_band_may_be_one_row_or_the_last_one_short() -> None:
    size, outer = (64, 96), window_boxes((64, 96), (64, 96), (64, 96))
    inputs = torch.randn(1, NUM_CLASSES, 16, 24), torch.zeros(NUM_CLASSES), torch.tensor(size, dtype=torch.int32)
    whole = TiledOutputs(size, 4, outer)(*inputs)
    for rows in (1, 5):
        banded = TiledOutputs(size, 4, outer, pixels_at_once=rows * 4 * 24)(*inputs)
        assert torch.equal(banded[0], whole[0])
        torch.testing.assert_close(banded[2:], whole[2:])


def test_rare_classes_are_told_apart() -> None:
    """Presence near 1e-6 would drown in the rounding of 1 + 1e-6 in float32."""
    logits = torch.zeros(1, NUM_CLASSES, 16, 16)
    logits[:, 1:] = -13.8 + torch.arange(NUM_CLASSES - 1).view(1, -1, 1, 1) * 1e-2
    outputs = PlainOutputs((64, 64), 4, [Box(0, 64, 0, 64)])(
        logits, torch.zeros(NUM_CLASSES), torch.tensor([64, 64], dtype=torch.int32)
    )
    assert bool((outputs[2][2:] > outputs[2][1:-1]).all())
