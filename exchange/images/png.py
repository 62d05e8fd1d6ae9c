"""PNG frames: 8 bits a channel, or a palette of 1 to 8 bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exchange.images.errors import ImageError
from exchange.images.whole_png import GRAY, MAGIC, PALETTE, RGB, Header, damaged, read_header, take_apart

__all__ = ["MAGIC", "decode", "read_exif", "read_size"]


def read_size(data: bytes) -> tuple[int, int]:
    """Return rows and columns. Raises ImageError where the header is damaged or of a kind that is not supported."""
    header = _supported_header(data)
    return header.height, header.width


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return RGB uint8 [H, W, 3], read-only. Raises ImageError where the file is truncated or damaged."""
    header = _supported_header(data)
    whole = take_apart(data)
    samples = whole.samples()
    if header.color == RGB:
        return samples
    if header.color == PALETTE:
        if samples.max() >= len(whole.palette_E3):
            raise damaged("its pixels name colours that its palette does not have")
        return np.asarray(whole.palette_E3[samples])
    if header.color == GRAY:
        return np.asarray(Image.fromarray(samples).convert("RGB"))
    colors = samples[..., :-1]  # without alpha
    return np.ascontiguousarray(np.broadcast_to(colors, (*colors.shape[:2], 3)))


def read_exif(data: bytes) -> bytes:
    """Return the EXIF chunk, empty where there is none. Raises ImageError for a damaged file."""
    return take_apart(data).exif


def _supported_header(data: bytes) -> Header:
    header = read_header(data)
    if header.depth != 8 and (header.depth > 8 or header.color != PALETTE):
        raise ImageError(
            f"the PNG has {header.depth} bits a channel and colour type {header.color}",
            "send 8 bits a channel (a palette may have fewer), gray, RGB or palette, with or without alpha",
        )
    return header
