"""Which frames a benchmark of adaptation trains on, may ask labels of, and scores.

CamVid, as `day/` and `dusk/` folders or in the public layout: source 0006R0 and 0016E5, target the first half of 0001TP
without labels, source validation Seq05VD. Two splits of the target: `dusk` scores every fifth frame, one second from
frames whose labels the upper bound sees; `block` takes labels from frames 1 to 44 and scores 50 to 62.

The simulated city, as `roadshift simulate` writes it: source sim-day, target another domain, its split val scored.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame
from adaptation.learning.data.layouts import detect_layout

SOURCE_SEQUENCES = ("0006R0", "0016E5")
VALIDATION_SEQUENCES = ("Seq05VD",)
TARGET_SEQUENCE = "0001TP"
_TARGET_FRAMES, _LABELLED_BLOCK, _SCORED_FROM = 62, 44, 49
_SCORED_EVERY = 5


@dataclass(frozen=True)
class Split:
    """Frames of the target whose labels may be asked, and those that score; no frame is both."""

    labelled: DataChoice
    scored: tuple[LabelledFrame, ...]


@dataclass(frozen=True)
class Protocol:
    classes: str
    """The subset that is scored."""
    frame_size: tuple[int, int]
    """Holds the frames in the size in which they are trained on, with little padding."""
    source: DataChoice
    source_scored: tuple[LabelledFrame, ...]
    target: DataChoice
    """Rounds see its frames, and its labels only to score."""
    splits: Mapping[str, Split]
    """The first is the one that the table tells class by class."""


def open_protocol(data: Path, work: Path, domain: str) -> Protocol:
    """The protocol of the frames in `data`; what it must lay out anew goes below `work`.

    Args:
        domain: the target among the simulated city's domains; CamVid has one target.

    Raises:
        DataError: `data` holds neither, or lacks a part.
    """
    if (data / "sim-day").is_dir():
        return _city(data, domain)
    if (data / "day").is_dir():
        return _camvid(data / "day", choose_data([data / "dusk"], "all")[0].frames(), work)
    try:
        public = detect_layout(data) == "camvid"
    except DataError:
        public = False
    if not public:
        raise DataError(f"{data} holds neither day and dusk, nor CamVid's public layout, nor sim-day: give one of them")
    (train,) = choose_data([data], "train", sequences=[TARGET_SEQUENCE])
    return _camvid(data, train.frames(), work)


def _camvid(source: Path, target: Sequence[LabelledFrame], work: Path) -> Protocol:
    def drives(names: tuple[str, ...]) -> DataChoice:
        return choose_data([source], "all", sequences=[",".join(names)])[0]

    total = len(target)
    scored = target[::_SCORED_EVERY]
    first = target[: total * _LABELLED_BLOCK // _TARGET_FRAMES]
    last = target[total * _SCORED_FROM // _TARGET_FRAMES :]
    return Protocol(
        classes="camvid11",
        frame_size=(512, 704),
        source=drives(SOURCE_SEQUENCES),
        source_scored=drives(VALIDATION_SEQUENCES).frames(),
        target=_laid_out(work / "target", target),
        splits={
            "dusk": Split(_laid_out(work / "dusk", [frame for frame in target if frame not in scored]), tuple(scored)),
            "block": Split(_laid_out(work / "block", first), tuple(last)),
        },
    )


def _city(data: Path, domain: str) -> Protocol:
    def choice(name: str, split: str) -> DataChoice:
        return choose_data([data / name], split)[0]

    return Protocol(
        classes="19",
        frame_size=(512, 1024),
        source=choice("sim-day", "train"),
        source_scored=choice("sim-day", "val").frames(),
        target=choice(domain, "train"),
        splits={"unseen": Split(choice(domain, "train"), choice(domain, "val").frames())},
    )


def _laid_out(folder: Path, frames: Sequence[LabelledFrame]) -> DataChoice:
    """A data set of these frames alone: its parts are copied anew each time, which costs a moment."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("frames", "labels"):
        (folder / part).mkdir(parents=True)
    for frame in frames:
        shutil.copyfile(frame.image, folder / "frames" / frame.image.name)
        shutil.copyfile(frame.labels, folder / "labels" / f"{frame.image.stem}.png")
    return choose_data([folder], "all")[0]
