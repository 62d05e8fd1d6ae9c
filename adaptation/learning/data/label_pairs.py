"""A folder of label PNGs that are named like the images of another folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from adaptation.learning.data.labelled_frames import DataError
from exchange.images.file_names import namesakes, plain_name
from exchange.registry.releases import file_sha256


def check_pairs(labels: Sequence[Path], images: Iterable[Path]) -> None:
    """Check that each label file belongs to one image: names that differ only by ending or case are taken as one.

    Copies of one image may share a label, as those of a frame that two drives hold.

    Raises:
        DataError: two label files, or two images of one, have one name.
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
