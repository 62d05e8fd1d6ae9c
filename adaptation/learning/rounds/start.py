"""What a round starts from: a release or a network's folder, opened as it is served."""

from dataclasses import dataclass
from pathlib import Path

import torch

from adaptation.learning.evaluation.evaluate import FrameLabeller, open_labeller
from adaptation.learning.export.adaptation_record import ADAPTATION_FILE, AdaptationRecord
from adaptation.learning.methods.label_shift import class_distribution
from adaptation.learning.networks.checkpoints import WEIGHTS_FILE, load_network_config
from adaptation.learning.training.record import RECORD_NAME, TrainingRecord
from exchange.networks import NetworkConfig
from exchange.registry.releases import MANIFEST_NAME, Engine, OutputPriorIs, Precision, file_sha256, read_manifest


@dataclass(frozen=True)
class Start:
    labeller: FrameLabeller
    config: NetworkConfig
    sha256: str
    """Of the weights."""
    engine: Engine
    precision: Precision
    """As the release that it is; OpenVINO in float32 for a network's folder."""
    source_prior: list[float] | None
    """What its plain outputs follow, where that is a source's prior; None where they follow a target's, or nothing
    beside the network tells."""


def open_start(folder: Path, frame_size: tuple[int, int] | None, device: torch.device) -> Start:
    """Opens a release or a network's folder.

    Raises:
        CheckpointError, ReleaseError, ValueError: as `open_labeller`.
    """
    labeller = open_labeller(folder, frame_size, device)
    sha256 = file_sha256(folder / WEIGHTS_FILE)
    if not (folder / MANIFEST_NAME).exists():
        return Start(labeller, load_network_config(folder), sha256, "openvino", "fp32", _recorded_prior(folder))
    manifest = read_manifest(folder)
    prior = _of_source(manifest.output_prior, manifest.output_prior_is)
    return Start(labeller, manifest.network, sha256, manifest.engine, manifest.precision, prior)


def _recorded_prior(folder: Path) -> list[float] | None:
    if (folder / ADAPTATION_FILE).exists():
        record = AdaptationRecord.read(folder)
        return _of_source(record.output_prior, record.output_prior_is)
    if (folder / RECORD_NAME).exists():
        counts = TrainingRecord.read(folder).stream_presence_counts
        return list(class_distribution(counts).tolist())
    return None


def _of_source(prior: list[float], whose: OutputPriorIs) -> list[float] | None:
    return prior if whose == "the source's prior" else None
