"""The pixels that a shape of CVAT covers; what a shape says and nobody here understands is refused by its name.

Masks are whole pixels. A box or an ellipse covers the pixels whose centres lie in it, turned clockwise by its rotation
about its own centre, as CVAT draws it; what a turn takes out of the image is cut off, as in CVAT. A polygon covers its
border's pixels, too.
"""

import math
from xml.etree.ElementTree import Element

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.regions.segments import segment_of

_OF_ALL = {"label", "source", "occluded", "z_order", "group_id"}
_OF_KIND = {
    "mask": {"rle", "left", "top", "width", "height"},
    "polygon": {"points"},
    "box": {"xtl", "ytl", "xbr", "ybr", "rotation"},
    "ellipse": {"cx", "cy", "rx", "ry", "rotation"},
}
_MOST_POINTS = 4096
"""Of a polygon; the search for crossings is quadratic."""
_FARTHEST_PX = 1e6
_ROUNDING_PX = 1e-6
"""Turns are computed in floating point: an edge on a pixel's centre stays where it is."""


def level_of(shape: Element) -> int:
    """Return the z_order of a shape that is understood whole; a higher one is painted over a lower one.

    Raises:
        ValueError: something about the shape is not understood; the message names it and says what to do.
    """
    if shape.tag not in _OF_KIND:
        raise ValueError(f"a {shape.tag} is no area: draw a mask, polygon, box or ellipse over a region, or delete it")
    if strange := sorted({*shape.keys()} - _OF_ALL - _OF_KIND[shape.tag]):
        raise ValueError(f"attribute {strange[0]} of a {shape.tag} is not understood: draw the shape without it")
    if len(shape):
        name = f"{shape[0].tag} {shape[0].get('name', '')!r}"
        raise ValueError(f"{name} in a {shape.tag} is not understood: use the labels as exported, without attributes")
    if shape.get("occluded", "0") not in ("0", "1"):
        raise ValueError(f"attribute occluded is {shape.get('occluded', '')[:64]!r}: give 0 or 1")
    _whole(shape, "group_id", "0")
    return _whole(shape, "z_order", "0")


def told_level_of(shape: Element) -> float:
    """Return the z_order of a shape of any kind; infinity where it tells none that can be read."""
    try:
        return _whole(shape, "z_order", "0")
    except ValueError:
        return math.inf


def area_of(shape: Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of a shape that `level_of` understood, bool [H, W], at least one.

    Raises:
        ValueError: it is no area in an image of that size; the message names the attribute.
    """
    areas = {"mask": _mask, "polygon": _polygon, "box": _box, "ellipse": _ellipse}
    inside_HW = areas[shape.tag](shape, size_hw)
    if not inside_HW.any():
        raise ValueError(f"a {shape.tag} that covers no pixel")
    return inside_HW


def _mask(shape: Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    top, left, height, width = (_whole(shape, key) for key in ("top", "left", "height", "width"))
    if min(top, left) < 0 or min(height, width) < 1 or top + height > size_hw[0] or left + width > size_hw[1]:
        raise ValueError(f"a mask of {height} x {width} at {top}, {left} in an image of {size_hw[0]} x {size_hw[1]}")
    rle = _text(shape, "rle")
    try:
        lengths = [int(length) for length in rle.split(",")]
    except ValueError:
        raise ValueError(f"attribute rle is {rle[:64]!r}: give whole numbers with commas") from None
    inside_HW = np.zeros(size_hw, np.bool_)
    try:
        inside_HW[top : top + height, left : left + width] = segment_of(lengths, (height, width))
    except ValueError as error:
        raise ValueError(f"attribute rle: {error}") from None
    return inside_HW


def _polygon(shape: Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    text = _text(shape, "points")
    pairs = [point.split(",") for point in text.split(";")]
    if not 3 <= len(pairs) <= _MOST_POINTS or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"attribute points is {text[:64]!r}: give 3 to {_MOST_POINTS} points as x,y;x,y;x,y")
    points_N2 = np.array([[_finite("points", x) for x in pair] for pair in pairs])
    if (points_N2 < -1).any() or (points_N2 > (size_hw[1] + 1, size_hw[0] + 1)).any():
        raise ValueError("attribute points: points outside of the image; draw the polygon inside")
    if _crosses_itself(points_N2):
        raise ValueError("attribute points: the polygon's border crosses itself; draw it without a crossing")
    if cv2.contourArea(points_N2.astype(np.float32)) == 0:
        raise ValueError("attribute points: a line without an area")
    drawn_HW = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(drawn_HW, [np.floor(points_N2).astype(np.int32)], (1,))
    return drawn_HW > 0


def _box(shape: Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    x0, y0, x1, y1 = (_number(shape, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    rotation = _number(shape, "rotation", "0")
    is_in_image = x0 >= 0 and y0 >= 0 and x1 <= size_hw[1] and y1 <= size_hw[0]
    if not (x0 < x1 and y0 < y1) or (rotation % 360 == 0 and not is_in_image):
        rows, columns = size_hw
        raise ValueError(f"a box from {y0:g}, {x0:g} to {y1:g}, {x1:g} in an image of {rows} x {columns}")
    half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
    window, along_HW, across_HW = _turned(((x0 + x1) / 2, (y0 + y1) / 2), (half_x, half_y), rotation, size_hw)
    inside_HW = np.zeros(size_hw, np.bool_)
    inside_HW[window] = (
        (along_HW >= -half_x - _ROUNDING_PX)
        & (along_HW < half_x - _ROUNDING_PX)
        & (across_HW >= -half_y - _ROUNDING_PX)
        & (across_HW < half_y - _ROUNDING_PX)
    )
    return inside_HW


def _ellipse(shape: Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    x, y, half_x, half_y = (_number(shape, key) for key in ("cx", "cy", "rx", "ry"))
    if not (half_x > 0 and half_y > 0):
        raise ValueError(f"an ellipse with radii rx {half_x:g} and ry {half_y:g}")
    window, along_HW, across_HW = _turned((x, y), (half_x, half_y), _number(shape, "rotation", "0"), size_hw)
    inside_HW = np.zeros(size_hw, np.bool_)
    inside_HW[window] = (along_HW / half_x) ** 2 + (across_HW / half_y) ** 2 <= 1
    return inside_HW


def _turned(
    centre_xy: tuple[float, float], half_xy: tuple[float, float], rotation_degrees: float, size_hw: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]:
    """Return the part of the image that a turned shape can reach, and where its pixels' centres lie along the
    shape's own two axes, from its centre, in pixels [H, W]."""
    reach = math.hypot(*half_xy) + 1
    window = tuple(
        slice(*(int(min(max(edge, 0), length)) for edge in (centre - reach, centre + reach + 1)))
        for centre, length in zip(centre_xy[::-1], size_hw, strict=True)
    )
    y_H1 = np.arange(window[0].start, window[0].stop)[:, None] + 0.5 - centre_xy[1]
    x_W = np.arange(window[1].start, window[1].stop) + 0.5 - centre_xy[0]
    angle = math.radians(rotation_degrees % 360)
    cosine, sine = math.cos(angle), math.sin(angle)
    return (window[0], window[1]), x_W * cosine + y_H1 * sine, y_H1 * cosine - x_W * sine


def _crosses_itself(points_N2: NDArray[np.float64]) -> bool:
    """Whether two edges cross; edges that only touch do not."""
    ends_N2 = np.roll(points_N2, -1, axis=0)
    for number in range(len(points_N2)):
        begin, end = points_N2[number], ends_N2[number]
        others, other_ends = points_N2[number + 1 :], ends_N2[number + 1 :]
        sides = _side(begin, end, others) * _side(begin, end, other_ends)
        other_sides = _side(others, other_ends, begin) * _side(others, other_ends, end)
        if ((sides < 0) & (other_sides < 0)).any():
            return True
    return False


def _side(begin: NDArray[np.float64], end: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return on which side of a line a point lies: 1 or -1; 0 on it."""
    line, offset = end - begin, point - begin
    return np.sign(line[..., 0] * offset[..., 1] - line[..., 1] * offset[..., 0])


def _text(shape: Element, key: str, default: str | None = None) -> str:
    text = shape.get(key, default)
    if text is None:
        raise ValueError(f"a {shape.tag} without attribute {key}")
    return text


def _whole(shape: Element, key: str, default: str | None = None) -> int:
    text = _text(shape, key, default)
    try:
        return int(_plain(text))
    except ValueError:
        raise ValueError(f"attribute {key} is {text[:64]!r}: give a whole number") from None


def _number(shape: Element, key: str, default: str | None = None) -> float:
    return _finite(key, _text(shape, key, default))


def _finite(key: str, text: str) -> float:
    try:
        number = float(_plain(text))
    except ValueError:
        number = math.nan
    if not abs(number) <= _FARTHEST_PX:
        raise ValueError(f"attribute {key} has {text[:64]!r}: give a finite number, {_FARTHEST_PX:.0f} at most")
    return number


def _plain(text: str) -> str:
    """Return the text of a number; Python alone reads underscores between digits."""
    if "_" in text:
        raise ValueError(text)
    return text
