"""The 19 Cityscapes classes by train id, and the maps that bring other data sets to them.

255 is the ignore id at every interface of roadshift.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

IGNORE_ID = 255

CLASS_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
NUM_CLASSES = len(CLASS_NAMES)
TRAIN_ID = MappingProxyType({name: index for index, name in enumerate(CLASS_NAMES)})

PALETTE_RGB = np.array(
    [
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""The Cityscapes colours, uint8 [19, 3] in RGB order; anything else is drawn black."""

THING_CLASSES = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
"""Countable things, the classes of HRDA's feature distance."""

CITYSCAPES_ID_TO_TRAIN_ID = MappingProxyType(
    {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
     28: 15, 31: 16, 32: 17, 33: 18}
)  # fmt: skip
"""Cityscapes labelIds, and GTA5's, which follow them; every other id from 0 to 34 (and -1) is ignored."""

SYNTHIA_ID_TO_TRAIN_ID = MappingProxyType(
    {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15,
     20: 16, 12: 17, 11: 18}
)  # fmt: skip
"""SYNTHIA's RAND-CITYSCAPES class ids; terrain, truck and train do not occur in its frames."""

CAMVID_CLASS_NAMES = (
    "sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
CAMVID_VOID_ID = 11
CAMVID_ID_TO_TRAIN_ID = MappingProxyType({0: 10, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 13, 9: 11, 10: 18})
TRAIN_ID_TO_CAMVID_ID = (3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)
"""The CamVid class that each of the 19 train ids is scored as (wall as building, rider as bicyclist, ...)."""


@dataclass(frozen=True)
class ClassSubset:
    """The classes over which a score is averaged.

    `names` are the scored classes; `from_train_id[k]` is the scored class that train id k counts as, 255 for none.
    """

    names: tuple[str, ...]
    from_train_id: tuple[int, ...]


def _subset(train_ids: tuple[int, ...]) -> ClassSubset:
    place = {train_id: index for index, train_id in enumerate(train_ids)}
    return ClassSubset(
        names=tuple(CLASS_NAMES[train_id] for train_id in train_ids),
        from_train_id=tuple(place.get(train_id, IGNORE_ID) for train_id in range(NUM_CLASSES)),
    )


SCORED_CLASSES = MappingProxyType(
    {
        "19": _subset(tuple(range(NUM_CLASSES))),
        "16": _subset(tuple(k for k in range(NUM_CLASSES) if k not in (9, 14, 16))),
        "13": _subset(tuple(k for k in range(NUM_CLASSES) if k not in (3, 4, 5, 9, 14, 16))),
        "camvid11": ClassSubset(names=CAMVID_CLASS_NAMES, from_train_id=TRAIN_ID_TO_CAMVID_ID),
    }
)
"""All 19; the 16 and 13 that SYNTHIA papers score; CamVid's eleven."""


def lookup_table(id_to_train_id: MappingProxyType[int, int], ignored: range) -> NDArray[np.int16]:
    """int16 [65536]: train id for each known id, 255 for each id of `ignored`, -1 for an id that must not occur."""
    table = np.full(65536, -1, dtype=np.int16)
    table[ignored.start : ignored.stop] = IGNORE_ID
    for source_id, train_id in id_to_train_id.items():
        table[source_id] = train_id
    return table


def colorize(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Train ids uint8 [H, W] to the Cityscapes colours, uint8 [H, W, 3] RGB; ignored pixels are black."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:NUM_CLASSES] = PALETTE_RGB
    return colors[labels]
