import importlib.util
import os
import struct
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from exchange.registry.releases import ReleaseError
from server.triton.model_config import ModelConfig
from server.triton.repository import RepositoryError, TritonRepository


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_version_holds_the_host_its_compiled_form_and_the_engine(make_release: Callable, tmp_path: Path) -> None:
    repository = TritonRepository(tmp_path)

    repository.publish(7, make_release().path)

    version_dir = repository.models_dir / "segmenter" / "7"
    compiled = cache_from_source("model.py")
    assert contents(version_dir) == {"model.py", compiled, "engine.json", "engine/model.xml", "engine/model.bin"}
    magic, flags = struct.unpack("<4sI", (version_dir / compiled).read_bytes()[:8])
    assert magic == importlib.util.MAGIC_NUMBER
    assert flags == 0b01  # by hash, not checked against the source: a touched model.py leaves it valid
    assert not list((tmp_path / "staging").iterdir())


def test_a_published_version_is_never_changed(make_release: Callable, tmp_path: Path) -> None:
    repository = TritonRepository(tmp_path)
    repository.publish(1, make_release(shift=0).path)
    before = (repository.models_dir / "segmenter" / "1" / "engine" / "model.xml").read_bytes()

    repository.publish(1, make_release(shift=99).path)

    assert (repository.models_dir / "segmenter" / "1" / "engine" / "model.xml").read_bytes() == before


def test_a_failed_publication_leaves_nothing(make_release: Callable, tmp_path: Path) -> None:
    repository = TritonRepository(tmp_path / "repository")

    with pytest.raises(RepositoryError, match=r"model\.plan is missing: export the release again"):
        repository.publish(1, make_release(engine="tensorrt").path)

    assert contents(tmp_path / "repository") == set()


def test_an_altered_release_is_refused(make_release: Callable, tmp_path: Path) -> None:
    release = make_release().path
    with (release / "engine" / "model.xml").open("a") as file:
        file.write(" ")

    with pytest.raises(ReleaseError, match="differs from its manifest"):
        TritonRepository(tmp_path).publish(1, release)


def test_a_release_that_does_not_fit_is_refused(make_release: Callable, tmp_path: Path) -> None:
    release = make_release().path
    with (release / "engine" / "huge.bin").open("wb") as file:
        os.truncate(file.fileno(), 1 << 43)  # a hole of 8 TiB

    with pytest.raises(RepositoryError, match=r"MiB free, \d+ are needed"):
        TritonRepository(tmp_path).publish(1, release)


def test_a_new_owner_starts_from_an_empty_repository(make_release: Callable, tmp_path: Path) -> None:
    first = TritonRepository(tmp_path)
    first.publish(1, make_release().path)
    first.write_config(ModelConfig(versions=(1,)))

    assert contents(TritonRepository(tmp_path).models_dir) == set()
