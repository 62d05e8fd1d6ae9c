"""The frame sizes and windows that a network can take."""

from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.windows import Size
from exchange.networks import WindowConfig

SMALLEST_WINDOW = 32  # what the encoders see at least; the Mix Transformer's first stage needs 29


def with_crops(windows: WindowConfig, outer_crop: Size | None, detail_crop: Size | None) -> WindowConfig:
    """The windows with other crops where they are given, every half of those."""
    changes: dict[str, Size] = {}
    for name, crop in (("outer", outer_crop), ("detail", detail_crop)):
        if crop is not None:
            changes |= {f"{name}_crop": crop, f"{name}_stride": (crop[0] // 2, crop[1] // 2)}
    return windows.model_copy(update=changes)


def check_sizes(network: HRDA, frame_size: Size, windows: WindowConfig) -> None:
    """Refuses a frame or windows that the network cannot take.

    A side along which several outer windows lie may have any length: the last window is pulled back. One that a single
    outer window spans is the network's own input.

    Raises:
        ValueError: the message names the nearest frame size, or what the windows must be multiples of.
    """
    multiple = network.size_multiple
    smallest = -(-SMALLEST_WINDOW * network.context_divisor // multiple) * multiple
    nearest = tuple(
        side if crop < side else max(round(side / multiple) * multiple, smallest)
        for side, crop in zip(frame_size, windows.outer_crop, strict=True)
    )
    if nearest != tuple(frame_size):
        raise ValueError(
            f"this network takes no frame of {_text(frame_size)}: sides must be multiples of {multiple},"
            f" at least {smallest}; the nearest is {_text(nearest)}"
        )
    _check_windows("outer", windows.outer_crop, windows.outer_stride, multiple, smallest)
    if network.detail:
        _check_windows("detail", windows.detail_crop, windows.detail_stride, network.stride, SMALLEST_WINDOW)


def _check_windows(name: str, crop: Size, stride: Size, multiple: int, smallest: int) -> None:
    windows = f"{name} windows of {_text(crop)} every {_text(stride)}"
    if any(side % multiple for side in crop) or min(crop) < smallest:
        raise ValueError(
            f"{windows} do not fit this network: their sides must be multiples of {multiple}, at least {smallest}"
        )
    if any(step % multiple for step in stride) or min(stride) < 1:
        raise ValueError(
            f"{windows} do not fit this network: their stride must be a multiple of {multiple}; one that is half of"
            f" the crop needs crops in multiples of {2 * multiple}"
        )
    if any(step > side for side, step in zip(crop, stride, strict=True)):
        raise ValueError(f"{windows} leave gaps: use a smaller stride")


def _text(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
