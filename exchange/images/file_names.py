"""File names that stand for one another: alike but for their ending, or for upper and lower case."""

from collections.abc import Callable, Iterable
from pathlib import Path

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
"""Endings of image files, in lower case."""
PICTURE_ENDINGS = (*IMAGE_ENDINGS, ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Also those of images that are not read, but that somebody may have left beside, or for, one that is."""


def stem(file: Path) -> str:
    """Return a file's name without its ending."""
    return file.stem


def namesakes(files: Iterable[Path], name_of: Callable[[Path], str] = stem) -> tuple[Path, Path] | None:
    """Return the first two files with the same name in upper or lower case; None where every name is one file's."""
    first: dict[str, Path] = {}
    for file in files:
        name = name_of(file).casefold()
        if name in first:
            return first[name], file
        first[name] = file
    return None
