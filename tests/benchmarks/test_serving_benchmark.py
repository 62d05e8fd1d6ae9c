"""The serving benchmark runs every way, on a tiny release and for moments only: its figures mean nothing here."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from benchmarks.serving.engine import BareEngine
from benchmarks.serving.known_frames import KnownFrame
from clients.simulation.rendered_frames import render_drives
from exchange.images.labels import encode_palette_png
from server.settings import STARTER_RELEASE

WAYS = [
    "Triton, 4 at a time",
    "whole path, 16 vehicles",
    "whole path, 1 vehicle",
    "bare engine",
    "whole path, 4 vehicles",
    "LitServe (1 worker, all cores), 4 vehicles",
    "LitServe (2 workers, half of them each), 4 vehicles",
    "whole path, overload",
    "LitServe (1 worker, all cores), overload",
    "LitServe (2 workers, half of them each), overload",
]


def test_every_way_is_served_and_judged(make_release: Callable[..., Any], tmp_path: Path) -> None:
    """Every way answers, nothing is wrong, the table and the file hold every row, and every verdict is given."""
    release = make_release((64, 128), work=4)
    command = [sys.executable, "-m", "benchmarks.serving", "--rounds", "2"]
    command += ["--seconds", "0.5", "--overload-seconds", "1"]
    ended = subprocess.run(
        [*command, "--release", release.path, "--results", tmp_path], capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr
    (report,) = tmp_path.glob("serving-*.json")
    rows = json.loads(report.read_text())["rows"]
    ways = {row["way"]: row for row in rows if "way" in row}
    assert list(ways) == WAYS
    assert all(way in ended.stdout for way in WAYS)
    for way, row in ways.items():
        assert row["answered"] > 0, way
        assert row["wrong"] == 0, way
        assert row["engine CPU ms"] > 0, way
    assert ways["whole path, overload"]["refused"] > 0
    assert ways["whole path, overload"]["lost"] == 0
    assert ways["whole path, 4 vehicles"]["gateway CPU ms"] > 0
    assert [row["holds"] in ("yes", "NO") for row in rows if "must" in row] == [True] * 14


def test_the_starter_labels_a_frame_alike_on_all_cores_and_on_one() -> None:
    """Frames are shared out to engines with all cores and with half of them; nobody must be able to tell."""
    engines = BareEngine(STARTER_RELEASE), BareEngine(STARTER_RELEASE, threads=1)
    size_hw = engines[0].frame_size_hw
    ((frame,),) = render_drives("sim-day", 1, 1, size_hw, seed=0)
    frame_HW3 = simplejpeg.decode_jpeg(frame.jpeg)
    on_all_HW, on_one_HW = (engine.label(frame_HW3, size_hw) for engine in engines)
    np.testing.assert_array_equal(on_all_HW, on_one_HW)


@pytest.mark.parametrize("as_png", [False, True])
def test_other_labels_than_the_engines_are_wrong(as_png: bool) -> None:
    labels_HW = np.arange(8, dtype=np.uint8).reshape(2, 4)
    frame = KnownFrame(b"", np.zeros((2, 4, 3), np.uint8), (2, 4), labels_HW)
    other_HW = labels_HW.copy()
    other_HW[1, 2] += 1
    encode = encode_palette_png if as_png else np.asarray
    assert [frame.is_answered_by(encode(labels)) for labels in (labels_HW, labels_HW, other_HW)] == [True, True, False]
    assert not frame.is_answered_by(b"no picture")


def test_a_release_that_is_none_gets_one_clear_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.serving", "--release", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
