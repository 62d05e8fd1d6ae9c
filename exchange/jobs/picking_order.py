"""What lies in a picking worker's folder, for the worker and for the learner that fills and reads it.

FOLDER/order.json         `PickingOrder`
FOLDER/frames/<sha>.tar   the frames to pick from, as they were captured
FOLDER/picked/<sha>.tar   those that are asked about, with the labels of the order's version
FOLDER/picked.json        `Picked`, written last
FOLDER/failure.txt        why it cannot be done, in one line; then the exit status is 1
"""

from pathlib import Path
from typing import Literal

from exchange.regions.tasks import RegionTask
from exchange.storage.locations import Version
from exchange.storage.records import Record

ORDER_FILE, FRAMES_FOLDER, PICKED_FOLDER, PICKED_FILE = "order.json", "frames", "picked", "picked.json"


class PickingOrder(Record):
    """What a worker is to pick from FOLDER/frames."""

    format: Literal[1] = 1
    release: Path | None
    """Whose network looks at the frames; None takes the captured answer for its own."""
    version: Version
    clicks: int
    random_seed: int | None
    double_share: float
    asked_before: dict[str, tuple[RegionTask, ...]]
    """By the frame's SHA-256; they are not asked about again."""


class Picked(Record):
    format: Literal[1] = 1
    tasks: tuple[RegionTask, ...]
