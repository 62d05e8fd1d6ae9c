"""Imports of labels: what a file leaves out is told, an import can be taken back, and the audit tells of both."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from exchange.images.labels import encode_gray_png, encode_palette_png
from exchange.images.whole_png import PALETTE
from exchange.regions.batches import read_batches
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import CAR, ROAD, SIZE_HW, Clock, asked_frame, leave_batch, sha256_of
from tests.annotation.test_label_files import changed_list, changed_xml, exported, imported, labels, run, tree_of
from tests.exchange.png_files import gray_png, optimised_png, png_of

FRAMES = [asked_frame(0), asked_frame(1)]


@pytest.fixture
def batch_of_two(root: StorageRoot) -> str:
    """A region in each of two frames."""
    return leave_batch(root, FRAMES, 1).id


def place_of(folder: Path, number: int) -> int:
    """Of a frame's region in the list."""
    listed = json.loads((folder / "regions.json").read_text())["regions"]
    return [region["frame_sha256"] for region in listed].index(sha256_of(FRAMES[number]))


def undone(root: StorageRoot, *which: str) -> str:
    result = run("undo-import", *which, "--domain", "sim-dusk", "--root", root.url)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_a_png_that_is_missing_among_others_is_told(root: StorageRoot, batch_of_two: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    for number in (0, 1):
        changed_list(folder, place_of(folder, number), **{"class": CAR})
    gone = sha256_of(FRAMES[1])
    (folder / "labels" / f"{gone}.png").unlink()
    result = imported(root, folder, "cityscapes")
    assert result.exit_code == 1
    assert f"the PNG of 1 of 2 frames is missing ({gone[:12]})" in result.output
    assert "put right what was refused in 1 place, or take the other 1 answer by --take-valid" in result.output
    assert labels(root) == [None, None]
    assert imported(root, folder, "cityscapes", "--take-valid").exit_code == 0
    assert labels(root) == [CAR, None]
    (folder / "labels" / f"{sha256_of(FRAMES[0])}.png").unlink()
    assert imported(root, folder, "cityscapes").exit_code == 0, "without any PNG the list alone counts"
    assert labels(root) == [CAR, CAR]


def test_frames_that_a_cvat_file_does_not_have_are_told(root: StorageRoot, batch_of_two: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    tree = tree_of(folder)
    first, second = tree.getroot().findall("image")
    tree.getroot().remove(second)
    tree.write(folder / "annotations.xml")
    changed_xml(folder, {0: {"label": "car"}})
    result = imported(root, folder, "cvat")
    assert result.exit_code == 0, result.output
    left_out = Path(second.get("name", "")).stem
    assert left_out != Path(first.get("name", "")).stem
    assert f"no answer in it for 1 region in 1 frame: {left_out[:12]}" in result.output
    assert "1 answer of anna taken" in result.output


def test_an_import_is_taken_back_by_its_id(root: StorageRoot, batch_of_two: str, tmp_path: Path, clock: Clock) -> None:
    from adaptation.control.labeling.desk import LabelDesk

    desk = LabelDesk(root, clock=clock)
    task = desk.lease("ben")
    assert task is not None
    desk.submit(task.id, "ben", ROAD)
    folder = exported(root, tmp_path / "out", "cvat")
    changed_xml(folder, {1: {"label": "car"}})
    said = imported(root, folder, "cvat").output
    assert labels(root) == [ROAD, CAR]
    import_id = said.partition("undo-import ")[2].split()[0]
    told = undone(root, import_id)
    assert "1 answer of anna in 1 batch taken back: their regions wait again" in told
    assert labels(root) == [ROAD, None]
    entry = read_audit(root)[-1]
    assert (entry.what, entry.details) == (
        "undo-import",
        {"answers": 1, "annotators": ["anna"], "batches": [batch_of_two], "import": import_id},
    )
    again = run("undo-import", import_id, "--domain", "sim-dusk", "--root", root.url)
    assert (again.exit_code, "no answer in sim-dusk is of such an import" in again.output) == (1, True)
    assert read_audit(root)[-1] == entry, "what changed nothing is not told"
    assert "1 answer of anna taken" in imported(root, folder, "cvat").output, "a better file can come"


def test_all_imports_in_a_name_are_taken_back(root: StorageRoot, batch_of_two: str, tmp_path: Path) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    for place, name in ((0, "anna"), (1, "ben")):
        changed_xml(folder, {place: {"label": "car"}})
        run("import", str(folder), "--domain", "sim-dusk", "--root", root.url, "--annotator", name)
    assert labels(root) == [CAR, CAR]
    assert "1 answer of ben in 1 batch" in undone(root, "--annotator", "ben")
    assert labels(root) == [CAR, None]


@pytest.mark.parametrize(
    ("which", "why"),
    [((), "say which"), (("yesterday",), "'yesterday' is no import's id"), (("--annotator", "a/b"), "is no name")],
)
def test_what_is_no_import_is_told(root: StorageRoot, batch_of_two: str, which: tuple[str, ...], why: str) -> None:
    result = run("undo-import", *which, "--domain", "sim-dusk", "--root", root.url)
    assert (result.exit_code, why in result.output) == (1, True), result.output


def test_the_audit_tells_what_somebody_who_investigates_needs(
    root: StorageRoot, batch_of_two: str, tmp_path: Path
) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    changed_xml(folder, {0: {"label": "car"}, 1: {"label": "unsure"}})
    imported(root, folder, "cvat")
    imported(root, folder, "cvat")
    (entry,) = read_audit(root)
    assert entry.what == "import-labels", "the second import took nothing, and left no entry"
    assert entry.details | {"import": ""} == {
        "import": "",
        "annotator": "anna",
        "answers": 2,
        "refused": 0,
        "source": f"cvat {folder}",
        "classes": {"car": 1, "unsure": 1},
        "batches": [batch_of_two],
    }
    dropped = run("drop", "--batch", batch_of_two, "--domain", "sim-dusk", "--root", root.url)
    assert "is gone, with 2 regions and 2 answers" in dropped.output
    last = read_audit(root)[-1]
    assert (last.what, last.details) == (
        "drop-labels",
        {"batch": batch_of_two, "regions": 2, "answers": 2, "annotators": ["anna"]},
    )
    assert read_batches(root, "sim-dusk") == []
    assert run("drop", "--batch", batch_of_two, "--domain", "sim-dusk", "--root", root.url).exit_code == 1
    assert read_audit(root)[-1] == last


def painted(label: int) -> NDArray[np.uint8]:
    """The one region of a frame with a label, uint8 [H, W]."""
    painted_HW = np.full(SIZE_HW, 255, np.uint8)
    painted_HW[28:32, 0:8] = label
    return painted_HW


def put(folder: Path, number: int, png: bytes) -> str:
    """In the place of a frame's labels."""
    path = folder / "labels" / f"{sha256_of(FRAMES[number])}.png"
    path.write_bytes(png)
    return f"labels/{path.name}"


def test_pngs_that_an_optimiser_or_we_gave_a_palette_are_taken(
    root: StorageRoot, batch_of_two: str, tmp_path: Path
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    put(folder, 0, optimised_png(painted(CAR)))
    put(folder, 1, optimised_png(painted(255)))
    assert imported(root, folder, "cityscapes").exit_code == 0
    assert labels(root) == [CAR, None]
    put(folder, 1, encode_palette_png(painted(ROAD)))
    assert imported(root, folder, "cityscapes").exit_code == 0
    assert labels(root) == [CAR, ROAD]


def test_nothing_of_a_png_with_labels_elsewhere_is_offered(
    root: StorageRoot, batch_of_two: str, tmp_path: Path
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    everywhere_HW = painted(CAR)
    everywhere_HW[0, 0] = ROAD
    place = put(folder, 0, encode_gray_png(everywhere_HW))
    result = imported(root, folder, "cityscapes")
    assert result.exit_code == 1
    assert f"{place}: 1 labelled pixel where nothing was asked about" in result.output
    assert "--take-valid" not in result.output, "there is nothing else"
    changed_list(folder, place_of(folder, 0), **{"class": CAR})
    put(folder, 1, encode_gray_png(painted(ROAD)))
    assert "or take the other 1 answer by --take-valid" in imported(root, folder, "cityscapes").output
    taken = imported(root, folder, "cityscapes", "--take-valid")
    assert taken.exit_code == 0
    assert "1 answer of anna taken" in taken.output
    assert labels(root) == [None, ROAD]


def test_pngs_that_leave_their_ids_open_are_refused_by_name(
    root: StorageRoot, batch_of_two: str, tmp_path: Path
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    put(folder, 1, encode_gray_png(painted(ROAD)))
    bits = (painted(ROAD) > 0).astype(np.uint8)
    vehicles = png_of(1 - bits, PALETTE, 1, palette=[(0, 0, 0), (0, 0, 142)])
    for png in (gray_png(bits, 1), vehicles, encode_gray_png(painted(CAR))[:-12]):
        place = put(folder, 0, png)
        result = imported(root, folder, "cityscapes")
        assert result.exit_code == 1
        assert f"refused: {place}: " in result.output
        assert "the other 1 answer by --take-valid" in result.output
    assert labels(root) == [None, None]


def test_pictures_of_other_formats_among_the_pngs_are_told(
    root: StorageRoot, batch_of_two: str, tmp_path: Path
) -> None:
    folder = exported(root, tmp_path / "out", "cityscapes")
    changed_list(folder, place_of(folder, 1), **{"class": CAR})
    exported_png = folder / "labels" / f"{sha256_of(FRAMES[0])}.png"
    as_exported = exported_png.read_bytes()
    exported_png.unlink()
    for ending in ("jpg", "PNG"):
        painted_in = exported_png.with_suffix(f".{ending}")
        Image.fromarray(painted(CAR)).save(painted_in)
        result = imported(root, folder, "cityscapes")
        assert result.exit_code == 1
        assert f"labels/{painted_in.name}: it is not read" in result.output
        painted_in.unlink()
    exported_png.write_bytes(as_exported)
    (folder / "labels" / "Thumbs.db").write_bytes(b"")
    assert imported(root, folder, "cityscapes").exit_code == 0
