"""Cityscapes' own form: a train-id PNG for each frame, 255 where there is no label, beside a list of the regions.

    images/<sha256>.<jpg|png>    the frames
    labels/<sha256>.png          train ids where a region is labelled, 255 elsewhere
    regions.json                 every region: frame, box, class, who said so, model version, score

Who labels sets a region's `class` in the list, or paints the region's pixels, or both alike.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clients.annotation_files.answers import Answer, answer
from clients.annotation_files.asked_frames import AskedFrame, AskedRegion, image_file
from clients.annotation_files.refusals import FileRefused, Refusal, read_bounded, some_of
from exchange.images.file_names import PICTURE_ENDINGS, namesakes
from exchange.images.labels import LabelImageError, decode_index_png, encode_gray_png
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.plain_words import counted, refusal_of
from exchange.regions.segments import MOST_RUNS
from exchange.regions.tasks import MOST_BATCHES, MOST_TASKS, UNSURE, Box, Sha256, TrainId
from exchange.storage.locations import DomainName

IMAGES, LABELS, REGIONS = "images", "labels", "regions.json"
_MOST_BYTES = 256 << 20


def _a_label(number: int) -> int:
    if not (0 <= number < NUM_CLASSES or number == UNSURE):
        raise ValueError(f"{number} is no class: give a train id from 0 to {NUM_CLASSES - 1}, or {UNSURE} for unsure")
    return number


class ListedRegion(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    frame_sha256: Sha256
    box: Box
    runs: tuple[int, ...] = Field(max_length=MOST_RUNS)
    """Of the pixels outside and inside of the region, in turn, row by row through its box."""
    predicted: TrainId
    """The class that the model took most of them for."""
    label: Annotated[int, AfterValidator(_a_label)] | None = Field(
        validation_alias="class", serialization_alias="class"
    )
    """255 where people are unsure; None where nobody has said anything."""
    annotators: tuple[str, ...] = ()
    model_version: int
    score: float

    @property
    def key(self) -> tuple[str, Box, tuple[int, ...], int, int]:
        return self.frame_sha256, self.box, self.runs, self.predicted, self.model_version


class RegionList(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    domain: DomainName
    regions: tuple[ListedRegion, ...] = Field(max_length=MOST_BATCHES * MOST_TASKS)


def write_cityscapes(folder: Path, domain: str, frames: Iterator[AskedFrame]) -> int:
    """Returns the number of regions. Raises OSError; RecordError or StorageError of the frames."""
    for name in (IMAGES, LABELS):
        (folder / name).mkdir(parents=True)
    listed = []
    for frame in frames:
        ending, data = image_file(frame.frame)
        (folder / IMAGES / f"{frame.sha256}.{ending}").write_bytes(data)
        (folder / LABELS / f"{frame.sha256}.png").write_bytes(encode_gray_png(frame.labels()))
        listed += [_listed(region) for region in frame.regions]
    text = RegionList(domain=domain, regions=tuple(listed)).model_dump_json(by_alias=True, indent=1)
    (folder / REGIONS).write_text(text + "\n")
    return len(listed)


def read_cityscapes(
    folder: Path, domain: str, known: Mapping[str, tuple[AskedRegion, ...]]
) -> Iterator[Answer | Refusal]:
    """What the list and the PNGs say of the regions that are known.

    Args:
        known: the regions that were asked about, by their frame's SHA-256.

    Raises:
        FileRefused: there is no list that is understood, it is of another domain, or two label files are of one frame.
        OSError: something cannot be read.
    """
    files = _painted_files(folder / LABELS)
    if twins := namesakes(files):
        raise FileRefused(f"{twins[0]} and {twins[1]} would label one frame: keep one of them")
    listed = _read_list(folder, domain)
    by_frame: dict[str, list[ListedRegion]] = {}
    for region in listed.regions:
        by_frame.setdefault(region.frame_sha256, []).append(region)
    painted = {file.stem: file for file in files if file.suffix == ".png"}
    for sha256 in sorted(painted.keys() - by_frame.keys()):
        yield Refusal(f"{LABELS}/{sha256}.png", f"{REGIONS} lists no region of it: list what was labelled")
    for file in files:
        if file.suffix != ".png":
            yield Refusal(f"{LABELS}/{file.name}", "it is not read: paint in the .png files that were exported")
    missing = [sha256 for sha256 in by_frame if painted and sha256 in known.keys() - painted.keys()]
    if missing:
        yield Refusal(
            f"{LABELS}/",
            f"the PNG of {len(missing)} of {counted(len(by_frame), 'frame')} is missing ({some_of(missing)}): put them"
            " there, or take all PNGs away where the classes of the list alone count",
        )
    for sha256, regions in by_frame.items():
        if sha256 not in missing:
            yield from _of_frame(folder / LABELS / f"{sha256}.png", regions, known.get(sha256, ()))


def _painted_files(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix.lower() in PICTURE_ENDINGS]


def _of_frame(path: Path, listed: list[ListedRegion], known: tuple[AskedRegion, ...]) -> Iterator[Answer | Refusal]:
    place = f"{LABELS}/{path.name}"
    labels_HW: NDArray[np.uint8] | None = None
    if path.exists():
        try:
            labels_HW = decode_index_png(read_bounded(path, _MOST_BYTES))
        except (FileRefused, LabelImageError) as error:
            yield Refusal(place, str(error))
            return
        if known and labels_HW.shape != known[0].task.size_hw:
            yield Refusal(place, f"it is {labels_HW.shape} where the frame is {known[0].task.size_hw}: keep its size")
            return
        if strange := sorted({int(i) for i in np.unique(labels_HW)} - {*range(NUM_CLASSES), IGNORE_ID}):
            yield Refusal(place, f"it holds {strange[0]}: give train ids from 0 to {NUM_CLASSES - 1}, or {IGNORE_ID}")
            return
    by_key = {_listed(region).key: region for region in known}
    asked = [by_key[each.key] for each in listed if each.key in by_key]
    outside = 0 if labels_HW is None else _labelled_outside(labels_HW, asked)
    for region in listed:
        found = by_key.get(region.key)
        if found is None:
            yield Refusal(
                f"{REGIONS}, frame {region.frame_sha256}, box {tuple(region.box)}",
                "no such region was asked about: leave all but the class as it was exported",
            )
        elif not outside:
            said = _said(region, found, labels_HW)
            if isinstance(said, Refusal):
                yield said
            elif said is not None:
                yield answer(_place(region), found, said)
    if outside:
        yield Refusal(
            place,
            f"{counted(outside, 'labelled pixel')} where nothing was asked about, so that nothing of this frame is"
            f" taken: paint {IGNORE_ID} there",
        )


def _labelled_outside(labels_HW: NDArray[np.uint8], asked: list[AskedRegion]) -> int:
    """Pixels with a label that belong to none of the regions."""
    rest_HW = labels_HW != IGNORE_ID
    for region in asked:
        box = region.task.box
        rest_HW[box.top : box.bottom, box.left : box.right] &= ~region.task.segment_hw
    return int(rest_HW.sum())


def _said(listed: ListedRegion, known: AskedRegion, labels_HW: NDArray[np.uint8] | None) -> int | Refusal | None:
    """What list and pixels say together."""
    painted = None
    if labels_HW is not None:
        box = known.task.box
        ids = np.unique(labels_HW[box.top : box.bottom, box.left : box.right][known.task.segment_hw])
        if len(ids) > 1:
            return Refusal(_place(listed), "its pixels have several labels: a region gets one, or class 255")
        painted = None if len(ids) == 0 or ids[0] == IGNORE_ID else int(ids[0])
    if listed.label is None or painted is None or painted == listed.label:
        return painted if listed.label is None else listed.label
    return Refusal(_place(listed), f"its class is {listed.label} and its pixels are {painted}: make them one")


def _place(region: ListedRegion) -> str:
    return f"{REGIONS}, frame {region.frame_sha256[:12]}, box {tuple(region.box)}"


def _listed(region: AskedRegion) -> ListedRegion:
    task = region.task
    return ListedRegion(
        frame_sha256=task.frame_sha256,
        box=task.box,
        runs=task.runs,
        predicted=task.predicted,
        label=task.label,
        annotators=tuple(opinion.annotator for opinion in task.opinions),
        model_version=task.model_version,
        score=task.score,
    )


def _read_list(folder: Path, domain: str) -> RegionList:
    path = folder / REGIONS
    if not path.is_file():
        raise FileRefused(f"{path} is missing: give the folder that roadshift labels export made")
    try:
        listed = RegionList.model_validate_json(read_bounded(path, _MOST_BYTES), strict=True)  # true is no class
    except ValidationError as error:
        raise FileRefused(f"{path}: {refusal_of(error)}") from error
    if listed.domain != domain:
        raise FileRefused(f"{path} is of {listed.domain}: give --domain {listed.domain}")
    return listed
