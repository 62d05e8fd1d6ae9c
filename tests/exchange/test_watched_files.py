"""Files that are replaced while a process runs: what counts as their value, how often they are read, what is logged."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exchange.net.startup_error import StartupError
from exchange.net.watched_files import WatchedFiles
from tests.clocks import Clock


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[Records]:
    records, log = Records(), logging.getLogger("exchange.net.watched_files")
    log.addHandler(records)
    yield records
    log.removeHandler(records)


def number(contents: Sequence[bytes]) -> int:
    try:
        return int(b"".join(contents))
    except ValueError as error:
        raise StartupError("these are no number") from error


def test_contents_count_not_times_or_sizes_and_at_most_once_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "number", Clock()
    path.write_text("1")
    before = path.stat()
    watched = WatchedFiles(path, what="file", parse=number, clock=clock)
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.now() == 1
    clock.pass_s(1)
    assert watched.now() == 2
    path.write_text("3")
    clock.pass_s(0.5)
    assert watched.now() == 2
    clock.pass_s(0.5)
    assert watched.now() == 3


def test_files_behind_links_that_are_swapped_together(tmp_path: Path) -> None:
    """As Kubernetes replaces a mounted secret: `..data` is a link to a folder, and each file one through it."""
    for version, content in (("old", "1"), ("new", "2")):
        (tmp_path / version).mkdir()
        for name in ("a", "b"):
            (tmp_path / version / name).write_text(content)
    (tmp_path / "..data").symlink_to("old")
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    clock = Clock()
    watched = WatchedFiles(tmp_path / "a", tmp_path / "b", what="file", parse=number, clock=clock)
    assert watched.now() == 11
    (tmp_path / "..tmp").symlink_to("new")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    clock.pass_s(1)
    assert watched.now() == 22


def test_what_cannot_be_used_changes_nothing_and_is_logged_once(tmp_path: Path, logged: Records) -> None:
    path, clock = tmp_path / "number", Clock()
    path.write_text("1")
    watched = WatchedFiles(path, what="file", parse=number, clock=clock)

    def looked_twice() -> list[str]:
        for _ in range(2):
            clock.pass_s(1)
            assert watched.now() == 1
        said, logged.warnings = logged.warnings, []
        return said

    path.write_text("one")
    kept = "; until that is mended, what was read before stays in use"
    assert looked_twice() == [f"these are no number{kept}"]
    path.write_text("two")
    assert looked_twice() == [f"these are no number{kept}"]
    path.unlink()
    assert looked_twice() == [f"file {path} cannot be read: No such file or directory{kept}"]
    path.mkdir()
    assert looked_twice() == [f"file {path} cannot be read: Is a directory{kept}"]
    path.rmdir()
    path.write_text("1")
    assert looked_twice() == []
    path.write_text("2")
    clock.pass_s(1)
    assert watched.now() == 2


def test_the_same_contents_are_the_same_object(tmp_path: Path) -> None:
    path, clock = tmp_path / "words", Clock()
    path.write_text("a b")
    watched = WatchedFiles(path, what="file", parse=lambda contents: contents[0].split(), clock=clock)
    first = watched.now()
    path.write_text("a b")
    clock.pass_s(1)
    assert watched.now() is first


def test_what_comes_through_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe, clock = tmp_path / "pipe", Clock()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("1",))
    writer.start()
    watched = WatchedFiles(pipe, what="file", parse=number, clock=clock)
    writer.join()
    clock.pass_s(100)
    assert watched.now() == 1  # to open it again would wait for another writer


def test_what_cannot_be_used_at_the_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "number"
    with pytest.raises(StartupError, match=r"file .*number cannot be read: No such file"):
        WatchedFiles(path, what="file", parse=number)
    path.write_text("one")
    with pytest.raises(StartupError, match="these are no number"):
        WatchedFiles(path, what="file", parse=number)
