"""Every published layout is found and read; what is missing or wrong is named."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from adaptation.learning.data.labelled_frames import DataError, read_frame, read_labels
from adaptation.learning.data.layouts import Layout, detect_layout, list_frames
from exchange.images.whole_png import RGB
from exchange.label_space import CITYSCAPES_ID_TO_TRAIN_ID, PALETTE_RGB
from tests.exchange.png_files import optimised_png, png_of

IDS = np.array([[7, 8], [33, 0]], dtype=np.uint8)
TRAIN_IDS = np.array([[0, 1], [18, 255]], dtype=np.uint8)


def write_image(path: Path, size: tuple[int, int] = (2, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((*size, 3), dtype=np.uint8)
    image[..., 0] = 200  # red, to see that channels come as RGB
    Image.fromarray(image).save(path, quality=100)


def write_ids(path: Path, ids: NDArray[np.uint8], *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    if palette:
        colors = np.full((256, 3), (1, 2, 3), dtype=np.uint8)
        for index, train_id in CITYSCAPES_ID_TO_TRAIN_ID.items():
            colors[index] = PALETTE_RGB[train_id]
        image.putpalette(colors.tobytes())
    image.save(path)


def write_cityscapes(root: Path) -> None:
    for split, city, kind, ids in (
        ("train", "aachen", "labelIds", IDS),
        ("train", "bochum", "labelTrainIds", TRAIN_IDS),
        ("val", "lindau", "labelIds", IDS),
    ):
        write_image(root / "leftImg8bit" / split / city / f"{city}_000000_000019_leftImg8bit.png")
        write_ids(root / "gtFine" / split / city / f"{city}_000000_000019_gtFine_{kind}.png", ids)


def write_gta5(root: Path) -> None:
    write_image(root / "images" / "00001.png")
    write_ids(root / "labels" / "00001.png", IDS, palette=True)


def write_synthia(root: Path) -> None:
    write_image(root / "RGB" / "0000000.png")
    ids = np.zeros((2, 2, 3), dtype=np.uint16)
    ids[..., 2] = [[3, 4], [11, 22]]  # OpenCV writes BGR, so the class goes to R
    ids[..., 1] = 999  # instances, beyond eight bits
    (root / "GT" / "LABELS").mkdir(parents=True)
    cv2.imwrite(str(root / "GT" / "LABELS" / "0000000.png"), ids)


def write_camvid(root: Path) -> None:
    for split, name in (("train", "0001TP_006690"), ("train", "0016E5_00390"), ("val", "0016E5_07959")):
        write_image(root / split / f"{name}.png")
        write_ids(root / f"{split}annot" / f"{name}.png", np.array([[3, 4], [10, 11]], dtype=np.uint8))


def write_camvid_frames(root: Path) -> None:
    for name in ("0006R0_f00930", "Seq05VD_f00000"):
        write_image(root / "frames" / f"{name}.jpg")
        write_ids(root / "labels" / f"{name}.png", np.array([[3, 4], [10, 11]], dtype=np.uint8))


WRITERS = {
    "cityscapes": write_cityscapes,
    "gta5": write_gta5,
    "synthia": write_synthia,
    "camvid": write_camvid,
    "camvid-frames": write_camvid_frames,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_is_detected_and_its_labels_become_train_ids(layout: Layout, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    assert detect_layout(tmp_path) == layout
    for frame in list_frames(tmp_path):
        image, labels = read_frame(frame)
        np.testing.assert_array_equal(labels, TRAIN_IDS)
        assert image.shape == (2, 2, 3)
        assert image[0, 0, 0] > 150 > image[0, 0, 2]


def test_splits_and_sequences_select_frames(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    assert [frame.sequence for frame in list_frames(tmp_path, split="train")] == ["aachen", "bochum"]
    assert [frame.sequence for frame in list_frames(tmp_path, sequences=["lindau"])] == ["lindau"]
    with pytest.raises(DataError, match="has no split test; it has: train, val"):
        list_frames(tmp_path, split="test")
    with pytest.raises(DataError, match="has no sequence ulm; it has: aachen, bochum, lindau"):
        list_frames(tmp_path, sequences=["ulm"])


def test_camvid_names_tell_the_sequence(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    assert {frame.sequence for frame in list_frames(tmp_path)} == {"0001TP", "0016E5"}
    assert len(list_frames(tmp_path, split="train", sequences=["0016E5"])) == 1


def test_a_layout_without_splits_refuses_one(tmp_path: Path) -> None:
    write_gta5(tmp_path)
    with pytest.raises(DataError, match="leave out --split"):
        list_frames(tmp_path, split="train")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is no folder"):
        detect_layout(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no known layout"):
        detect_layout(tmp_path)
    write_gta5(tmp_path)
    with pytest.raises(DataError, match="leftImg8bit is missing"):
        list_frames(tmp_path, layout="cityscapes")
    (tmp_path / "labels" / "00001.png").unlink()
    with pytest.raises(DataError, match=r"labels/00001\.png is missing"):
        list_frames(tmp_path)
    (tmp_path / "images" / "00001.png").unlink()
    with pytest.raises(DataError, match="holds no image"):
        list_frames(tmp_path)


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    write_camvid_frames(tmp_path)
    frame = list_frames(tmp_path)[0]
    write_ids(frame.labels, np.array([[3, 12]], dtype=np.uint8))
    with pytest.raises(DataError, match=r"0006R0_f00930\.png holds id 12"):
        read_labels(frame)
    write_ids(frame.labels, np.array([[3, 4, 5]], dtype=np.uint8))
    with pytest.raises(DataError, match=r"0006R0_f00930\.png is 1x3 but .*0006R0_f00930\.jpg is 2x2"):
        read_frame(frame)
    write_image(frame.labels)
    with pytest.raises(DataError, match="holds colours"):
        read_labels(frame)
    frame.labels.write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read as a label image"):
        read_labels(frame)
    frame.image.write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_frame(frame)


def test_synthia_labels_must_have_sixteen_bits(tmp_path: Path) -> None:
    write_synthia(tmp_path)
    frame = list_frames(tmp_path)[0]
    write_ids(frame.labels, IDS)
    with pytest.raises(DataError, match="no 16-bit RGB PNG"):
        read_labels(frame)


@pytest.mark.parametrize("layout", [layout for layout in WRITERS if layout != "synthia"])
def test_labels_that_were_optimised_are_the_same(layout: Layout, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    for frame in list_frames(tmp_path):
        frame.labels.write_bytes(optimised_png(np.asarray(Image.open(frame.labels))))
        np.testing.assert_array_equal(read_labels(frame), TRAIN_IDS)


@pytest.mark.parametrize("layout", WRITERS)
def test_labels_that_are_not_whole_are_named(layout: Layout, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    frame = list_frames(tmp_path)[0]
    whole = frame.labels.read_bytes()
    for cut in (len(whole) - 12, len(whole) - 20, len(whole) // 2):
        frame.labels.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=rf"{frame.labels.name} cannot be read.*damaged or truncated"):
            read_labels(frame)
    Image.fromarray(IDS).save(frame.labels, "JPEG")
    with pytest.raises(DataError, match=rf"{frame.labels.name} cannot be read.*a JPEG"):
        read_labels(frame)


def test_synthia_labels_with_rows_missing_are_named(tmp_path: Path) -> None:
    write_synthia(tmp_path)
    frame = list_frames(tmp_path)[0]
    frame.labels.write_bytes(png_of(np.zeros((2, 2, 3), np.uint16), RGB, 16, rows=bytes(13)))
    with pytest.raises(DataError, match=r"0000000\.png cannot be read.*13 of 26 bytes"):
        read_labels(frame)


def test_a_palette_of_other_colors_is_refused_but_where_the_layout_has_them(tmp_path: Path) -> None:
    for layout in ("cityscapes", "camvid", "camvid-frames"):
        WRITERS[layout](tmp_path / layout)
        frame = list_frames(tmp_path / layout)[0]
        write_ids(frame.labels, IDS, palette=True)
        with pytest.raises(DataError, match=rf"{frame.labels.name} cannot be read.*palette"):
            read_labels(frame)


def named(*parts: object) -> str:
    return "".join(f"(?=.*{re.escape(str(part))})" for part in parts)


@pytest.mark.parametrize(
    ("layout", "image", "twin"),
    [
        ("gta5", "images/00001.png", "images/00001.jpg"),
        ("synthia", "RGB/0000000.png", "RGB/0000000.PNG"),
        ("camvid", "val/0016E5_07959.png", "val/0016e5_07959.png"),
        ("camvid-frames", "frames/Seq05VD_f00000.jpg", "frames/seq05vd_f00000.jpeg"),
        (
            "cityscapes",
            "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png",
            "leftImg8bit/val/lindau/Lindau_000000_000019_leftImg8bit.jpg",
        ),
        (
            "cityscapes",
            "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png",
            "leftImg8bit/val/lindau/lindau_000000_000019.png",
        ),
    ],
)
def test_two_images_of_one_label_are_both_named(layout: Layout, image: str, twin: str, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    write_image(tmp_path / twin)
    with pytest.raises(DataError, match=named(tmp_path / image, tmp_path / twin)):
        list_frames(tmp_path)


@pytest.mark.parametrize(
    ("layout", "labels", "twin"),
    [
        ("gta5", "labels/00001.png", "labels/00001.jpg"),
        ("synthia", "GT/LABELS/0000000.png", "GT/LABELS/0000000.PNG"),
        ("camvid", "valannot/0016E5_07959.png", "valannot/0016e5_07959.png"),
        ("camvid-frames", "labels/Seq05VD_f00000.png", "labels/SEQ05VD_f00000.png"),
        (
            "cityscapes",
            "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png",
            "gtFine/val/lindau/lindau_000000_000019_gtFine_labelids.png",
        ),
    ],
)
def test_two_labels_of_one_image_are_both_named(layout: Layout, labels: str, twin: str, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    write_ids(tmp_path / twin, IDS)
    with pytest.raises(DataError, match=named(tmp_path / labels, tmp_path / twin)):
        list_frames(tmp_path)


def test_ids_and_train_ids_of_one_frame_are_no_twins(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    folder = tmp_path / "gtFine" / "val" / "lindau"
    write_ids(folder / "lindau_000000_000019_gtFine_labelTrainIds.png", TRAIN_IDS)
    write_ids(folder / "lindau_000000_000019_gtFine_color.png", IDS)
    (frame,) = list_frames(tmp_path, split="val")
    assert frame.labels.name == "lindau_000000_000019_gtFine_labelIds.png"


def test_a_split_without_frames_is_named(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit" / "test").mkdir()
    assert len(list_frames(tmp_path)) == 3
    with pytest.raises(DataError, match="holds no frame in split test"):
        list_frames(tmp_path, split="test")


@pytest.mark.parametrize("folder", ["images", "labels"])
@pytest.mark.parametrize("ending", ["webp", "BMP", "tif"])
def test_a_namesake_of_a_kind_that_is_not_read_is_refused_naming_both(tmp_path: Path, folder: str, ending: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_ids(tmp_path / "labels" / "a.png", np.zeros((2, 2), np.uint8))
    assert len(list_frames(tmp_path)) == 1
    (tmp_path / folder / f"a.{ending}").write_bytes(b"of another program")
    with pytest.raises(DataError, match=rf"{folder}/a\.\w+ and .*{folder}/a\.\w+ would"):
        list_frames(tmp_path)


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("ending", ["webp", "BMP", "heic"])
def test_a_labelled_image_of_a_kind_that_is_not_read_is_refused(tmp_path: Path, layout: Layout, ending: str) -> None:
    WRITERS[layout](tmp_path)
    image = list_frames(tmp_path)[0].image
    for others in (True, False):
        strange = image.rename(image.with_suffix(f".{ending}"))
        if others:
            write_image(image.with_name(f"z_{image.name}"))
        with pytest.raises(DataError, match=rf"{re.escape(str(strange))} has labels.*\.png, \.jpg, \.jpeg"):
            list_frames(tmp_path)
        image.with_name(f"z_{image.name}").unlink(missing_ok=True)
        strange.rename(image)


def test_what_lies_beside_images_and_has_no_labels_is_left_out(tmp_path: Path) -> None:
    write_gta5(tmp_path)
    for name in ("00002.webp", "00001.json", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"of another program")
    assert [frame.image.name for frame in list_frames(tmp_path)] == ["00001.png"]


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_names_of_other_unicode_composition_are_namesakes(tmp_path: Path, folder: str) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write_image(tmp_path / "images" / f"{composed}.png")
    write_ids(tmp_path / "labels" / f"{composed}.png", IDS)
    (write_image if folder == "images" else lambda path: write_ids(path, IDS))(tmp_path / folder / f"{decomposed}.png")
    with pytest.raises(DataError, match=named(f"{composed}.png", f"{decomposed}.png")):
        list_frames(tmp_path)


def test_a_label_of_other_unicode_composition_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "caf\u00e9.png")
    write_ids(tmp_path / "labels" / "cafe\u0301.png", IDS)
    with pytest.raises(DataError, match=named("cafe\u0301.png", "caf\u00e9.png")):
        list_frames(tmp_path)
