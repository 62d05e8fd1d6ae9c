"""CVAT for images 1.1: a region goes out as a mask, and comes back as whatever shape somebody left in its place.

    images/<sha256>.<jpg|png>    the frames, for a task of CVAT
    annotations.xml              one mask a region, "unlabelled" until somebody names it; uploaded as annotations

A mask's run lengths go row by row through its tight box, the pixels outside of the object first.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.annotation_files.asked_frames import AskedFrame, image_file
from clients.annotation_files.refusals import FileRefused, Refusal, read_bounded
from exchange.label_space import CLASS_NAMES, PALETTE_RGB
from exchange.regions import UNSURE, RegionTask
from exchange.segments import segment_of

ANNOTATIONS, IMAGES = "annotations.xml", "images"
UNLABELLED, UNSURE_NAME = "unlabelled", "unsure"
_LABELS = {name: train_id for train_id, name in enumerate(CLASS_NAMES)} | {UNSURE_NAME: UNSURE, UNLABELLED: None}
_MOST_BYTES = 256 << 20


class Shape(NamedTuple):
    """What somebody drew, or left, in a frame."""

    place: str
    """For people: where in the file."""
    frame_sha256: str
    label: int | None
    """A train id or UNSURE; None where nobody has said anything."""
    inside_HW: NDArray[np.bool_]


def write_cvat(folder: Path, frames: Iterator[AskedFrame]) -> int:
    """Returns the number of regions. Raises OSError; RecordError or StorageError of the frames."""
    (folder / IMAGES).mkdir(parents=True)
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    colors = [*("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in PALETTE_RGB), "#808080", "#ffffff"]
    for name, color in zip((*CLASS_NAMES, UNSURE_NAME, UNLABELLED), colors, strict=True):
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "color").text = color
        ET.SubElement(label, "type").text = "any"
    regions = 0
    for number, frame in enumerate(frames):
        ending, data = image_file(frame.frame)
        name = f"{frame.sha256}.{ending}"
        (folder / IMAGES / name).write_bytes(data)
        rows, columns = frame.size_hw
        attributes = {"id": str(number), "name": name, "width": str(columns), "height": str(rows)}
        image = ET.SubElement(root, "image", attributes)
        for region in frame.regions:
            ET.SubElement(image, "mask", _mask(region.task))
            regions += 1
    ET.indent(root)
    (folder / ANNOTATIONS).write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
    return regions


def read_cvat(path: Path, sizes: Mapping[str, tuple[int, int]]) -> Iterator[Shape | Refusal]:
    """The shapes of an annotations.xml, or of a folder that has one, in frames that are known.

    Args:
        sizes: rows and columns of the known frames, by SHA-256.

    Raises:
        FileRefused: it is no such file, whole and of this version.
        OSError: it cannot be read.
    """
    path = path / ANNOTATIONS if path.is_dir() else path
    if not path.is_file():
        raise FileRefused(f"{path} is missing: give what CVAT exported, or --format cityscapes")
    data = read_bounded(path, _MOST_BYTES)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FileRefused(f"{path} declares entities, which CVAT does not: export it anew")
    try:
        root = ET.fromstring(data)  # noqa: S314 - without a DTD there is nothing to expand
    except ET.ParseError as error:
        raise FileRefused(f"{path} is no whole XML file: {error}") from error
    if root.tag != "annotations" or root.findtext("version") != "1.1" or root.find("track") is not None:
        raise FileRefused(f"{path} is no CVAT for images 1.1: choose that format when you export from CVAT")
    for image in root.iter("image"):
        yield from _shapes(image, sizes)


def name_of(label: int | None) -> str:
    if label is None:
        return UNLABELLED
    return UNSURE_NAME if label == UNSURE else CLASS_NAMES[label]


def _mask(task: RegionTask) -> dict[str, str]:
    box = task.box
    return {
        "label": name_of(task.label),
        "source": "manual",
        "occluded": "0",
        "rle": ", ".join(map(str, task.runs)),
        "left": str(box.left),
        "top": str(box.top),
        "width": str(box.right - box.left),
        "height": str(box.bottom - box.top),
        "z_order": "0",
    }


def _shapes(image: ET.Element, sizes: Mapping[str, tuple[int, int]]) -> Iterator[Shape | Refusal]:
    name = image.get("name", "")
    sha256, told = Path(name).stem, (image.get("height", ""), image.get("width", ""))
    size_hw = sizes.get(sha256)
    if size_hw is None:
        yield Refusal(name, "no region of this frame was asked about: keep the names of the exported images")
        return
    if told != tuple(map(str, size_hw)):
        was = f"{size_hw[0]} x {size_hw[1]}"
        yield Refusal(name, f"it is {' x '.join(told)} where the frame is {was}: label it at its own size")
        return
    for number, element in enumerate(element for element in image if element.tag != "tag"):
        place, label = f"{name}, {element.tag} {number + 1}", element.get("label", "")
        if label not in _LABELS:
            yield Refusal(place, f"there is no class {label!r}: use the names that were exported")
            continue
        try:
            yield Shape(place, sha256, _LABELS[label], _area(element, size_hw))
        except KeyError as error:
            yield Refusal(place, f"it has no {error.args[0]}")
        except (ValueError, OverflowError) as error:
            yield Refusal(place, f"it is no area in its image: {error}")


def _lengths(text: str) -> list[int]:
    try:
        return [int(length) for length in text.split(",")]
    except ValueError:
        raise ValueError(f"run lengths {text[:64]!r}: give whole numbers with commas") from None


def _area(element: ET.Element, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Raises KeyError, ValueError or OverflowError where it is none."""
    drawn_HW = np.zeros(size_hw, np.uint8)
    if element.tag == "mask":
        top, left, height, width = (int(element.attrib[key]) for key in ("top", "left", "height", "width"))
        lengths = _lengths(element.attrib["rle"])
        if min(top, left) < 0 or min(height, width) < 1 or top + height > size_hw[0] or left + width > size_hw[1]:
            raise ValueError(
                f"a mask of {height} x {width} at {top}, {left} in an image of {size_hw[0]} x {size_hw[1]}"
            )
        drawn_HW[top : top + height, left : left + width] = segment_of(lengths, (height, width))
    elif element.tag == "polygon":
        points_N2 = np.array([[float(x) for x in point.split(",")] for point in element.attrib["points"].split(";")])
        if points_N2.ndim != 2 or points_N2.shape[1] != 2 or not np.isfinite(points_N2).all():
            raise ValueError("points that are no polygon")
        if (points_N2 < -1).any() or (points_N2 > (size_hw[1] + 1, size_hw[0] + 1)).any():
            raise ValueError("points outside of the image")
        cv2.fillPoly(drawn_HW, [np.floor(points_N2).astype(np.int32)], (1,))
    elif element.tag == "box":
        x0, y0, x1, y1 = (float(element.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        if not (0 <= x0 < x1 <= size_hw[1] and 0 <= y0 < y1 <= size_hw[0]):
            raise ValueError(f"a box from {y0:g}, {x0:g} to {y1:g}, {x1:g}")
        drawn_HW[round(y0) : round(y1), round(x0) : round(x1)] = 1
    else:
        raise ValueError(f"a {element.tag}; masks, polygons and boxes are areas")
    return drawn_HW > 0
