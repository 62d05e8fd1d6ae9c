"""Imports of labels: what a file leaves out is told, an import can be taken back, and the audit tells of both."""

import json
from pathlib import Path

import pytest

from exchange.audit import read_audit
from exchange.region_batches import read_batches
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import CAR, ROAD, Clock, asked_frame, leave_batch, sha256_of
from tests.annotation.test_label_files import changed_list, changed_xml, exported, imported, labels, run, tree_of

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
    from adaptation.annotation.desk import LabelDesk

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
