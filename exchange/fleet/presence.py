"""Which classes every served frame held, as its network saw them before adjustment: one row a frame, by domain.

A gateway writes its rows into parts of an hour each, which it replaces as they grow and never touches again once they
are full. A part is a .npz of the arrays below; others, which a later version may add, are passed over.
"""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import PRESENCE, before_hour, presence_folder
from exchange.storage.readable_objects import UNREADABLE, domain_folders
from exchange.storage.records import MAJOR, RecordError, RecordTooNew, too_new

_DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise over bytes that are no such file, or no whole one."""


class PresenceRow(NamedTuple):
    """One served frame."""

    captured_s: float
    """Unix time, by the vehicle's clock where it gave one."""
    drive: str
    """Of whom: the vehicle's pseudonym, '-', and a pseudonym of the drive."""
    version: int
    presence_K: NDArray[np.float16] | NDArray[np.float32]
    """Log mean exp of the class probabilities, before adjustment."""
    mean_probability_K: NDArray[np.float16] | NDArray[np.float32]
    mean_confidence: float


@dataclass(frozen=True)
class PresenceRows:
    """N rows, in the order in which they were served."""

    captured_s_N: NDArray[np.float64]
    drive_N: NDArray[np.str_]
    version_N: NDArray[np.int32]
    presence_NK: NDArray[np.float16]
    mean_probability_NK: NDArray[np.float16]
    mean_confidence_N: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.captured_s_N)

    def __getitem__(self, chosen_N: NDArray[np.bool_] | NDArray[np.intp]) -> "PresenceRows":
        return PresenceRows(*(getattr(self, field.name)[chosen_N] for field in fields(self)))

    @classmethod
    def of(cls, rows: Sequence[PresenceRow]) -> "PresenceRows":
        return cls(
            captured_s_N=np.array([row.captured_s for row in rows], dtype=np.float64),
            drive_N=np.array([row.drive for row in rows], dtype=np.str_),
            version_N=np.array([row.version for row in rows], dtype=np.int32),
            presence_NK=_matrix([row.presence_K for row in rows]),
            mean_probability_NK=_matrix([row.mean_probability_K for row in rows]),
            mean_confidence_N=np.array([row.mean_confidence for row in rows], dtype=np.float16),
        )

    @classmethod
    def joined(cls, parts: Sequence["PresenceRows"]) -> "PresenceRows":
        parts = parts or [cls.of([])]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def encode(self) -> bytes:
        """As a .npz; drives are listed once and numbered."""
        drives, drive_index_N = np.unique(self.drive_N, return_inverse=True)
        file = io.BytesIO()
        np.savez_compressed(
            file,
            format=np.int32(MAJOR),
            captured_s=self.captured_s_N,
            drives=drives,
            drive=drive_index_N.astype(np.int32),
            version=self.version_N,
            presence=self.presence_NK,
            mean_probability=self.mean_probability_NK,
            mean_confidence=self.mean_confidence_N,
        )
        return file.getvalue()

    @classmethod
    def decode(cls, data: bytes, key: str) -> "PresenceRows":
        """Raises RecordError where the data is no such part."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                if (major := int(arrays["format"])) > MAJOR:
                    raise RecordTooNew(f"{key} holds no presence rows that this version knows: {too_new(major)}")
                if major != MAJOR:
                    raise RecordError(f"{key} holds no presence rows: {major} is no format: delete it")
                rows = cls(
                    captured_s_N=arrays["captured_s"].astype(np.float64),
                    drive_N=arrays["drives"].astype(np.str_)[arrays["drive"]],
                    version_N=arrays["version"].astype(np.int32),
                    presence_NK=arrays["presence"].astype(np.float16),
                    mean_probability_NK=arrays["mean_probability"].astype(np.float16),
                    mean_confidence_N=arrays["mean_confidence"].astype(np.float16),
                )
        except _DAMAGE as error:
            raise RecordError(f"{key} holds no presence rows: {error}") from error
        rows._check(key)
        return rows

    def _check(self, key: str) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            expected = (len(self), NUM_CLASSES) if field.name.endswith("_NK") else (len(self),)
            if array.shape != expected:
                raise RecordError(f"{key} holds {field.name} of shape {array.shape} where {expected} belongs")
        if not np.isfinite(self.captured_s_N).all():
            raise RecordError(f"{key} holds times of capture that are not finite")


class PresenceReader:
    """Reads a domain's rows again and again, and of the parts only those that are new or have changed."""

    def __init__(self, root: StorageRoot, domain: str) -> None:
        self._root = root
        self._domain = domain
        self._known: dict[str, tuple[tuple[int, float], PresenceRows]] = {}

    def rows_since(self, since: datetime) -> PresenceRows:
        """All gateways' rows of this hour and the later ones, in order of capture; without parts that cannot be read.

        Raises:
            StorageError: the root does not answer.
        """
        known: dict[str, tuple[tuple[int, float], PresenceRows]] = {}
        for gateway in self._root.list_folders(f"{PRESENCE}/{self._domain}"):
            folder = presence_folder(self._domain, gateway)
            for info in self._root.list_objects(folder, after=before_hour(self._domain, gateway, since)):
                state = (info.size_bytes, info.modified_s)
                found = self._known.get(info.key)
                if found is not None and found[0] == state:
                    known[info.key] = found
                    continue
                try:
                    rows = PresenceRows.decode(self._root.read(info.key).data, info.key)
                except ObjectMissing:  # it was too old
                    continue
                except UNREADABLE as error:
                    self._root.unreadable.note(info.key, error)
                    if not isinstance(error, RecordError):  # it may be readable without having changed
                        continue
                    rows = PresenceRows.of([])
                known[info.key] = (state, rows)
        self._known = known
        rows = PresenceRows.joined([rows for _, rows in known.values()])
        return rows[np.argsort(rows.captured_s_N, kind="stable")]


def domains_with_presence(root: StorageRoot) -> list[str]:
    return domain_folders(root, PRESENCE)


def _matrix(vectors: Sequence[NDArray[np.float16] | NDArray[np.float32]]) -> NDArray[np.float16]:
    return np.array(vectors, dtype=np.float16).reshape(len(vectors), NUM_CLASSES)
