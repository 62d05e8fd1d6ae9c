"""Folders that are written whole or not at all, and never over another one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderTaken(ValueError):
    """There is something already where a folder was to be written."""


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end, or is removed if anything goes wrong before.

    A process that is killed leaves it behind as `.NAME.partial`; the next one that writes the same folder removes it.

    Raises:
        FolderTaken: `out` exists and is no empty folder.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FolderTaken(f"{out} exists, and nothing is written over it: name another folder")
    out = out.absolute()
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
