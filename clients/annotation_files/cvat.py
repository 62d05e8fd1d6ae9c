"""CVAT for images 1.1: a region goes out as a mask, and comes back as whatever shape somebody left in its place.

    images/<sha256>.<jpg|png>    the frames, for a task of CVAT
    annotations.xml              one mask a region, "unlabelled" until somebody names it; uploaded as annotations

A mask's run lengths go row by row through its tight box, the pixels outside of the object first.
"""

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import defusedxml.ElementTree
import numpy as np
from defusedxml import DefusedXmlException
from numpy.typing import NDArray

from clients.annotation_files.asked_frames import AskedFrame, image_file
from clients.annotation_files.cvat_shapes import area_of, level_of, told_level_of
from clients.annotation_files.refusals import FileRefused, Refusal, read_bounded
from exchange.images.file_names import namesakes, plain_name
from exchange.label_space import CLASS_NAMES, PALETTE_RGB
from exchange.regions.tasks import UNSURE, RegionTask

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
    """The pixels that no named shape of a higher z_order hides."""


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

    A shape that others hide whole is left out, as it is not seen in CVAT.

    Args:
        sizes: rows and columns of the known frames, by SHA-256.

    Raises:
        FileRefused: it is no such file, whole and of this version, or two of its images differ in ending or case alone.
        OSError: it cannot be read.
    """
    path = path / ANNOTATIONS if path.is_dir() else path
    if not path.is_file():
        raise FileRefused(f"{path} is missing: give what CVAT exported, or --format cityscapes")
    root = _parsed(path)
    images = root.findall("image")
    names = dict.fromkeys(Path(image.get("name", "")) for image in images)
    if twins := namesakes(name for name in names if plain_name(name.stem) in sizes):
        raise FileRefused(f"{path} has two images of one frame, {twins[0]} and {twins[1]}: take one of them out")
    times = Counter(_sha256_of(image) for image in images)
    for image in images:
        place = f"{path.name}, image {image.get('name', '')}"
        why = _why_not(image, sizes, times)
        if why is None:
            yield from _shapes(place, image, sizes[_sha256_of(image)])
        else:
            yield Refusal(place, why)


def _parsed(path: Path) -> ET.Element:
    """Raises FileRefused where it is no CVAT for images 1.1; OSError."""
    try:
        root = defusedxml.ElementTree.fromstring(read_bounded(path, _MOST_BYTES), forbid_dtd=True)
    except DefusedXmlException as error:
        raise FileRefused(f"{path} has a DOCTYPE or declares entities, which CVAT does not: export it anew") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # the last two of encodings that are not known
        raise FileRefused(f"{path} is no whole XML file: {error}: export it anew") from error
    if root.tag != "annotations" or root.findtext("version") != "1.1":
        raise FileRefused(f"{path} is no CVAT for images 1.1: choose that format when you export from CVAT")
    if strange := sorted({child.tag for child in root} - {"version", "meta", "image"}):
        raise FileRefused(
            f"{path} holds a {strange[0]}, so that it is no CVAT for images 1.1 (tracks are of CVAT for video): choose"
            " that format when you export from CVAT"
        )
    return root


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


def _sha256_of(image: ET.Element) -> str:
    return Path(image.get("name", "")).stem


def _why_not(image: ET.Element, sizes: Mapping[str, tuple[int, int]], times: Mapping[str, int]) -> str | None:
    sha256, told = _sha256_of(image), (image.get("height", "?"), image.get("width", "?"))
    size_hw = sizes.get(sha256)
    if size_hw is None:
        return "no region of this frame was asked about: keep the names of the exported images"
    if times[sha256] > 1:
        return f"the file names it {times[sha256]} times: keep one with all of its shapes"
    if told != tuple(map(str, size_hw)):
        return f"it is {' x '.join(told)} where the frame is {size_hw[0]} x {size_hw[1]}: label it at its own size"
    return None


def _shapes(place: str, image: ET.Element, size_hw: tuple[int, int]) -> Iterator[Shape | Refusal]:
    """The shapes of one image, those that are painted last first; none that a refused one above it might hide."""
    by_level: dict[int, list[tuple[str, ET.Element]]] = {}
    highest_refused = -math.inf
    for number, element in enumerate(image, 1):
        each = f"{place}, {element.tag} {number}"
        try:
            by_level.setdefault(level_of(element), []).append((each, element))
        except ValueError as error:
            highest_refused = max(highest_refused, told_level_of(element))
            yield Refusal(each, str(error))
    above_HW = np.zeros(size_hw, np.bool_)
    for level in sorted(by_level, reverse=True):
        painted_HW = above_HW.copy()  # on one level, no shape is above another
        for each, element in by_level[level]:
            label, inside_HW = element.get("label", ""), _area_or_refusal(each, element, size_hw)
            if isinstance(inside_HW, Refusal):
                highest_refused = max(highest_refused, level)
                yield inside_HW
                continue
            if _LABELS[label] is not None:
                painted_HW |= inside_HW
                if level < highest_refused:
                    yield Refusal(each, "a shape above it is refused, and may hide it: put that one right")
                    continue
            inside_HW &= ~above_HW
            if inside_HW.any():
                yield Shape(each, _sha256_of(image), _LABELS[label], inside_HW)
        above_HW = painted_HW


def _area_or_refusal(place: str, element: ET.Element, size_hw: tuple[int, int]) -> NDArray[np.bool_] | Refusal:
    label = element.get("label", "")
    if label not in _LABELS:
        return Refusal(place, f"there is no class {label!r}: use the names that were exported")
    try:
        return area_of(element, size_hw)
    except ValueError as error:
        return Refusal(place, f"it is no area in its image: {error}: correct it in CVAT, or delete it")
