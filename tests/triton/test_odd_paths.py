"""The embedded Triton serves from a folder, and by a Python, of any name; what cannot work is refused at once."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from clients.client import Connection, RoadshiftClient
from exchange.plain_words import refusal_of
from server.settings import GatewaySettings
from server.triton.assembly import connect_external
from server.triton.installation import TritonSetupError
from server.triton.shared_memory import SHM_DIR

ODD = "-a b#c?d%20é 日本;$HOME&'\"\\`*(~)<|>{!}=,:"


def test_serve_works_where_no_path_is_plain(
    make_release: Callable, random_frame: Callable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("odd") / ODD
    folder.mkdir()
    (folder / "python").symlink_to(sys.prefix)
    release = make_release()
    (folder / "release").symlink_to(release.path)
    run_dir, listen = f"{ODD}/{'long' * 60}/../", f"unix:{folder.parent}/a b#c"
    program = "import sys, cli; sys.argv[0] = 'roadshift'; cli.main()"
    python = folder / "python" / Path(sys.executable).relative_to(sys.prefix)
    command = [python, "-c", program, "serve", "--release", folder / "release", "--frames-at-once", "1"]
    command += ["--metrics", "", "--listen", listen, "--run-dir", run_dir]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        line = gateway.stdout.readline()  # or nothing, once it has ended
        if line:
            frame_HW3 = random_frame(release.frame_size)
            with RoadshiftClient(Connection(listen)) as client:
                labels_HW = client.segment(frame_HW3).labels_HW
            gateway.send_signal(signal.SIGTERM)
        _, errors = gateway.communicate()
    assert line == f"serving on {listen}\n", errors
    assert gateway.returncode == 0
    np.testing.assert_array_equal(labels_HW, release.expected_labels(frame_HW3, np.zeros(19, np.float32)))
    assert (folder / ODD / "models" / "segmenter" / "1").is_dir()
    assert not list(SHM_DIR.glob(f"roadshift-{gateway.pid}-*"))


@pytest.mark.parametrize("name", ["my models", "models;x", "mödels"])
async def test_a_repository_that_an_external_triton_could_not_load_from(
    make_release: Callable, tmp_path: Path, name: str
) -> None:
    with pytest.raises(TritonSetupError, match=f"^Triton starts no version below '{tmp_path / name}': give --triton-r"):
        await connect_external("127.0.0.1:1", tmp_path / name, make_release().path)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("option", ["run_dir", "release", "token_file", "root", "yield_file"])
def test_a_line_break_in_a_path_is_refused_by_name(option: str) -> None:
    with pytest.raises(ValidationError) as refused:
        GatewaySettings(**{option: "run\ndir"})  # type: ignore[arg-type]
    assert refusal_of(refused.value).startswith(f"{option}: 'run\\ndir' holds a line break")
