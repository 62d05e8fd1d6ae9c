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
    default_split: str,
    *,
    layouts: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> list[DataChoice]:
    """Pairs folders with what is said about them: nothing, one value for all, or one for each.

    `all` stands for every split or sequence; a split counts only where the layout has splits.

    Raises:
        DataError: a number of values that fits neither, or a layout that does not exist.
    """

    def each(option: str, values: Sequence[T] | None, default: T) -> Sequence[T]:
        given = values or [default]
        if len(given) not in (1, len(folders)):
            raise DataError(f"{len(given)} times {option} for {len(folders)} data sets: give it once, or once for each")
        return given if len(given) == len(folders) else [given[0]] * len(folders)

    chosen = []
    for folder, layout_name, split, names, weight in zip(
        folders,
        each("--layout", layouts, ""),
        each("--split", splits, default_split),
        each("--sequences", sequences, "all"),
        each("--weight", weights, 1.0),
        strict=True,
    ):
        layout = as_layout(layout_name) if layout_name else detect_layout(folder)
        chosen.append(
            DataChoice(
                folder,
                layout,
                split=split if split != "all" and layout in SPLIT_LAYOUTS else None,
                sequences=tuple(names.split(",")) if names != "all" else (),
                weight=weight,
            )
        )
    return chosen
