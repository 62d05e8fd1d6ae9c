"""One labelled frame on disk, and how it becomes an RGB image and a map of train ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from exchange.images.errors import ImageError
from exchange.images.frames import decode_file, exif_orientation
from exchange.images.labels import ColorPalette, LabelImageError, decode_index_png, decode_rgb16_png
from exchange.label_space import (
    CAMVID_ID_TO_TRAIN_ID,
    CAMVID_VOID_ID,
    CITYSCAPES_ID_TO_TRAIN_ID,
    IGNORE_ID,
    NUM_CLASSES,
    SYNTHIA_ID_TO_TRAIN_ID,
    lookup_table,
)

LabelIds = Literal["cityscapes", "gta5", "train", "synthia", "camvid"]
"""Which ids a label file holds: Cityscapes labelIds, the same as indices of a colour palette, train ids, or others'."""


class DataError(Exception):
    """Labelled data that is missing or cannot be read as its layout says; the message names the file and the remedy."""


@dataclass(frozen=True)
class LabelledFrame:
    image: Path
    labels: Path
    label_ids: LabelIds
    sequence: str
    """The drive or city that the frame belongs to; empty where the layout does not tell."""


def _train_ids_table() -> NDArray[np.int16]:
    return lookup_table(MappingProxyType({k: k for k in range(NUM_CLASSES)}), range(IGNORE_ID, IGNORE_ID + 1))


def _cityscapes_table() -> NDArray[np.int16]:
    table = lookup_table(CITYSCAPES_ID_TO_TRAIN_ID, range(35))
    table[IGNORE_ID] = IGNORE_ID  # what id -1 becomes in eight bits
    return table


_TABLES: Mapping[LabelIds, NDArray[np.int16]] = {
    "cityscapes": _cityscapes_table(),
    "gta5": _cityscapes_table(),
    "train": _train_ids_table(),
    "synthia": lookup_table(SYNTHIA_ID_TO_TRAIN_ID, range(23)),
    "camvid": lookup_table(CAMVID_ID_TO_TRAIN_ID, range(CAMVID_VOID_ID, CAMVID_VOID_ID + 1)),
}
_COLORS: Mapping[LabelIds, ColorPalette] = {
    "cityscapes": "none",
    "gta5": "cityscapes",
    "train": "train",
    "camvid": "none",
}


def read_image(path: Path) -> NDArray[np.uint8]:
    """Reads a JPEG or PNG as RGB, uint8 [H, W, 3].

    Raises:
        DataError: the file is missing, is no whole image of a kind that `exchange.images.frames` reads, or has an EXIF
            orientation: some tools would turn it, and whether its labels are turned nobody can tell.
    """
    try:
        data = path.read_bytes()
        image_HW3 = decode_file(data)
    except (OSError, ImageError) as error:
        problem = error.problem if isinstance(error, ImageError) else error.strerror
        raise DataError(
            f"{path} cannot be read as an image ({problem}): restore the file, or remove it and its labels"
        ) from error
    if (orientation := exif_orientation(data)) != 1:
        raise DataError(
            f"{path} has EXIF orientation {orientation}: store its pixels as its labels lie and remove the tag"
        )
    return image_HW3


def _read_ids(frame: LabelledFrame) -> NDArray[Any]:
    try:
        data = frame.labels.read_bytes()
        if frame.label_ids == "synthia":
            return decode_rgb16_png(data)[..., 0]  # class id in R and instance in G
        return decode_index_png(data, _COLORS[frame.label_ids])
    except (OSError, LabelImageError) as error:
        raise DataError(f"{frame.labels} cannot be read as a label image: restore it ({error})") from error


def read_labels(frame: LabelledFrame) -> NDArray[np.uint8]:
    """Reads a frame's labels as train ids, uint8 [H, W], 255 where ignored.

    Raises:
        DataError: the file is missing, is no label image, or holds an id that its data set does not define.
    """
    ids = _read_ids(frame)
    train_ids = _TABLES[frame.label_ids][ids]
    if train_ids.min() < 0:
        unknown = sorted({int(i) for i in np.unique(ids[train_ids < 0])})
        raise DataError(
            f"{frame.labels} holds id {', '.join(map(str, unknown[:5]))}, which {frame.label_ids} labels do not define:"
            " check that --layout names the data set that this folder holds"
        )
    return np.asarray(train_ids, dtype=np.uint8)


def read_frame(frame: LabelledFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads RGB uint8 [H, W, 3] and train ids uint8 [H, W].

    Raises:
        DataError: as `read_image` and `read_labels`, or their sizes differ.
    """
    image, labels = read_image(frame.image), read_labels(frame)
    if image.shape[:2] != labels.shape:
        raise DataError(
            f"{frame.labels} is {labels.shape[0]}x{labels.shape[1]} but {frame.image} is"
            f" {image.shape[0]}x{image.shape[1]} (rows x columns): make them one size, or remove both"
        )
    return image, labels
