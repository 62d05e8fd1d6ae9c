"""The signal that stops a training around each inference, between real processes too."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from exchange.fleet.engine_busy import LONGEST_S, EngineBusyReader, EngineBusyWriter

_HANGING_GATEWAY = """
import pathlib, sys, time
from exchange.fleet.engine_busy import EngineBusyWriter
with EngineBusyWriter(pathlib.Path(sys.argv[1])).inferring():
    print("inferring", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "engine_busy"


def _wait_until_free(reader: EngineBusyReader) -> float:
    started_s = time.monotonic()
    while reader.is_busy():
        assert time.monotonic() - started_s < 10 * LONGEST_S
        time.sleep(0.005)
    return time.monotonic() - started_s


def test_busy_while_an_inference_runs(path: Path) -> None:
    writer = EngineBusyWriter(path)
    reader = EngineBusyReader(path)
    assert not reader.is_busy()
    with writer.inferring():
        assert reader.is_busy()
    assert not reader.is_busy()
    with writer.inferring():
        assert reader.is_busy()


def test_busy_until_the_last_of_several_has_ended(path: Path) -> None:
    writer, reader = EngineBusyWriter(path), EngineBusyReader(path)
    first, second = writer.inferring(), writer.inferring()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert reader.is_busy()
    second.__exit__(None, None, None)
    assert not reader.is_busy()


def test_an_inference_that_fails_has_ended(path: Path) -> None:
    writer, reader = EngineBusyWriter(path), EngineBusyReader(path)
    with pytest.raises(ZeroDivisionError), writer.inferring():
        _ = 1 / 0
    assert not reader.is_busy()


def test_busy_time_is_counted_once_where_inferences_overlap(path: Path) -> None:
    writer = EngineBusyWriter(path)
    assert writer.busy_s() == 0
    started_s = time.monotonic()
    with writer.inferring(), writer.inferring():
        time.sleep(0.05)
    assert 0.05 <= writer.busy_s() <= time.monotonic() - started_s


def test_no_gateway_means_free_until_one_starts(path: Path) -> None:
    reader = EngineBusyReader(path)
    assert not reader.is_busy()
    writer = EngineBusyWriter(path)
    give_up_s = time.monotonic() + 10
    seen = False
    while not seen:
        assert time.monotonic() < give_up_s
        with writer.inferring():
            seen = reader.is_busy()
        time.sleep(0.01)


def test_a_file_that_is_too_short_says_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"short")
    assert not EngineBusyReader(path).is_busy()


def test_a_killed_gateway_frees_the_cores_within_a_second_and_a_new_one_goes_on(path: Path) -> None:
    reader = EngineBusyReader(path)
    with subprocess.Popen([sys.executable, "-c", _HANGING_GATEWAY, str(path)], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == b"inferring\n"
        assert reader.is_busy()
        gateway.kill()
    assert _wait_until_free(reader) <= LONGEST_S + 0.5

    writer = EngineBusyWriter(path)  # the same file: the reader's map goes on
    assert not reader.is_busy()
    with writer.inferring():
        assert reader.is_busy()
