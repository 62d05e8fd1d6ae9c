"""Objects that nobody can read, below every folder of a root that is otherwise in order."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exchange.storage import StorageRoot
from exchange.storage.locations import (
    ShardName,
    audit_key,
    erasure_key,
    heartbeat_key,
    presence_key,
    prior_key,
    region_batch_key,
    region_frame_key,
)

Spoil = Callable[[Path], object]
DOMAIN = "sim-dusk"
SPOILS: dict[str, Spoil] = {
    "no bytes": lambda path: path.write_bytes(b""),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00{" * 100),
    "of a newer format": lambda path: path.write_text('{"format": 99, "added": "later"}'),
    "another JSON": lambda path: path.write_text("[[1]]"),
    "that nobody may open": lambda path: path.symlink_to(path.name),  # a loop refuses even the superuser
    "a pipe": os.mkfifo,
}
FOREIGN = ("README.txt", "notes (1).json", "backup~", "caf\udce9.json", "lost+found/inode", "Thumbs.db", ".DS_Store")
"""Names that editors, file managers and people leave; the fourth is no UTF-8 on disk."""


def keys() -> dict[str, str]:
    """One for each folder, by what it should be."""
    now = datetime.now(UTC)
    return {
        "heartbeat": heartbeat_key("gw-x"),
        "erasure": erasure_key(now, "abc123"),
        "presence": presence_key(DOMAIN, "gw-x", now, 0),
        "prior": prior_key("sim-fog"),
        "audit": audit_key(now, "0123abcd"),
        "state": "rounds/fedcba9876543210/state.json",
        "batch": region_batch_key(DOMAIN, "20260101T000000Z-000001"),
    }


def frame_keys() -> tuple[str, str]:
    """A captured shard, and a frame of regions."""
    shard = ShardName(DOMAIN, "gw-x", datetime.now(UTC) - timedelta(seconds=5), 3).key
    return shard, region_frame_key(DOMAIN, "0" * 64, 1)


def path_of(root: StorageRoot, key: str) -> Path:
    assert root.location.folder is not None
    path = root.location.folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def leave_foreign_files(root: StorageRoot) -> list[Path]:
    """In every folder, and below a domain's."""
    folders = ("frames", f"frames/{DOMAIN}", "presence", f"presence/{DOMAIN}", f"presence/{DOMAIN}/gw-a", "priors")
    folders += ("gateways", "erasures", "audit", "rounds", "regions", f"regions/{DOMAIN}/batches", "releases")
    paths = [path_of(root, f"{folder}/{name}") for folder in folders for name in FOREIGN]
    for path in paths:
        path.write_text("not for roadshift")
        os.utime(path, (0, 0))  # so old that everything else of this age goes
    return paths
