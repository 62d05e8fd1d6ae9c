"""The labelled data sets that a user names on a command line, each with what is said about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from adaptation.data.labelled_frames import DataError, LabelledFrame
from adaptation.data.layouts import SPLIT_LAYOUTS, Layout, as_layout, detect_layout, list_frames

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
    layouts: Sequence[str] = (),
    splits: Sequence[str] = (),
    sequences: Sequence[str] = (),
    weights: Sequence[float] = (),
) -> list[DataChoice]:
    """Pairs folders with what is said about them: nothing, one value for all, or one for each.

    `all` stands for every split or sequence; a split is ignored where the layout has none.

    Raises:
        DataError: a number of values that fits neither, or a layout that does not exist.
    """

    def each(name: str, values: Sequence[T], default: T) -> list[T]:
        if len(values) not in (0, 1, len(folders)):
            raise DataError(f"{len(values)} values of {name} for {len(folders)} data sets: give one, or one for each")
        return list(values) if len(values) == len(folders) else [*values, default][:1] * len(folders)

    chosen = []
    for folder, layout, split, names, weight in zip(
        folders,
        each("--layout", layouts, ""),
        each("--split", splits, "all"),
        each("--sequences", sequences, "all"),
        each("--weight", weights, 1.0),
        strict=True,
    ):
        known = as_layout(layout) if layout else detect_layout(folder)
        chosen.append(
            DataChoice(
                folder,
                known,
                split=None if split == "all" or known not in SPLIT_LAYOUTS else split,
                sequences=() if names == "all" else tuple(names.split(",")),
                weight=weight,
            )
        )
    return chosen
