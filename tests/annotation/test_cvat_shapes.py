"""Shapes of CVAT: the pixels that they cover, which region they name, and what of them is refused by its name."""

import cmath
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from clients.annotation_files.answers import LEAST_OVERLAP, Answer, answer_of
from clients.annotation_files.asked_frames import AskedRegion
from clients.annotation_files.cvat import Shape, read_cvat
from clients.annotation_files.refusals import Refusal
from exchange.label_space import TRAIN_ID
from exchange.regions.tasks import Box, RegionTask
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import CAR, ROAD, asked_frame, leave_batch, sha256_of
from tests.annotation.test_label_files import imported, labels

SIZE_HW = (96, 128)
FRAME = "ab" * 32
PLACE = f"annotations.xml, image {FRAME}.png"
KERB = {"xtl": "20.3", "ytl": "50.2", "xbr": "60.4", "ybr": "60.1"}


def image_of(*shapes: str, name: str = f"{FRAME}.png", size_hw: tuple[int, int] = SIZE_HW) -> str:
    return f'<image id="0" name="{name}" width="{size_hw[1]}" height="{size_hw[0]}">{"".join(shapes)}</image>'


def file_of(*images: str) -> str:
    return f"<annotations><version>1.1</version>{''.join(images)}</annotations>"


def shape(tag: str, *, label: str = "pole", inside: str = "", **attributes: str) -> str:
    told = "".join(f' {name}="{text}"' for name, text in {"label": label, **attributes}.items())
    return f"<{tag}{told}>{inside}</{tag}>"


def box(top: int, bottom: int, left: int, right: int, **attributes: str) -> str:
    return shape("box", xtl=str(left), ytl=str(top), xbr=str(right), ybr=str(bottom), **attributes)


def read(folder: Path, text: str | bytes) -> list[Shape | Refusal]:
    (folder / "annotations.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_cvat(folder, {FRAME: SIZE_HW}))


def drawn(folder: Path, *shapes: str) -> list[NDArray[np.bool_]]:
    found = read(folder, file_of(image_of(*shapes)))
    assert not [each for each in found if isinstance(each, Refusal)]
    return [each.inside_HW for each in found if isinstance(each, Shape)]


def centres() -> NDArray[np.complex128]:
    rows, columns = np.indices(SIZE_HW) + 0.5
    return columns + 1j * rows


def turned_rectangle(x0: float, y0: float, x1: float, y1: float, degrees: float) -> NDArray[np.bool_]:
    """The pixels whose centres lie on the inner side of all four turned edges; rows grow downwards, so that a
    positive angle turns clockwise."""
    centre = complex(x0 + x1, y0 + y1) / 2
    turn = cmath.exp(1j * math.radians(degrees))
    corners = [centre + (corner - centre) * turn for corner in (x0 + 1j * y0, x1 + 1j * y0, x1 + 1j * y1, x0 + 1j * y1)]
    inside_HW = np.ones(SIZE_HW, np.bool_)
    for begin, end in zip(corners, corners[1:] + corners[:1], strict=True):
        inside_HW &= ((centres() - begin) * (end - begin).conjugate()).imag >= 0
    return inside_HW


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, 270, -45, 359.9, 450])
def test_a_box_is_turned_clockwise_about_its_centre(tmp_path: Path, degrees: float) -> None:
    (inside_HW,) = drawn(tmp_path, shape("box", **KERB, rotation=str(degrees)))
    expected_HW = turned_rectangle(*map(float, KERB.values()), degrees)
    np.testing.assert_array_equal(inside_HW, expected_HW)
    corners = cv2.boxPoints(((40.35, 55.15), (40.1, 9.9), degrees))
    filled_HW = cv2.fillPoly(np.zeros(SIZE_HW, np.uint8), [np.floor(corners).astype(np.int32)], (1,)) > 0
    assert (inside_HW & filled_HW).sum() > 0.8 * (inside_HW | filled_HW).sum()


def test_full_turns_change_nothing_and_the_far_end_of_a_clockwise_turn_sinks(tmp_path: Path) -> None:
    plain, zero, whole, slanted = (
        box(50, 60, 20, 60, **({} if rotation is None else {"rotation": rotation}))
        for rotation in (None, "0.00", "360", "20")
    )
    plain_HW, zero_HW, whole_HW, slanted_HW = drawn(tmp_path, plain, zero, whole, slanted)
    expected_HW = np.zeros(SIZE_HW, np.bool_)
    expected_HW[50:60, 20:60] = True
    for inside_HW in (plain_HW, zero_HW, whole_HW):
        np.testing.assert_array_equal(inside_HW, expected_HW)
    rows, columns = np.nonzero(slanted_HW)
    assert rows[columns.argmax()] > rows[columns.argmin()]


def test_what_a_turn_takes_out_of_the_image_is_cut_off(tmp_path: Path) -> None:
    (inside_HW,) = drawn(tmp_path, box(45, 51, -40, 40, rotation="90"))
    np.testing.assert_array_equal(inside_HW, turned_rectangle(-40, 45, 40, 51, 90))
    assert inside_HW.any()


@pytest.mark.parametrize("degrees", [0, 30, 90, -45])
def test_an_ellipse_is_turned_as_a_box_is(tmp_path: Path, degrees: float) -> None:
    (inside_HW,) = drawn(tmp_path, shape("ellipse", cx="60.3", cy="40.2", rx="30.1", ry="8.4", rotation=str(degrees)))
    offset = (centres() - complex(60.3, 40.2)) * cmath.exp(-1j * math.radians(degrees))
    np.testing.assert_array_equal(inside_HW, (offset.real / 30.1) ** 2 + (offset.imag / 8.4) ** 2 <= 1)


SQUARE = {"xtl": "1", "ytl": "1", "xbr": "9", "ybr": "9"}
SMALL_MASK = {"rle": "0, 4", "left": "0", "top": "0", "width": "2", "height": "2"}


def refused_shapes() -> Iterator[tuple[str, str]]:
    for bad in ("nan", "inf", "-inf", "1e9", "x", "", "1_0"):
        for key in SQUARE:
            yield shape("box", **(SQUARE | {key: bad})), f"attribute {key}"
        yield shape("box", **SQUARE, rotation=bad), "attribute rotation"
        yield shape("polygon", points=f"1,1;9,1;9,{bad}"), "attribute points"
        for key in ("cx", "cy", "rx", "ry", "rotation"):
            circle = {"cx": "9", "cy": "9", "rx": "3", "ry": "3"}
            yield shape("ellipse", **(circle | {key: bad})), f"attribute {key}"
    for key in ("left", "top", "width", "height", "rle"):
        yield shape("mask", **(SMALL_MASK | {key: "1.5"})), f"attribute {key}"
        yield shape("mask", **{name: text for name, text in SMALL_MASK.items() if name != key}), f"attribute {key}"
    yield shape("mask", **(SMALL_MASK | {"rle": "-4, 8"})), "attribute rle"
    yield shape("mask", **(SMALL_MASK | {"rle": "4"})), "covers no pixel"
    yield shape("mask", **(SMALL_MASK | {"width": "0"})), "a mask of 2 x 0"
    yield box(9, 1, 1, 9), "a box from 9, 1 to 1, 9"
    yield box(1, 1, 1, 9), "a box from 1, 1 to 1, 9"
    yield box(-1, 9, 1, 9), "a box from -1, 1 to 9, 9"
    yield box(200, 210, 200, 210, rotation="45"), "covers no pixel"
    yield shape("ellipse", cx="9", cy="9", rx="0", ry="3"), "radii rx 0 and ry 3"
    yield shape("ellipse", cx="9", cy="9", rx="3", ry="-3"), "radii rx 3 and ry -3"
    yield shape("polygon", points="1,1;9,1"), "give 3 to"
    yield shape("polygon", points="1,1;9,1;9"), "give 3 to"
    yield shape("polygon", points="1,1;5,1;9,1"), "a line without an area"
    yield shape("polygon", points="1,1;9,9;9,1;1,9"), "crosses itself"
    yield shape("polygon", points="1,1;400,1;400,9"), "points outside of the image"
    yield shape("polygon", points="1,1;9,1;9,9", rotation="30"), "attribute rotation"
    for name in ("skew", "outside", "keyframe", "frame"):
        yield shape("box", **SQUARE, **{name: "1"}), f"attribute {name}"
    yield shape("box", **SQUARE, occluded="2"), "attribute occluded"
    yield shape("box", **SQUARE, group_id="a"), "attribute group_id"
    yield shape("box", **SQUARE, inside='<attribute name="colour">red</attribute>'), "attribute 'colour'"
    yield shape("polyline", points="1,1;9,1;9,9"), "a polyline is no area"
    yield shape("points", points="1,1"), "a points is no area"
    yield shape("cuboid", xtl1="1"), "a cuboid is no area"
    yield shape("skeleton", inside=shape("points", points="1,1")), "a skeleton is no area"
    yield shape("tag"), "a tag is no area"
    yield shape("box", **SQUARE, label="tram"), "there is no class 'tram'"


@pytest.mark.parametrize(("bad", "why"), [*refused_shapes()])
def test_what_is_no_area_or_not_understood_is_refused_by_its_name(tmp_path: Path, bad: str, why: str) -> None:
    found = read(tmp_path, file_of(image_of(box(1, 9, 1, 9), bad)))
    assert sum(isinstance(each, Shape) for each in found) == 1
    (refused,) = (each for each in found if isinstance(each, Refusal))
    assert refused.place == f"{PLACE}, {bad[1:].split()[0]} 2"
    assert why in refused.why


@pytest.mark.parametrize(
    "bad",
    [
        shape("polygon", points="1,1;9,1;9,9", rotation="30", z_order="2"),
        shape("box", **SQUARE, label="tram", z_order="2"),
        shape("box", **(SQUARE | {"xbr": "nan"}), z_order="2"),
        shape("box", **SQUARE, z_order="top"),
    ],
)
def test_what_a_refused_shape_may_hide_is_no_answer(tmp_path: Path, bad: str) -> None:
    below, beside = box(1, 9, 1, 9, z_order="1"), box(20, 30, 1, 9, z_order="2")
    other = image_of(below, name=f"{'0' * 64}.png")
    sizes = {FRAME: SIZE_HW, "0" * 64: SIZE_HW}
    (tmp_path / "annotations.xml").write_text(file_of(image_of(below, bad, beside), other))
    found = [*read_cvat(tmp_path, sizes)]
    refused = {each.place: each.why for each in found if isinstance(each, Refusal)}
    assert "a shape above it is refused" in refused[f"{PLACE}, box 1"]
    taken = [each.place for each in found if isinstance(each, Shape)]
    hidden = 'z_order="top"' in bad
    assert taken == [*([] if hidden else [f"{PLACE}, box 3"]), f"annotations.xml, image {'0' * 64}.png, box 1"]


def test_attributes_without_a_bearing_on_the_area_are_known(tmp_path: Path) -> None:
    (inside_HW,) = drawn(tmp_path, box(1, 9, 1, 9, source="semi-auto", occluded="1", group_id="3", z_order="-2"))
    assert inside_HW.sum() == 64


def test_a_higher_shape_hides_what_lies_below(tmp_path: Path) -> None:
    road, car, nobody = (
        box(0, 40, 0, 40, label="road", z_order="0"),
        box(10, 40, 0, 40, label="car", z_order="10"),
        box(0, 96, 0, 128, label="unlabelled", z_order="11"),
    )
    found = read(tmp_path, file_of(image_of(road, box(20, 30, 20, 30, z_order="9"), car, nobody)))
    seen = {each.label: each.inside_HW for each in found if isinstance(each, Shape)}
    assert seen.keys() == {ROAD, CAR, None}, "the pole is hidden whole"
    assert (seen[ROAD][:10, :40].all(), seen[ROAD].sum()) == (True, 400)
    assert seen[CAR].sum() == 1200, "who says nothing hides nothing"


def region(number: int, box: Box) -> AskedRegion:
    size = (box.bottom - box.top) * (box.right - box.left)
    return AskedRegion(
        "20261123T090000Z-000000",
        RegionTask(
            number=number, frame_sha256=FRAME, vehicle="v1", drive="d1", size_hw=SIZE_HW, box=box, runs=(0, size),
            predicted=ROAD, model_version=1, score=1,
        ),
    )  # fmt: skip


def said(folder: Path, drawn: str, *regions: AskedRegion) -> Answer | Refusal | None:
    (found,) = read(folder, file_of(image_of(drawn)))
    assert isinstance(found, Shape)
    return answer_of(found, regions)


def test_a_turned_box_names_the_pole_and_not_the_kerb_that_lies_across(tmp_path: Path) -> None:
    kerb, pole = region(1, Box(50, 60, 20, 60)), region(2, Box(35, 75, 35, 45))
    for rotation, number in (("0", 1), ("90", 2), ("180", 1), ("270", 2)):
        answer = said(tmp_path, box(50, 60, 20, 60, rotation=rotation), kerb, pole)
        assert isinstance(answer, Answer)
        assert (answer.number, answer.label) == (number, TRAIN_ID["pole"])


def test_a_shape_is_taken_for_a_region_by_a_bound_that_is_told(tmp_path: Path) -> None:
    asked = region(1, Box(0, 10, 0, 10))
    assert isinstance(said(tmp_path, box(0, 10, 0, 5), asked), Answer), "exactly at the bound"
    refused = said(tmp_path, box(0, 10, 0, 21), asked)
    assert isinstance(refused, Refusal)
    assert "rows 0 to 10 and columns 0 to 10, its overlap (IoU) is 0.47" in refused.why
    assert f"{LEAST_OVERLAP} is the least" in refused.why


def test_a_shape_that_might_be_either_of_two_regions_is_refused(tmp_path: Path) -> None:
    left, right = region(1, Box(0, 10, 0, 10)), region(2, Box(0, 10, 10, 20))
    both = said(tmp_path, box(0, 10, 0, 20), left, right)
    assert isinstance(both, Refusal)
    assert "columns 0 to 10 (IoU 0.50) and rows 0 to 10 and columns 10 to 20 (0.50)" in both.why
    near = region(2, Box(0, 10, 0, 11))
    assert isinstance(said(tmp_path, box(0, 9, 0, 10), left, near), Refusal)
    exact = said(tmp_path, box(0, 10, 0, 11), left, near)
    assert isinstance(exact, Answer)
    assert exact.number == 2
    assert isinstance(said(tmp_path, box(0, 9, 0, 10), left, region(2, left.task.box)), Answer), "the same pixels"


def test_an_image_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    twice = file_of(image_of(box(1, 9, 1, 9)), image_of(box(1, 9, 1, 9)))
    found = read(tmp_path, twice)
    assert [each.place for each in found] == [PLACE, PLACE]
    assert all(isinstance(each, Refusal) and "names it 2 times" in each.why for each in found)


@pytest.mark.parametrize("size", [' width="128"', ' width="96" height="128"', ' width="nan" height="96"', ""])
def test_an_image_of_another_size_or_of_none_is_refused(tmp_path: Path, size: str) -> None:
    (refused,) = read(tmp_path, file_of(f'<image id="0" name="{FRAME}.png"{size}>{box(1, 9, 1, 9)}</image>'))
    assert isinstance(refused, Refusal)
    assert "where the frame is 96 x 128" in refused.why


def test_turned_and_plain_shapes_of_a_file_are_imported(root: StorageRoot, tmp_path: Path) -> None:
    leave_batch(root, [asked_frame(0)], 4)
    (tmp_path / "annotations.xml").write_text(
        file_of(
            image_of(
                box(26, 34, 2, 6, label="car", rotation="90.00"),  # rows 28 to 32, columns 0 to 8
                box(32, 36, 8, 16, label="road", rotation="180"),
                name=f"{sha256_of(asked_frame(0))}.png",
                size_hw=(64, 96),
            )
        )
    )
    result = imported(root, tmp_path, "cvat")
    assert result.exit_code == 0, result.output
    assert labels(root) == [CAR, None, None, ROAD]
