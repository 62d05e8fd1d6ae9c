"""The description of a segmentation network that a release carries: enough to rebuild it, nothing more."""

from typing import Literal

from pydantic import Field

from exchange.storage.records import Record

Encoder = Literal[
    "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5", "mit_custom", "resnet101_v1c", "efficientnet_lite0"
]
Head = Literal["daformer", "deeplabv2", "modified_aspp", "light"]


class NetworkConfig(Record):
    """One HRDA network (Hoyer et al., ECCV 2022): an encoder, a head and how the detail branch is attached.

    `dims` holds what differs from the encoder's and head's published sizes, by the names of
    `adaptation.learning.networks.hrda.build_hrda`; for `mit_custom` it must name the sizes of every stage.
    """

    encoder: Encoder
    head: Head
    num_classes: int = Field(default=19, ge=2, le=254)
    detail: bool = True
    """False leaves the context branch alone: at half resolution, or in full where `dims` say `context_divisor` 1."""
    dims: dict[str, int | tuple[int, ...]] = Field(default={})


class WindowConfig(Record):
    """The nested windows of HRDA's test mode, (rows, columns) in pixels of the frame.

    Outer windows are whole HRDA passes whose full-resolution logits are averaged; inside each, detail windows
    cover it with overlap. An outer crop that reaches the frame's size means one pass over the whole frame.
    """

    outer_crop: tuple[int, int]
    outer_stride: tuple[int, int]
    detail_crop: tuple[int, int]
    detail_stride: tuple[int, int]


def whole_frame_windows(frame_size: tuple[int, int]) -> WindowConfig:
    """One pass over the whole frame; square detail windows of half its shorter side, overlapping by half.

    Window sides are rounded down to multiples of 32, strides to half of that.
    """
    detail = max(min(frame_size) // 64 * 32, 32)
    return WindowConfig(
        outer_crop=frame_size,
        outer_stride=frame_size,
        detail_crop=(detail, detail),
        detail_stride=(detail // 2, detail // 2),
    )
