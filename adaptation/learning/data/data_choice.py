"""The labelled data sets that a user names on a command line, each with what is said about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from adaptation.learning.data.labelled_frames import DataError, LabelledFrame
from adaptation.learning.data.layouts import SPLIT_LAYOUTS, Layout, as_layout, detect_layout, list_frames

T = TypeVar("T")


@dataclass(frozen=True)
class DataChoice:
    """One data set as the user names it."""

    folder: Path
    layout: Layout
    split: str | None = None
    sequences: tuple[str, ...] = ()
    weight: float = 1.0

    def frames(self) -> tuple[LabelledFrame, ...]:
        """Lists the frames. Raises DataError as `list_frames`."""
        return list_frames(self.folder, layout=self.layout, split=self.split, sequences=self.sequences)


def choose_data(
    folders: Sequence[Path],
    default_split: str,
    *,
    layouts: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> list[DataChoice]:
    """Pairs folders with what is said about them: nothing, one value for all, or one for each.

    `all` stands for every split or sequence; a split that is named once for all counts where the layout has splits.

    Raises:
        DataError: a number of values that fits neither, a layout that does not exist, a split where there are none, or
            a weight that is no share.
    """
    count = len(folders)
    chosen = []
    for folder, layout_name, split, names, weight in zip(
        folders,
        _each("--layout", layouts, "", count),
        _each("--split", splits, default_split, count),
        _each("--sequences", sequences, "all", count),
        _each("--weight", weights, 1.0, count),
        strict=True,
    ):
        if not 0 < weight < math.inf:
            raise DataError(f"--weight {weight:g} is no share: give numbers above 0")
        layout = as_layout(layout_name) if layout_name else detect_layout(folder)
        has_split = split != "all" and layout in SPLIT_LAYOUTS
        if splits and len(splits) == count and split != "all" and not has_split:
            raise DataError(f"{folder} has a layout without splits: leave out --split {split}, or give all")
        chosen.append(
            DataChoice(
                folder,
                layout,
                split=split if has_split else None,
                sequences=tuple(names.split(",")) if names != "all" else (),
                weight=weight,
            )
        )
    return chosen


def _each(option: str, values: Sequence[T] | None, default: T, count: int) -> Sequence[T]:
    given = values or [default]
    if len(given) not in (1, count):
        raise DataError(f"{len(given)} times {option} for {count} data sets: give it once, or once for each")
    return given if len(given) == count else [given[0]] * count
