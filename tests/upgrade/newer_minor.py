"""Storage roots as a newer minor version writes them: every record, shard and part has something that is not known."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from exchange.fleet.frames import FrameMetadata
from exchange.registry import LedgerEntry
from exchange.storage.records import Record
from tests.upgrade.kinds import objects_of, records_of

ADDED = "added_later"
VALUE = {"deep": [1, None, "text"]}


def add_newer_fields(folder: Path) -> None:
    for path in sorted(folder.rglob("*.tar")):
        path.write_bytes(_widened_shard(path.read_bytes()))
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as arrays:
            known = {name: arrays[name] for name in arrays.files}
        np.savez_compressed(path, **known, **{ADDED: np.arange(3)})
    for key, kind in records_of(folder):
        encoded = _widened(kind, (folder / key).read_bytes(), key)
        if kind is LedgerEntry:
            manifest = folder / "releases" / str(encoded["version"]) / "manifest.json"
            encoded["manifest_sha256"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
        (folder / key).write_text(json.dumps(encoded))


def lacking(folder: Path, key: str, kind: type[Record]) -> list[str]:
    """The classes of the objects in a record that do not have the added field any more."""
    objects = objects_of(kind, (folder / key).read_bytes(), key)[1]
    return [name for name, encoded in objects if encoded.get(ADDED) != VALUE]


def _widened(kind: type[Record], data: bytes, key: str) -> dict[str, Any]:
    encoded, objects = objects_of(kind, data, key)
    for _, each in objects:
        each[ADDED] = VALUE
    return encoded


def _widened_shard(data: bytes) -> bytes:
    widened = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data), mode="r:") as source,
        tarfile.open(fileobj=widened, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        for info in source:
            file = source.extractfile(info)
            assert file is not None
            content, (key, _, extension) = file.read(), info.name.partition(".")
            if extension == "json":
                content = json.dumps(_widened(FrameMetadata, content, info.name)).encode()
                _add(target, f"{key}.{ADDED}.bin", b"of a frame")
            _add(target, info.name, content)
        _add(target, f"shard.{ADDED}", b"of the shard")
    return widened.getvalue().rstrip(b"\0") + bytes(-len(widened.getvalue().rstrip(b"\0")) % 512) + bytes(1024)


def _add(target: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    target.addfile(info, io.BytesIO(content))
