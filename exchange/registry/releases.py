"""A release: one folder with the weights, the engine built from them, and the manifest that is written last.

    <release>/manifest.json        this module's `Manifest`; its presence makes the release complete
    <release>/weights.safetensors  the network's state, by the authors' key names
    <release>/engine/...           what the engine loads (model.xml + model.bin, model.onnx, model.plan, model.pt2)

A release is immutable once its manifest is there.
"""

import hashlib
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig, WindowConfig
from exchange.storage.records import Moment, Record, RecordError, RecordTooNew

MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "weights.safetensors"
ENGINE_FOLDER = "engine"

Engine = Literal["openvino", "torch", "tensorrt"]
Precision = Literal["fp32", "bf16", "fp16"]
OutputPriorIs = Literal["the source's prior", "the target's prior, applied once", "both domains' prior, learnt"]


class ReleaseError(Exception):
    """A release folder that is incomplete, altered or not understood; the message names the file and the remedy."""


class ReleaseTooNew(ReleaseError, RecordTooNew):
    """Its manifest is of a major that a later release writes."""


class Manifest(Record):
    """What a release is, where it came from and what its outputs follow. All per-class lists have 19 entries."""

    format: Literal[1] = 1
    version: int | None = Field(default=None, ge=1)
    """The ledger's number, and Triton's version directory; None until it is published."""
    parent: int | None = None
    anchor: int | None = None
    created_at: Moment
    engine: Engine
    precision: Precision
    network: NetworkConfig
    windows: WindowConfig
    frame_size: tuple[int, int]
    """Rows and columns of FRAME."""
    label_space: Literal["cityscapes19"] = "cityscapes19"
    source_pixel_frequency: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    """Share of labelled source pixels per class: the thresholds of presence (Undoing UDA, eq. 17)."""
    source_presence: list[float] | None = Field(default=None, min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    """Share of source frames in which this model, by the serving estimator, sees each class."""
    output_prior: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    """The image-level class distribution that the raw outputs follow; sums to 1."""
    output_prior_is: OutputPriorIs = "the source's prior"
    """Whose that distribution is. Serving adds log P_target - log `output_prior`, so that no prior acts twice."""
    calibration_temperature: float = Field(default=1.0, gt=0)
    atc_threshold: float | None = None
    evaluation: dict[str, float] = Field(default={})
    recipe: str | None = None
    """Of the training or of the round that made the weights."""
    parent_sha256: str | None = None
    """Of the weights that a round started from."""
    round_digest: str | None = None
    snapshot_digest: str | None = None
    seed: int | None = None
    files_sha256: dict[str, str]
    """Every other file of the release by its path below the folder."""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(release_dir: Path) -> dict[str, str]:
    """SHA-256 of every file below a release folder but the manifest itself, by relative path."""
    files = sorted(path for path in release_dir.rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
    return {path.relative_to(release_dir).as_posix(): file_sha256(path) for path in files}


def write_manifest(release_dir: Path, manifest: Manifest) -> None:
    """Completes a release: written beside, synced, then renamed into place.

    Raises:
        ReleaseError: the folder already holds a manifest.
    """
    target = release_dir / MANIFEST_NAME
    if target.exists():
        raise ReleaseError(f"{target} exists: a release is never changed; write the new one to another folder")
    partial = target.with_suffix(".partial")
    with partial.open("w") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(target)


def read_manifest(release_dir: Path) -> Manifest:
    """Reads a release's manifest without looking at its other files.

    Raises:
        ReleaseError: no manifest, or one that is not understood.
    """
    path = release_dir / MANIFEST_NAME
    try:
        return decode_manifest(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ReleaseError(f"{path} is missing: {release_dir} is no complete release; export it again") from None


def decode_manifest(data: bytes, place: str) -> Manifest:
    """Return the manifest of a file's content.

    Raises:
        ReleaseTooNew: it is of a later major.
        ReleaseError: it is not understood.
    """
    try:
        return Manifest.decode(data, place)
    except RecordTooNew as error:
        raise ReleaseTooNew(str(error)) from error
    except RecordError as error:
        raise ReleaseError(
            f"{place} is not a release manifest: {error}; export or publish the release again"
        ) from error


def verify_release(release_dir: Path) -> Manifest:
    """Reads the manifest and checks every file against it.

    Raises:
        ReleaseError: a file is missing, added or altered; the message names it.
    """
    manifest = read_manifest(release_dir)
    found = hash_files(release_dir)
    for name, digest in manifest.files_sha256.items():
        if name not in found:
            raise ReleaseError(f"{release_dir / name} is missing: copy the release again or export it anew")
        if found[name] != digest:
            raise ReleaseError(f"{release_dir / name} differs from its manifest: copy the release again")
    if added := sorted(set(found) - set(manifest.files_sha256)):
        raise ReleaseError(f"{release_dir / added[0]} is not in the manifest: remove it, releases are immutable")
    return manifest
