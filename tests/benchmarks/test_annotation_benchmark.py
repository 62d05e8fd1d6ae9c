"""The benchmark of annotation in miniature, from rendering to the table; and its people."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.annotation.__main__ import main
from benchmarks.annotation.people import true_label
from exchange.regions.batches import read_batches
from exchange.regions.tasks import UNSURE
from exchange.storage import open_root

OPTIONS = "--rows 64 --frames 4 --held-out 2 --start-iterations 2 --iterations 2 --rounds 2 --clicks 12 --seeds 0"


def test_a_miniature_asks_labels_learns_and_scores(tmp_path: Path) -> None:
    work = ["--threads", "1", "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    main([*OPTIONS.split(), *work])
    (path,) = (tmp_path / "results").iterdir()
    report = json.loads(path.read_text())
    assert [row["after round"] for row in report["rows"]] == [0, 1, 2]
    last = report["rows"][-1]
    assert last["difference"] == pytest.approx(last["acquisition"] - last["random"])
    assert 12 < last["clicks, acquisition"] <= 26  # a dispute takes a third click
    assert 0 < last["right, random"] <= 1
    for choice in ("acquisition", "random"):
        batches = read_batches(open_root(f"file://{tmp_path}/work/{choice}-0/root"), "sim-dusk")
        assert len(batches) == 2
        assert all(task.is_closed for batch in batches for task in batch.tasks)
        boxes = [(task.frame_sha256, task.box, task.predicted) for batch in batches for task in batch.tasks]
        assert len(set(boxes)) == len(boxes)


def test_people_say_what_most_of_a_region_is_and_unsure_where_nothing_is() -> None:
    assert true_label(np.array([3, 3, 3, 5], np.uint8)) == 3
    assert true_label(np.array([3, 3, 5, 5], np.uint8)) == UNSURE
    assert true_label(np.array([3, 255, 255], np.uint8)) == UNSURE
    assert true_label(np.array([], np.uint8)) == UNSURE
