"""A folder of label PNGs that are named like the images of another folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from adaptation.learning.data.labelled_frames import DataError
from exchange.images.file_names import PICTURE_ENDINGS, namesakes, plain_name
from exchange.registry.releases import file_sha256


def label_files(folder: Path) -> list[Path]:
    """List a folder's label PNGs by name; none where it is missing.

    Raises:
        DataError: a picture lies there that is not read as labels.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [path for path in found if path.suffix.lower() in PICTURE_ENDINGS]
    if others := [path for path in pictures if path.suffix != ".png"]:
        raise DataError(f"{others[0]} is not read: labels are read from files that end in .png: convert or remove it")
    return pictures


def check_pairs(labels: Sequence[Path], images: Iterable[Path]) -> None:
    """Check that each label file belongs to one image.

    Names that differ only by ending, case or Unicode composition are taken as one.
    Copies of one image may share a label, as those of a frame that two drives hold.

    Raises:
        DataError: two label files, or two images of one, have one name, or a label file is not spelt like its image.
    """
    if twins := namesakes(labels):
        raise DataError(f"{twins[0]} and {twins[1]} would label one image: keep one of them")
    first: dict[str, Path] = {}
    named = {plain_name(file.stem): file for file in labels}
    for image in images:
        name = plain_name(image.stem)
        if name not in named:
            continue
        other = first.setdefault(name, image)
        if other != image and file_sha256(other) != file_sha256(image):
            raise DataError(f"{named[name]} would label both {other} and {image}: rename one, and its labels")
    for name, image in first.items():
        if named[name].stem != image.stem:
            raise DataError(f"{named[name]} is not spelt like {image}: give it the same name, letter by letter")
