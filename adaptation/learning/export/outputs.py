"""From the outer windows' logits to labels, confidence and statistics: the plain computation, and a fast one for CPUs.

HRDA's authors average the full-resolution logits of overlapping outer windows (not their probabilities). Both modules
here take those logits before they are enlarged, [outer windows, K, h, w] at the head's stride, and give the tuple
(LABEL, CONFIDENCE, PRESENCE, MEAN_PROBABILITY) of `exchange.contract`.

Adjustment adds log P_target - log P_source to the logits; PRESENCE is log mean exp(probability) ("Undoing the Damage
of Label Shift", CVPR 2022, equation 17 as the authors' code has it), as log1p mean expm1, which keeps rare classes
apart from float32's rounding of 1.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.windows import Box, average_windows

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]

_WIDEST_LOG_RATIO = 80.0


class PlainOutputs(nn.Module):
    """Enlarges the logits to the frame, then two softmaxes over the whole of it."""

    def __init__(self, frame_size: tuple[int, int], stride: int, outer: Sequence[Box]) -> None:
        super().__init__()
        self.frame_size = frame_size
        self.outer = outer

    def logits(self, fused_NKHW: Tensor) -> Tensor:
        """Full-resolution logits [1, K, H, W]."""
        windows = [resized(fused_1KHW, self.outer[0].size) for fused_1KHW in fused_NKHW.split(1)]
        return average_windows(windows, self.outer)

    def forward(self, fused_NKHW: Tensor, log_prior_ratio_K: Tensor, valid_hw: Tensor) -> Outputs:
        logits_1KHW = self.logits(fused_NKHW)
        confidence_1HW, label_1HW = (logits_1KHW + log_prior_ratio_K[:, None, None]).softmax(1).max(1)
        rows, columns = (_valid(side, valid_hw[axis]) for axis, side in enumerate(self.frame_size))
        probability_1KHW = logits_1KHW.softmax(1) * (rows[:, None] * columns)  # outside: no probability of any class
        sums_K = probability_1KHW.sum((0, 2, 3)), probability_1KHW.expm1().sum((0, 2, 3))
        mean_K, excess_K = (sum_K / (rows.sum() * columns.sum()) for sum_K in sums_K)
        return _label(label_1HW[0]), _confidence(confidence_1HW[0]), excess_K.log1p(), mean_K


class TiledOutputs(nn.Module):
    """The same, arranged for a CPU's caches and for an engine that runs one operation after the other.

    A frame is cut where the set of outer windows changes. In such a tile the mean of the enlarged logits is the
    enlarged mean of the logits, with one cell of margin in which each window's own edge is repeated. Enlarging by s
    gives s x s phases: all pixels at one place within their cells are the same blend of the same neighbouring cells.
    Softmax, argmax and sums read the s phases of one column on a band of rows (2.5 MB at 19 classes), and only labels
    and confidences, a byte each, are interleaved. One softmax serves both: adjusted, p becomes p * ratio, normalised;
    ratios are taken relative to the largest, down to e^-80, so that float32 holds them and the sum is never 0.

    Enlarging is elementwise here, no resize. OpenVINO, running a network in bfloat16, rounds a resize too but leaves
    elementwise operations after the last convolution in float32; labels from rounded full-size logits would tie.
    """

    def __init__(
        self, frame_size: tuple[int, int], stride: int, outer: Sequence[Box], pixels_at_once: int = 32768
    ) -> None:
        super().__init__()
        self.frame_size = frame_size
        self.stride = stride
        self.outer = [box.divided(stride) for box in outer]
        self.pixels_at_once = pixels_at_once

    def forward(self, fused_NKHW: Tensor, log_prior_ratio_K: Tensor, valid_hw: Tensor) -> Outputs:
        # Rows and columns as [cell, phase].
        rows, columns = (
            _valid(side, valid_hw[axis]).view(-1, self.stride) for axis, side in enumerate(self.frame_size)
        )
        relative_K = (log_prior_ratio_K - log_prior_ratio_K.max()).clamp(min=-_WIDEST_LOG_RATIO)
        bands = _Bands(self.stride, self.pixels_at_once, relative_K.exp()[:, None, None])
        margined = _margined(_margined(fused_NKHW, 2), 3).split(1)
        label_rows, confidence_rows = [], []
        for ys, tiles in self._tiles():
            across = []
            for xs, members in tiles:
                box = Box(ys[0], ys[1] + 2, xs[0], xs[1] + 2)
                parts = [box.shifted(-self.outer[i].y1, -self.outer[i].x1).crop(margined[i]) for i in members]
                mean = sum(parts[1:], parts[0]) / len(parts) if len(parts) > 1 else parts[0]
                across.append(bands.read(mean, rows[slice(*ys)], columns[slice(*xs)]))
            label_rows.append(torch.cat([label for label, _ in across], 1))
            confidence_rows.append(torch.cat([confidence for _, confidence in across], 1))
        mean_K, excess_K = (sum_K / (rows.sum() * columns.sum()) for sum_K in (bands.sum_K, bands.excess_K))
        return torch.cat(label_rows), torch.cat(confidence_rows), excess_K.log1p(), mean_K

    def _tiles(self) -> Iterator[tuple[tuple[int, int], list[tuple[tuple[int, int], list[int]]]]]:
        """Row by row: the rows of cells, and for each tile its columns of cells and the outer windows that cover it."""
        columns = list(pairwise(sorted({edge for box in self.outer for edge in (box.x1, box.x2)})))
        for ys in pairwise(sorted({edge for box in self.outer for edge in (box.y1, box.y2)})):
            yield ys, [(xs, self._covering(ys, xs)) for xs in columns]

    def _covering(self, ys: tuple[int, int], xs: tuple[int, int]) -> list[int]:
        return [
            index
            for index, box in enumerate(self.outer)
            if box.y1 <= ys[0] and ys[1] <= box.y2 and box.x1 <= xs[0] and xs[1] <= box.x2
        ]


class _Bands:
    """Reads tiles band by band and phase by phase, and adds up their statistics."""

    def __init__(self, stride: int, pixels_at_once: int, ratio_K11: Tensor) -> None:
        self.stride = stride
        self.pixels_at_once = pixels_at_once
        self.ratio_K11 = ratio_K11
        self.sum_K: Tensor | float = 0.0
        self.excess_K: Tensor | float = 0.0

    def read(self, margined_1KHW: Tensor, rows_HS: Tensor, columns_WS: Tensor) -> tuple[Tensor, Tensor]:
        """LABEL and CONFIDENCE of a tile from its logits with one cell of margin all around."""
        height, width = len(rows_HS), len(columns_WS)
        strips = _phases(margined_1KHW, 3, self.stride)
        band_rows = max(self.pixels_at_once // (self.stride * width), 1)
        labels, confidences = [], []
        for start in range(0, height, band_rows):
            end = min(start + band_rows, height)
            read = [
                self._read_phases(
                    torch.cat(_phases(strip[:, :, start : end + 2], 2, self.stride)),
                    rows_HS[start:end].t(),
                    columns_WS[:, x],
                )
                for x, strip in enumerate(strips)
            ]
            labels.append(torch.cat([label for label, _ in read]))
            confidences.append(torch.cat([confidence for _, confidence in read]))

        def interleaved(bands: list[Tensor]) -> Tensor:
            phases_XYHW = torch.cat(bands, 2).view(self.stride, self.stride, height, width)
            return phases_XYHW.permute(2, 1, 3, 0).reshape(height * self.stride, width * self.stride)

        return interleaved(labels), interleaved(confidences)

    def _read_phases(self, logits_SKHW: Tensor, rows_SH: Tensor, columns_W: Tensor) -> tuple[Tensor, Tensor]:
        probability_SKHW = logits_SKHW.softmax(1)
        valid_SKHW = probability_SKHW * (rows_SH[:, None, :, None] * columns_W)
        self.sum_K = self.sum_K + valid_SKHW.sum((0, 2, 3))
        self.excess_K = self.excess_K + valid_SKHW.expm1().sum((0, 2, 3))
        adjusted_SKHW = probability_SKHW * self.ratio_K11
        best_S1HW, label_S1HW = adjusted_SKHW.topk(1, 1)
        return _label(label_S1HW), _confidence(best_S1HW / adjusted_SKHW.sum(1, keepdim=True))


def _margined(maps: Tensor, axis: int) -> Tensor:
    """Repeats the first and the last cell. (Torch's own padding is exported as a gather, ten times as slow.)"""
    return torch.cat([maps.narrow(axis, 0, 1), maps, maps.narrow(axis, maps.shape[axis] - 1, 1)], axis)


def _phases(margined: Tensor, axis: int, scale: int) -> list[Tensor]:
    """Bilinear enlargement along one axis, corners not aligned: one tensor per place within a cell, margin consumed."""
    cells = margined.shape[axis] - 2
    before, here, after = (margined.narrow(axis, start, cells) for start in range(3))
    to_before, to_after = before - here, after - here
    offsets = [(phase + 0.5) / scale - 0.5 for phase in range(scale)]  # from the cell's centre
    return [here + (to_before if offset < 0 else to_after) * abs(offset) for offset in offsets]


def _valid(side: int, limit: Tensor) -> Tensor:
    """float32 [side]: 1 before the limit, 0 from it on."""
    return (torch.arange(side, device=limit.device) < limit).float()


def _label(index: Tensor) -> Tensor:
    return index.to(torch.uint8)


def _confidence(probability: Tensor) -> Tensor:
    return (probability * 255).round().to(torch.uint8)
