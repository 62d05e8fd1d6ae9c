"""HRDA: one network reads a frame twice, as a whole at half resolution and in detail windows at full resolution.

Hoyer, Dai and Van Gool, "HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation", ECCV 2022.
Attention computed from the context decides, per class and place, which of the two predictions counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.fused_maps import FusedMaps, HRDALogits
from adaptation.learning.networks.layers import Head, resized
from adaptation.learning.networks.windows import Box, NestedWindows, Size, average_windows, nested_windows
from exchange.networks import WindowConfig


@dataclass(frozen=True)
class _Reading:
    features: list[Tensor]
    embedding: Tensor
    logits: Tensor


def _pasted(maps: Tensor, box: Box, size: Sequence[int]) -> Tensor:
    """Zeros of `size` with `maps` in the box."""
    return F.pad(maps, (box.x1, size[1] - box.x2, box.y1, size[0] - box.y2))


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _fused(context: Tensor, detail: Tensor, attention: Tensor) -> Tensor:
    """The authors' order: the context is weighted before it is enlarged, the attention enlarged after its sigmoid."""
    context, attention = _doubled((1 - attention) * context), _doubled(attention)
    if context.shape[-2:] != detail.shape[-2:]:
        cells = [tuple(maps.shape[-2:]) for maps in (detail, context)]
        raise ValueError(
            f"the frame (or outer window) has {cells[0]} cells of detail but {cells[1]} of context: "
            "its size must be a multiple of the network's size_multiple"
        )
    return attention * detail + context


class DecodeHead(nn.Module):
    """One head for both branches, and the scale attention where there are two."""

    def __init__(self, head: Head, scale_attention: nn.Module | None) -> None:
        super().__init__()
        self.head = head
        self.scale_attention = scale_attention


class HRDA(nn.Module):
    """Context branch, detail branch and scale attention around one encoder and one head.

    Without `scale_attention` it is the context branch alone; `context_divisor` is the factor by which the context is
    smaller than the frame (2; 1 for a network that reads the frame at full resolution and has no detail branch).
    Parameters carry the authors' names: `backbone.*`, `decode_head.head.*`, `decode_head.scale_attention.*`.
    """

    def __init__(
        self, encoder: nn.Module, head: Head, scale_attention: nn.Module | None, context_divisor: int = 2
    ) -> None:
        super().__init__()
        self.backbone = encoder
        self.decode_head = DecodeHead(head, scale_attention)
        self.context_divisor = context_divisor

    @property
    def detail(self) -> bool:
        """Whether there is a detail branch."""
        return self.decode_head.scale_attention is not None

    @property
    def stride(self) -> int:
        """Pixels per cell of the fused maps."""
        return self.decode_head.head.stride * (1 if self.detail else self.context_divisor)

    @property
    def size_multiple(self) -> int:
        """Rows and columns of a frame (or outer window) must be multiples of this, or the two grids disagree."""
        return self.decode_head.head.stride * self.context_divisor

    def forward_train(
        self, images_N3HW: Tensor, detail_box: Box | None = None, *, with_embedding: bool = False
    ) -> HRDALogits:
        """Read the context and one detail crop, the same for the whole batch.

        `detail_box` is needed with a detail branch and ignored without; its edges are multiples of the head's stride,
        better of `size_multiple` (otherwise the attention's mask is truncated to whole cells).

        Raises:
            ValueError: no box, or one off the grid.
        """
        context = self._read_context(images_N3HW)
        if not self.detail:
            embedding = context.embedding if with_embedding else None
            return HRDALogits(context.logits, context.logits, context.features, embedding_NDHW=embedding)
        stride = self.stride
        if detail_box is None or any(edge % stride for edge in detail_box):
            raise ValueError(f"the detail box must be given, its edges multiples of {stride} pixels; got {detail_box}")
        detail = self._read(detail_box.crop(images_N3HW))
        attention = self._attention(context.features)
        context_size = attention.shape[-2:]
        context_box = detail_box.divided(stride * self.context_divisor)
        attention = _pasted(context_box.crop(attention), context_box, context_size)
        canvas_size = [side * self.context_divisor for side in context_size]

        def pasted(maps: Tensor) -> Tensor:
            return _pasted(maps, detail_box.divided(stride), canvas_size)

        embedding = None
        if with_embedding:
            embedding = _fused(context.embedding, pasted(detail.embedding), attention.mean(1, keepdim=True))
        return HRDALogits(
            fused_NKHW=_fused(context.logits, pasted(detail.logits), attention),
            context_NKHW=(1 - attention) * context.logits,
            context_features=context.features,
            detail_NKHW=detail.logits,
            detail_features=detail.features,
            detail_box=detail_box,
            embedding_NDHW=embedding,
        )

    def fused(
        self,
        images_N3HW: Tensor,
        detail_crop: Size,
        detail_stride: Size,
        *,
        with_embedding: bool = False,
        window_batch: int | None = None,
    ) -> FusedMaps:
        """Read the images as one outer window, at the head's stride."""
        size = (images_N3HW.shape[-2], images_N3HW.shape[-1])
        nested = nested_windows(size, size, size, detail_crop, detail_stride)
        return self.fuse_windows(images_N3HW, nested, with_embedding=with_embedding, window_batch=window_batch)

    def forward_whole(
        self, images_N3HW: Tensor, detail_crop: Size, detail_stride: Size, *, window_batch: int | None = None
    ) -> Tensor:
        """Full-size logits of the images read as one outer window (the authors' whole mode)."""
        fused = self.fused(images_N3HW, detail_crop, detail_stride, window_batch=window_batch)
        return resized(fused.logits_NKHW, images_N3HW.shape[-2:])

    def forward_frame(
        self,
        images_N3HW: Tensor,
        windows: WindowConfig,
        *,
        share_windows: bool = True,
        window_batch: int | None = None,
    ) -> Tensor:
        """Full-size logits by the authors' nested windows: full-resolution logits of outer windows are averaged.

        A detail window that outer windows share is read once; `share_windows=False` reads it once per outer window,
        all outer windows in one batch, as the released code does. At most `window_batch` windows go through the
        network at once (all by default; batch norm in train mode needs all).
        """
        size = (images_N3HW.shape[-2], images_N3HW.shape[-1])
        nested = nested_windows(
            size, windows.outer_crop, windows.outer_stride, windows.detail_crop, windows.detail_stride
        )
        if share_windows:
            fused = self.fuse_windows(images_N3HW, nested, window_batch=window_batch).logits_NKHW
        else:
            outer = torch.cat([box.crop(images_N3HW) for box in nested.outer])
            fused = self.fused(outer, windows.detail_crop, windows.detail_stride, window_batch=window_batch).logits_NKHW
        full = [resized(outer, nested.outer[0].size) for outer in fused.chunk(len(nested.outer))]
        return average_windows(full, nested.outer)

    def fuse_windows(
        self,
        images_N3HW: Tensor,
        nested: NestedWindows,
        *,
        with_embedding: bool = False,
        window_batch: int | None = None,
    ) -> FusedMaps:
        """Fused maps of every outer window at the head's stride, stacked on the batch axis window by window.

        Raises:
            ValueError: the grids of context and detail do not meet; see `size_multiple`.
        """
        contexts = [self._read_context(batch) for batch in _batches(images_N3HW, nested.outer, window_batch)]
        logits = torch.cat([reading.logits for reading in contexts])
        embedding = torch.cat([reading.embedding for reading in contexts]) if with_embedding else None
        if not self.detail:
            return FusedMaps(logits, embedding)
        attention = torch.cat([self._attention(reading.features) for reading in contexts])
        windows = [self._read(batch) for batch in _batches(images_N3HW, nested.detail, window_batch)]
        logits = _fused(logits, self._canvases([window.logits for window in windows], nested), attention)
        if embedding is not None:
            canvases = self._canvases([window.embedding for window in windows], nested)
            embedding = _fused(embedding, canvases, attention.mean(1, keepdim=True))
        return FusedMaps(logits, embedding)

    def _read(self, images_N3HW: Tensor) -> _Reading:
        features = self.backbone(images_N3HW)
        head = self.decode_head.head
        embedding = head.embed(features)
        return _Reading(features, embedding, head.classify(embedding))

    def _read_context(self, images_N3HW: Tensor) -> _Reading:
        if self.context_divisor > 1:  # bilinear at half size is the mean of 2x2 pixels
            images_N3HW = F.avg_pool2d(images_N3HW, self.context_divisor)
        return self._read(images_N3HW)

    def _attention(self, context_features: list[Tensor]) -> Tensor:
        if self.decode_head.scale_attention is None:
            raise RuntimeError("a network without detail branch has no scale attention")
        return torch.sigmoid(self.decode_head.scale_attention(context_features))

    def _canvases(self, batches: list[Tensor], nested: NestedWindows) -> Tensor:
        """Average the detail windows' maps on each outer window's canvas."""
        windows = torch.cat(batches).chunk(len(nested.detail))
        canvases = []
        for outer, members in zip(nested.outer, nested.members, strict=True):
            boxes = [nested.detail[i].shifted(-outer.y1, -outer.x1).divided(self.stride) for i in members]
            canvases.append(average_windows([windows[i] for i in members], boxes))
        return torch.cat(canvases)


def _batches(images_N3HW: Tensor, boxes: Sequence[Box], count: int | None) -> Iterator[Tensor]:
    """Cut the boxes out, at most `count` per batch."""
    count = count or len(boxes)
    for start in range(0, len(boxes), count):
        yield torch.cat([box.crop(images_N3HW) for box in boxes[start : start + count]])
