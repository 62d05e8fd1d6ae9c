"""The whole path as a user starts it: `roadshift serve --release` with its embedded Triton, frames in, labels out."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clients.client import Connection, RoadshiftClient
from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.label_space import NUM_CLASSES
from server.triton.shared_memory import FAMILY, SHM_DIR

ROADSHIFT = Path(sys.executable).with_name("roadshift")
FRAME_SIZE = (64, 128)


def command(release: Any, run_dir: Path) -> list[str | Path]:
    options = ["--listen", "127.0.0.1:0", "--metrics", "", "--release", release.path, "--run-dir", run_dir]
    return [ROADSHIFT, "serve", *options]


def test_frames_of_many_sizes_through_the_whole_path(make_release: Callable[..., Any], tmp_path: Path) -> None:
    """Labels equal the engine's own, at each frame's own size; the end is clean; a second start says why it cannot."""
    release = make_release(FRAME_SIZE)
    rng = np.random.default_rng(3)
    serving = subprocess.Popen(command(release, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert serving.stdout is not None
    with serving:
        try:
            first_line = serving.stdout.readline()
            assert first_line.startswith("serving on port ")
            with RoadshiftClient(Connection(f"127.0.0.1:{first_line.split()[-1]}"), timeout_s=60.0) as client:
                for size in (FRAME_SIZE, (360, 480), (1024, 2048), (50, 30)):
                    image_HW3 = np.repeat(np.repeat(rng.integers(0, 256, (*size, 3), np.uint8)[::8, ::8], 8, 0), 8, 1)
                    image_HW3 = np.ascontiguousarray(image_HW3[: size[0], : size[1]])
                    buffer = io.BytesIO()
                    Image.fromarray(image_HW3).save(buffer, "PNG")
                    result = client.segment(buffer.getvalue())
                    frame_HW3, valid_hw = fit_frame(image_HW3, FRAME_SIZE)
                    output = release.run_engine(frame_HW3, np.zeros(NUM_CLASSES, np.float32), valid_hw)
                    np.testing.assert_array_equal(result.labels_HW, restore_labels(output["LABEL"], valid_hw, size))
            second = subprocess.run(command(release, tmp_path), capture_output=True, text=True)
            assert second.returncode == 1
            assert [line.startswith("error: ") for line in second.stderr.splitlines()] == [True]
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(60) == 0
        finally:
            serving.kill()
    assert not list(SHM_DIR.glob(f"{FAMILY}{serving.pid}-*"))
