"""Storage roots as a newer minor version writes them: every record, shard and part has something that is not known."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exchange.fleet.frames import FrameMetadata
from exchange.registry import LedgerEntry
from exchange.storage import ObjectChanged, StorageRoot
from exchange.storage.records import Record
from tests.upgrade.kinds import objects_of, records_of

ADDED = "added_later"
VALUE = {"deep": [1, None, "text"]}
_ATTEMPTS = 100


def add_newer_fields(folder: Path) -> None:
    for path in sorted(folder.rglob("*.tar")):
        path.write_bytes(_widened_shard(path.read_bytes()))
    for path in sorted(folder.rglob("*.npz")):
        path.write_bytes(_widened_part(path.read_bytes()))
    for key, kind in records_of(folder):
        encoded = _widened(kind, (folder / key).read_bytes(), key)
        if kind is LedgerEntry:
            manifest = folder / "releases" / str(encoded["version"]) / "manifest.json"
            encoded["manifest_sha256"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
        (folder / key).write_text(json.dumps(encoded))


def add_newer_fields_beside(root: StorageRoot, stopped: str | None) -> None:
    """As processes of a newer minor change a root that others work on: each object by compare-and-swap.

    `stopped` is the gateway whose heartbeat, frames and presence are rewritten, too. What is published stays, and so
    does the lease, which its holder alone renews.
    """
    assert root.location.folder is not None
    for key, kind in records_of(root.location.folder):
        folder = key.partition("/")[0]
        if folder not in ("releases", "gateways", "lease.json") or key == f"gateways/{stopped}.json":
            _swap(root, key, partial(_widened_record, kind, key))
    for folder, widened in (("frames", _widened_shard), ("presence", _widened_part)):
        for info in root.list_objects(folder):
            if f"/{stopped}/" in info.key:
                _swap(root, info.key, widened)


def _swap(root: StorageRoot, key: str, change: Callable[[bytes], bytes]) -> None:
    for _ in range(_ATTEMPTS):
        found = root.read(key)
        with suppress(ObjectChanged):
            root.replace(key, change(found.data), found.etag)
            return
    raise AssertionError(f"{key} changed {_ATTEMPTS} times while it was rewritten")


def lacking(folder: Path, key: str, kind: type[Record]) -> list[str]:
    """The classes of the objects in a record that do not have the added field any more."""
    objects = objects_of(kind, (folder / key).read_bytes(), key)[1]
    return [name for name, encoded in objects if encoded.get(ADDED) != VALUE]


def _widened_record(kind: type[Record], key: str, data: bytes) -> bytes:
    return json.dumps(_widened(kind, data, key)).encode()


def _widened(kind: type[Record], data: bytes, key: str) -> dict[str, Any]:
    encoded, objects = objects_of(kind, data, key)
    for _, each in objects:
        each[ADDED] = VALUE
    return encoded


def _widened_part(data: bytes) -> bytes:
    with np.load(io.BytesIO(data)) as arrays:
        known = {name: arrays[name] for name in arrays.files}
    widened = io.BytesIO()
    np.savez_compressed(widened, **known, **{ADDED: np.arange(3)})
    return widened.getvalue()


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
