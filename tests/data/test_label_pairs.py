"""Label files that belong to frames by their names: one to one, or refused with both names."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.label_pairs import check_pairs
from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.rounds.snapshot import Snapshot, freeze
from exchange.images.file_names import namesakes


def write(path: Path, value: int, *, gray: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((8, 8) if gray else (8, 8, 3), value, np.uint8)
    Image.fromarray(image).save(path)
    return path


def both(first: Path, second: Path) -> str:
    return f"{re.escape(str(first))}.*{re.escape(str(second))}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "day" / "images" / "1.png", 100)
    write(tmp_path / "day" / "labels" / "1.png", 7, gray=True)
    return tmp_path / "day"


def frozen(tmp_path: Path, source: Path, asked: Path | None) -> Snapshot:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    freeze(folder, choose_data([source], "train"), tmp_path / "target", "train", asked, lambda done, total: None)
    return Snapshot.read(folder)


def test_the_first_two_of_a_name_are_found() -> None:
    names = [Path("b.png"), Path("x/a.png"), Path("y/A.jpeg"), Path("a.jpg")]
    assert namesakes(names) == (Path("x/a.png"), Path("y/A.jpeg"))
    assert namesakes(names[:2]) is None
    assert namesakes([Path("a.png")] * 2) == (Path("a.png"), Path("a.png"))


def test_names_that_differ_in_unicode_composition_alone_are_one() -> None:
    composed, decomposed = Path("caf\u00e9.png"), Path("cafe\u0301.jpg")
    assert namesakes([composed, decomposed]) == (composed, decomposed)
    assert namesakes([composed, Path("CAFE\u0301.png")]) is not None
    assert namesakes([composed, Path("cafe.png")]) is None


def test_a_label_that_is_not_spelt_like_its_image_is_refused(tmp_path: Path) -> None:
    image, labels = tmp_path / "caf\u00e9.jpg", tmp_path / "cafe\u0301.png"
    with pytest.raises(DataError, match=both(labels, image)):
        check_pairs([labels], [image])


@pytest.mark.parametrize("name", ["frame.webp", "other.jpg", "other.PNG"])
def test_an_asked_label_of_a_kind_that_is_not_read_is_refused(name: str, source: Path, tmp_path: Path) -> None:
    write(tmp_path / "target" / "frame.png", 1)
    write(tmp_path / "target" / "other.png", 1)
    write(tmp_path / "asked" / "frame.png", 0, gray=True)
    strange = tmp_path / "asked" / name
    strange.write_bytes(b"of another program")
    with pytest.raises(DataError, match=rf"{re.escape(str(strange))} is not read.*\.png"):
        frozen(tmp_path, source, tmp_path / "asked")


@pytest.mark.parametrize("twin", ["b/frame.png", "a/frame.jpg", "a/Frame.png"])
def test_one_label_of_two_frames_is_refused(twin: str, source: Path, tmp_path: Path) -> None:
    one, other = write(tmp_path / "target" / "a" / "frame.png", 1), write(tmp_path / "target" / twin, 2)
    write(tmp_path / "asked" / "frame.png", 0, gray=True)
    with pytest.raises(DataError, match=both(*sorted([one, other]))):
        frozen(tmp_path, source, tmp_path / "asked")


def test_frames_that_nobody_was_asked_about_may_share_a_name(source: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / "target" / folder / "frame.png", len(folder))
    assert len(frozen(tmp_path, source, None).frames) == 2


def test_copies_of_one_frame_share_its_label(source: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / "target" / folder / "frame.png", 1)
    write(tmp_path / "asked" / "frame.png", 0, gray=True)
    snapshot = frozen(tmp_path, source, tmp_path / "asked")
    assert all(frame.asked_sha256 is not None for frame in snapshot.frames)


def test_two_labels_of_one_frame_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "A.png", tmp_path / "a.png"
    with pytest.raises(DataError, match=both(one, other)):
        check_pairs([one, other], [])


def test_a_source_without_a_labelled_pixel_is_refused(source: Path, tmp_path: Path) -> None:
    write(tmp_path / "target" / "frame.png", 1)
    write(source / "labels" / "1.png", 0, gray=True)
    with pytest.raises(DataError, match=r"day has no labelled pixel"):
        frozen(tmp_path, source, None)
