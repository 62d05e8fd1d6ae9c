"""A file of CVAT whole: what was exported comes back region by region, and nothing that a file declares is expanded."""

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.annotation_files.cvat import Shape
from clients.annotation_files.refusals import FileRefused
from exchange.label_space import CLASS_NAMES
from exchange.regions.batches import create_batch, keep_frame, read_batches
from exchange.regions.segments import run_lengths
from exchange.regions.tasks import Box, RegionBatch, RegionTask
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import BEGIN, SIZE_HW, asked_frame, leave_batch, regions_of, sha256_of
from tests.annotation.test_cvat_shapes import box, file_of, image_of, read
from tests.annotation.test_label_files import exported, imported, labels, tree_of

LAUGHS = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
DECLARED = {
    "an entity": '<!DOCTYPE a [<!ENTITY b "pole">]>',
    "billion laughs": f'<!DOCTYPE a [<!ENTITY a0 "ha">{LAUGHS}]>',
    "an external entity": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
    "an external DTD": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    "a parameter entity": '<!DOCTYPE a [<!ENTITY % b SYSTEM "file:///etc/hostname"> %b;]>',
    "a DOCTYPE alone": "<!DOCTYPE annotations>",
    "after a comment": '\n<!-- a --><?b c?> <!DOCTYPE a [<!ENTITY b "pole">]>',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "cp1252"])
@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED)
@pytest.mark.parametrize("version", ["1.0", "1.1", None])
def test_what_declares_anything_is_refused_in_any_encoding(
    tmp_path: Path, encoding: str, declared: str, version: str | None
) -> None:
    name = {"utf-8-sig": "utf-8", "utf-16-le": "utf-16", "utf-16-be": "utf-16"}.get(encoding, encoding)
    head = "" if version is None else f'<?xml version="{version}" encoding="{name}"?>'
    text = head + declared + file_of(image_of(box(1, 9, 1, 9, label="pole")))
    with pytest.raises(FileRefused, match=r"annotations\.xml has a DOCTYPE|no whole XML file") as refused:
        read(tmp_path, text.encode(encoding))
    if version is not None or encoding not in ("utf-16-le", "utf-16-be"):  # without either no XML
        assert "declares entities" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_a_file_that_declares_nothing_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    (found,) = read(tmp_path, (head + file_of(image_of(box(1, 9, 1, 9)))).encode(encoding))
    assert isinstance(found, Shape)


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-7", "rot13", "nothing"])
def test_an_encoding_that_is_not_known_is_told(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(FileRefused, match="no whole XML file"):
        read(tmp_path, f'<?xml version="1.0" encoding="{encoding}"?>{file_of()}')


@pytest.mark.parametrize(
    ("child", "why"),
    [
        ('<track id="0" label="pole"><box frame="0" keyframe="1" outside="0"/></track>', "holds a track"),
        ('<job id="1"/>', "holds a job"),
    ],
)
def test_what_is_of_another_form_of_cvat_is_refused_by_its_name(tmp_path: Path, child: str, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        read(tmp_path, file_of(image_of(box(1, 9, 1, 9)), child))


def test_a_file_with_a_doctype_in_utf_16_answers_nothing(root: StorageRoot, tmp_path: Path) -> None:
    leave_batch(root, [asked_frame(0)], 4)
    folder = exported(root, tmp_path / "out", "cvat")
    text = (folder / "annotations.xml").read_text().replace('"unlabelled"', '"&b;"').partition("?>")[2]
    head = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "car">]>'
    (folder / "annotations.xml").write_bytes((head + text).encode("utf-16"))
    result = imported(root, folder, "cvat")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "declares entities" in result.output
    assert labels(root) == [None] * 4


@pytest.fixture
def ragged(root: StorageRoot) -> RegionBatch:
    """A frame that is asked about whole: every pixel is of the region whose seed lies nearest."""
    seeds_N2 = np.random.default_rng(3).uniform(0, SIZE_HW, (24, 2))
    pixels_HW2 = np.stack(np.indices(SIZE_HW), axis=-1)
    nearest_HW = ((pixels_HW2[:, :, None] - seeds_N2) ** 2).sum(-1).argmin(-1)
    (like,) = regions_of(asked_frame(0), 1)
    tasks = tuple(_task_of(like, number, nearest_HW == seed) for number, seed in enumerate(np.unique(nearest_HW)))
    batch = RegionBatch(
        id="20261123T090000Z-000000", domain="sim-dusk", asked_by="a", asked_at=BEGIN, clicks=len(tasks), phase="open",
        tasks=tasks,
    )  # fmt: skip
    keep_frame(root, "sim-dusk", sha256_of(asked_frame(0)), asked_frame(0))
    create_batch(root, batch)
    return batch


def _task_of(like: RegionTask, number: int, inside_HW: np.ndarray) -> RegionTask:
    rows, columns = np.nonzero(inside_HW)
    box = Box(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    runs = run_lengths(inside_HW[box.top : box.bottom, box.left : box.right])
    return like.model_copy(update={"number": number, "box": box, "runs": runs})


def _outline(task: RegionTask) -> str:
    (outline,), _ = cv2.findContours(task.segment_hw.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return ";".join(f"{x + task.box.left}.00,{y + task.box.top}.00" for x, y in outline[:, 0])


@pytest.mark.parametrize("form", ["mask", "polygon"])
def test_every_region_gets_back_its_own_class(
    root: StorageRoot, ragged: RegionBatch, tmp_path: Path, form: str
) -> None:
    folder = exported(root, tmp_path / "out", "cvat")
    tree = tree_of(folder)
    (image,) = tree.iter("image")
    said = [number % len(CLASS_NAMES) for number in range(len(ragged.tasks))]
    for mask, task, label in zip(list(image), ragged.tasks, said, strict=True):
        mask.set("label", CLASS_NAMES[label])
        if form == "polygon":
            image.remove(mask)
            attributes = {"label": CLASS_NAMES[label], "source": "manual", "occluded": "0", "z_order": "0"}
            ET.SubElement(image, "polygon", attributes | {"points": _outline(task)})
    tree.write(folder / "annotations.xml")
    result = imported(root, folder, "cvat")
    assert result.exit_code == 0, result.output
    assert labels(root) == said
    assert [task.runs for batch in read_batches(root, "sim-dusk") for task in batch.tasks] == [
        task.runs for task in ragged.tasks
    ]
