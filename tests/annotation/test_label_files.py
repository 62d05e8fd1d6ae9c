"""Regions out to CVAT and to train-id PNG, and answers back: the valid ones, and a word about every other one."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import cli
from exchange.images.labels import decode_index_png, encode_gray_png
from exchange.label_space import TRAIN_ID
from exchange.regions.batches import read_batches
from exchange.regions.tasks import UNSURE
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import BUILDING, CAR, ROAD, SIZE_HW, asked_frame, leave_batch, sha256_of


@pytest.fixture
def batch_of_four(root: StorageRoot) -> str:
    """In one frame two boxes, of each its building and its road."""
    return leave_batch(root, [asked_frame(0)], 4).id


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app_for(["labels"]), ["labels", *arguments])


def exported(root: StorageRoot, folder: Path, form: str) -> Path:
    result = run("export", "--domain", "sim-dusk", "--root", root.url, "--out", str(folder), "--format", form)
    assert result.exit_code == 0, result.output
    return folder


def imported(root: StorageRoot, folder: Path, form: str, *options: str) -> Result:
    names = ("--domain", "sim-dusk", "--root", root.url, "--format", form, "--annotator", "anna")
    return run("import", str(folder), *names, *options)


def labels(root: StorageRoot) -> list[int | None]:
    return [task.label for batch in read_batches(root, "sim-dusk") for task in batch.tasks]


def tree_of(folder: Path) -> "ET.ElementTree[ET.Element]":
    return ET.parse(folder / "annotations.xml")  # noqa: S314 - what the command wrote


def changed_xml(folder: Path, change: dict[int, dict[str, str]]) -> None:
    """Other attributes of the masks, by their places."""
    tree = tree_of(folder)
    for place, mask in enumerate(tree.iter("mask")):
        mask.attrib.update(change.get(place, {}))
    tree.write(folder / "annotations.xml")


def test_cvat_there_and_back(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    (image,) = (folder / "images").iterdir()
    pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    assert pixels.tobytes() == asked_frame(0).image
    masks = list(tree_of(folder).iter("mask"))
    assert {mask.get("label") for mask in masks} == {"unlabelled"}
    assert [mask.get(side) for mask in masks[:1] for side in ("left", "top", "width", "height", "rle")] == [
        "0", "28", "8", "4", "0, 32",
    ]  # fmt: skip
    changed_xml(folder, {0: {"label": "car"}, 1: {"label": "unsure"}, 2: {"label": "building"}})
    result = imported(root, folder, "cvat")
    assert result.exit_code == 0, result.output
    assert "3 answers of anna taken" in result.output
    assert labels(root) == [CAR, UNSURE, BUILDING, None]
    assert read_audit(root)[-1].what == "import-labels"
    again = imported(root, folder, "cvat")
    assert "0 answers of anna taken, 3 were there before" in again.output
    second = exported(root, tmp_path / "second", "cvat")
    names = [mask.get("label") for mask in tree_of(second).iter("mask")]
    assert names == ["car", "unsure", "building", "unlabelled"]


def test_a_polygon_or_a_box_over_a_region_names_it(root: StorageRoot, tmp_path: Path) -> None:
    leave_batch(root, [asked_frame(0)], 4)
    folder = exported(root, tmp_path / "out", "cvat")
    tree = tree_of(folder)
    image = next(tree.iter("image"))
    for mask in list(image):
        image.remove(mask)
    ET.SubElement(image, "polygon", {"label": "car", "points": "0.0,28.0;7.0,28.0;7.0,31.0;0.0,31.0"})
    ET.SubElement(image, "box", {"label": "road", "xtl": "8", "ytl": "32", "xbr": "16", "ybr": "36"})
    tree.write(folder / "annotations.xml")
    assert imported(root, folder, "cvat").exit_code == 0
    assert labels(root) == [CAR, None, None, ROAD]


REFUSED_CVAT = [
    ({0: {"label": "tram"}}, "there is no class 'tram'"),
    ({0: {"label": "car", "left": "60"}}, "covers no region"),
    ({0: {"label": "car", "left": "-3"}}, "a mask of 4 x 8"),
    ({0: {"label": "car", "rle": "0, 5"}}, "runs of 5 pixels"),
    ({0: {"label": "car", "rle": "a"}}, "no area"),
]


@pytest.mark.parametrize(("change", "why"), REFUSED_CVAT)
def test_nothing_of_a_cvat_file_is_taken_where_something_is_refused(
    root: StorageRoot, batch_of_four: str, tmp_path: Path, change: dict[int, dict[str, str]], why: str
) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    changed_xml(folder, change | {3: {"label": "road"}})
    result = imported(root, folder, "cvat")
    assert result.exit_code == 1
    assert why in result.output
    assert "--take-valid" in result.output
    assert labels(root) == [None] * 4
    taken = imported(root, folder, "cvat", "--take-valid")
    assert taken.exit_code == 0
    assert why in taken.output
    assert labels(root) == [None, None, None, ROAD]


def test_one_region_called_two_things_is_called_neither(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    tree = tree_of(folder)
    image = next(tree.iter("image"))
    for label in ("car", "truck"):
        ET.SubElement(image, "mask", dict(image[0].attrib) | {"label": label})
    tree.write(folder / "annotations.xml")
    result = imported(root, folder, "cvat", "--take-valid")
    assert result.output.count("one region is called car and truck") == 2
    assert labels(root) == [None] * 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotations><version>1.1</version>", "no whole XML"),
        ("<annotations><version>1.0</version></annotations>", "no CVAT for images 1.1"),
        ("<annotations><version>1.1</version><track/></annotations>", "no CVAT for images 1.1"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares entities"),
        (
            '<annotations><version>1.1</version><image name="strange.png" width="1" height="1"/></annotations>',
            "no region of this frame",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_whole(
    root: StorageRoot, batch_of_four: str, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(text)
    result = imported(root, path, "cvat")
    assert result.exit_code == 1
    assert why in result.output


def test_a_frame_of_another_size_is_refused(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    text = (folder / "annotations.xml").read_text().replace('height="64"', 'height="640"')
    (folder / "annotations.xml").write_text(text.replace('"unlabelled"', '"car"'))
    assert "it is 640 x 96 where the frame is 64 x 96" in imported(root, folder, "cvat").output


@pytest.mark.parametrize("form", ["cvat", "cityscapes"])
def test_what_might_never_end_is_not_read(root: StorageRoot, batch_of_four: str, tmp_path: Path, form: str) -> None:
    folder = exported(root, tmp_path / "out", form)
    name = "annotations.xml" if form == "cvat" else f"labels/{sha256_of(asked_frame(0))}.png"
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    result = imported(root, folder, form)
    assert result.exit_code == 1
    assert "is no plain file" in result.output or "is missing" in result.output


def changed_list(folder: Path, place: int, **change: object) -> None:
    listed = json.loads((folder / "regions.json").read_text())
    listed["regions"][place].update(change)
    (folder / "regions.json").write_text(json.dumps(listed))


def test_cityscapes_there_and_back(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    listed = json.loads((folder / "regions.json").read_text())["regions"]
    assert set(listed[0]) == {
        "frame_sha256", "box", "runs", "predicted", "class", "annotators", "model_version", "score",
    }  # fmt: skip
    changed_list(folder, 0, **{"class": CAR})
    changed_list(folder, 3, **{"class": UNSURE})
    path = folder / "labels" / f"{sha256_of(asked_frame(0))}.png"
    painted_HW = decode_index_png(path.read_bytes())
    assert (painted_HW == 255).all()
    painted_HW[28:32, 8:16] = TRAIN_ID["wall"]
    path.write_bytes(encode_gray_png(painted_HW))
    result = imported(root, folder, "cityscapes")
    assert result.exit_code == 0, result.output
    assert labels(root) == [CAR, None, TRAIN_ID["wall"], UNSURE]
    second = exported(root, tmp_path / "second", "cityscapes")
    counted_HW = decode_index_png((second / "labels" / path.name).read_bytes())
    painted_HW[28:32, 0:8] = CAR
    assert np.array_equal(counted_HW, painted_HW)
    assert json.loads((second / "regions.json").read_text())["regions"][0]["annotators"] == ["anna"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"class": CAR, "box": [1, 9, 0, 8]}, "no such region"),
        ({"class": CAR, "model_version": 7}, "no such region"),
        ({"class": CAR, "frame_sha256": "0" * 64}, "no such region"),
        ({"class": 19}, "regions.0.class: 19 is no class: give a train id from 0 to 18, or 255 for unsure"),
        ({"class": True}, "regions.0.class: True is no whole number"),
        ({"class": "3"}, "regions.0.class"),
        ({"class": CAR, "note": "x"}, "regions.0.note"),
    ],
)
def test_a_list_that_does_not_match_is_refused(
    root: StorageRoot, batch_of_four: str, tmp_path: Path, change: dict[str, object], why: str
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    changed_list(folder, 0, **change)
    result = imported(root, folder, "cityscapes")
    assert result.exit_code == 1
    assert why in result.output
    assert labels(root) == [None] * 4


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (np.s_[0:4, 0:4], CAR, "labelled pixels where nothing was asked about"),
        (np.s_[28:30, 0:8], CAR, "its pixels have several labels"),
        (np.s_[28:32, 0:8], 33, "it holds 33"),
        (np.s_[28:32, 8:16], CAR, "its class is 1 and its pixels are 13"),
    ],
)
def test_pixels_that_do_not_match_are_refused(
    root: StorageRoot, batch_of_four: str, tmp_path: Path, place: tuple[slice, slice], value: int, why: str
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    changed_list(folder, 2, **{"class": 1})
    path = folder / "labels" / f"{sha256_of(asked_frame(0))}.png"
    painted_HW = np.full(SIZE_HW, 255, np.uint8)
    painted_HW[place] = value
    path.write_bytes(encode_gray_png(painted_HW))
    result = imported(root, folder, "cityscapes")
    assert result.exit_code == 1
    assert why in result.output
    assert labels(root) == [None] * 4


def test_png_of_another_size_or_frame_is_refused(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    path = folder / "labels" / f"{sha256_of(asked_frame(0))}.png"
    path.write_bytes(encode_gray_png(np.full((4, 4), 255, np.uint8)))
    (folder / "labels" / "other.png").write_bytes(encode_gray_png(np.full((4, 4), 255, np.uint8)))
    output = imported(root, folder, "cityscapes").output
    assert "it is (4, 4) where the frame is (64, 96)" in output
    assert "other.png" in output
    Image.new("1", (20_000, 20_000)).save(path)
    assert "a PNG of 20000 x 20000 pixels" in imported(root, folder, "cityscapes").output


def test_what_is_not_there_is_told(root: StorageRoot, batch_of_four: str, tmp_path: Path) -> None:
    nobody = run("export", "--domain", "sim-fog", "--root", root.url, "--out", str(tmp_path / "fog"))
    assert nobody.exit_code == 1
    assert "nobody was asked about regions of sim-fog: roadshift labels ask --domain sim-fog" in nobody.output
    assert not (tmp_path / "fog").exists()
    folder = exported(root, tmp_path / "out", "cityscapes")
    for form, why in (("cityscapes", "nothing is labelled in"), ("cvat", "annotations.xml is missing")):
        result = imported(root, folder, form)
        assert result.exit_code == 1
        assert why in result.output


def test_a_second_opinion_from_a_file_waits_for_a_third(root: StorageRoot, tmp_path: Path) -> None:
    leave_batch(root, [asked_frame(0)], 1, people=2, clicks=3)
    folder = exported(root, tmp_path / "out", "cvat")
    for annotator, label in (("anna", "car"), ("ben", "truck"), ("ben", "road")):
        changed_xml(folder, {0: {"label": label}})
        options = ("--domain", "sim-dusk", "--root", root.url, "--annotator", annotator)
        result = run("import", str(folder), *options)
    assert "ben called it truck before: take that back first" in result.output
    (batch,) = read_batches(root, "sim-dusk")
    assert [(opinion.annotator, opinion.seconds) for opinion in batch.tasks[0].opinions] == [
        ("anna", None),
        ("ben", None),
    ]
    assert batch.tasks[0].label is None


def test_a_batch_is_dropped_with_the_frames_that_nobody_else_asks_about(root: StorageRoot) -> None:
    both, alone = asked_frame(0), asked_frame(1)
    first, second = leave_batch(root, [both, alone], 1), leave_batch(root, [both], 2)
    options = ("--domain", "sim-dusk", "--root", root.url)
    assert run("drop", "--batch", first.id, *options).exit_code == 0
    assert [batch.id for batch in read_batches(root, "sim-dusk")] == [second.id]
    (kept,) = root.list_objects("regions/sim-dusk/frames")
    assert sha256_of(both) in kept.key
    missing = run("drop", "--batch", first.id, *options)
    assert missing.exit_code == 1
    assert "there is no batch" in missing.output


def test_what_cannot_be_is_said_in_one_line(root: StorageRoot, tmp_path: Path) -> None:
    options = ("--domain", "No Domain", "--root", root.url)
    assert "is no domain name" in run("export", "--out", str(tmp_path / "x"), *options).output
    assert "does not exist" in run("import", str(tmp_path / "nothing"), *options).output
    assert "exists: name a new folder" in run("export", "--out", str(tmp_path), *options).output


@pytest.mark.parametrize("twin", ["{}.jpg", "{}.PNG"])
@pytest.mark.parametrize("form", ["cvat", "cityscapes"])
def test_two_files_of_one_frame_are_both_named_and_nothing_is_taken(
    root: StorageRoot, batch_of_four: str, tmp_path: Path, form: str, twin: str
) -> None:
    folder = exported(root, tmp_path / "out", form)
    sha256 = sha256_of(asked_frame(0))
    if form == "cvat":
        changed_xml(folder, {0: {"label": "car"}})
        tree = tree_of(folder)
        ET.SubElement(tree.getroot(), "image", dict(next(tree.iter("image")).attrib) | {"name": twin.format(sha256)})
        tree.write(folder / "annotations.xml")
    else:
        changed_list(folder, 0, **{"class": CAR})
        shutil.copyfile(folder / "labels" / f"{sha256}.png", folder / "labels" / twin.format(sha256))
    result = imported(root, folder, form, "--take-valid")
    assert result.exit_code == 1
    assert f"{sha256}.png" in result.output
    assert twin.format(sha256) in result.output
    assert labels(root) == [None] * 4
