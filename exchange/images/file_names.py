"""File names that stand for one another: alike but for their ending, upper and lower case, or Unicode composition."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
"""Endings of image files, in lower case."""
PICTURE_ENDINGS = (*IMAGE_ENDINGS, ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Also those of images that are not read, but that somebody may have left beside, or for, one that is."""


def stem(file: Path) -> str:
    """Return a file's name without its ending."""
    return file.stem


def plain_name(name: str) -> str:
    """Return a name as disks that know neither upper and lower case nor Unicode composition compare it."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def namesakes(files: Iterable[Path], name_of: Callable[[Path], str] = stem) -> tuple[Path, Path] | None:
    """Return the first two files with the same plain name; None where every name is one file's."""
    first: dict[str, Path] = {}
    for file in files:
        name = plain_name(name_of(file))
        if name in first:
            return first[name], file
        first[name] = file
    return None
