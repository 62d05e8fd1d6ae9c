"""From a trained network's folder to a release: weights, engine and manifest, or nothing at all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from adaptation.learning.data.class_statistics import is_present, pixel_frequency
from adaptation.learning.export.adaptation_record import ADAPTATION_FILE, AdaptationRecord
from adaptation.learning.export.build_openvino import build_openvino
from adaptation.learning.export.build_tensorrt import build_tensorrt
from adaptation.learning.export.build_torch import build_torch
from adaptation.learning.export.built_for import built_for
from adaptation.learning.export.calibration import LabelledFit, calibrate_on
from adaptation.learning.export.engine_logits import ReleaseReader
from adaptation.learning.export.graph import FrameGraph, for_inference
from adaptation.learning.export.parity import FrameAndValid, Parity, measure_parity
from adaptation.learning.export.source_presence import measure_source_presence
from adaptation.learning.methods.label_shift import class_distribution
from adaptation.learning.networks.checkpoints import load_network, load_network_config
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.training.record import RECORD_NAME, TrainingRecord
from exchange.networks import NetworkConfig, WindowConfig
from exchange.registry.releases import (
    ENGINE_FOLDER,
    WEIGHTS_NAME,
    Engine,
    Manifest,
    OutputPriorIs,
    Precision,
    ReleaseError,
    hash_files,
    write_manifest,
)
from exchange.storage.whole_folder import whole_folder

Size = tuple[int, int]

_TORCH_TYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class ParityError(Exception):
    """The engine does not compute what the torch reference computes; nothing was written."""

    def __init__(self, parity: Parity) -> None:
        super().__init__(
            f"the engine differs from the reference in {', '.join(parity.failures)}: nothing was written; choose a"
            " higher --precision or another --engine"
        )
        self.parity = parity


@dataclass(frozen=True)
class ExportSettings:
    """What is built from a network."""

    engine: Engine
    precision: Precision
    frame_size: Size
    windows: WindowConfig
    half_weights: bool = False
    """Round the weights to float16 before everything else, so that they take half the space."""


@dataclass(frozen=True)
class SourceStatistics:
    """What a manifest says of how a network came about; both lists have 19 entries that sum to 1."""

    pixel_frequency: list[float]
    output_prior: list[float]
    """The image-level class distribution that raw outputs follow: the training stream's, or what a round made it."""
    seed: int | None
    output_prior_is: OutputPriorIs = "the source's prior"
    recipe: str | None = None
    parent_sha256: str | None = None
    round_sha256: str | None = None
    snapshot_sha256: str | None = None
    evaluation: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_training(cls, network_dir: Path, evaluation: dict[str, float] | None = None) -> "SourceStatistics":
        """Reads the record of the round or the training that made a network.

        Raises:
            ReleaseError: the folder has neither, as an imported checkpoint's.
        """
        if (network_dir / ADAPTATION_FILE).exists():
            adapted = AdaptationRecord.read(network_dir)
            return cls(
                adapted.source_pixel_frequency,
                adapted.output_prior,
                adapted.seed,
                adapted.output_prior_is,
                adapted.recipe,
                adapted.parent_sha256,
                adapted.round_sha256,
                adapted.snapshot_sha256,
                evaluation or {},
            )
        if not (network_dir / RECORD_NAME).exists():
            raise ReleaseError(
                f"{network_dir} has no {RECORD_NAME} that says what it was trained on: give its labelled source data by"
                " --data"
            )
        record = TrainingRecord.read(network_dir)
        prior = class_distribution(record.stream_presence_counts)
        return cls(record.source_pixel_frequency, prior.tolist(), record.seed, recipe=record.config.recipe)

    @classmethod
    def of_labels(cls, counts_NK: NDArray[np.int64]) -> "SourceStatistics":
        """From the pixels by class of every labelled source frame, for a network whose training left no record.

        Raises:
            ReleaseError: no pixel is labelled.
        """
        if not counts_NK.any():
            raise ReleaseError(
                "the labelled source data has no labelled pixel: name a split or data set that has labels"
            )
        frequency_K = pixel_frequency(counts_NK)
        prior = class_distribution(is_present(counts_NK, frequency_K).sum(axis=0))
        return cls(frequency_K.tolist(), prior.tolist(), None)


def export_release(
    network_dir: Path,
    out: Path,
    settings: ExportSettings,
    statistics: SourceStatistics,
    frames: Iterable[FrameAndValid],
    on_frame: Callable[[int], None] = lambda _: None,
    held_out: Iterable[LabelledFit] = (),
    source_frames: Iterable[FrameAndValid] = (),
) -> tuple[Manifest, Parity]:
    """Builds a release beside `out` and renames it there once its engine agrees with the reference on the frames.

    Args:
        held_out: labelled source frames that trained nothing; the manifest's calibration is measured on them, and is
            left open where they are too few.
        source_frames: of the labelled source, in the release's size; the manifest's `source_presence` is measured on
            them.

    Raises:
        ValueError: the network cannot take the frame size or the windows; the message names the nearest that it can.
        FolderTaken: `out` holds something.
        CheckpointError: the network cannot be read.
        TensorRTError: TensorRT is needed and missing.
        ParityError: the engine and the reference differ.
    """
    with whole_folder(out) as partial:
        network = load_network(network_dir)
        if settings.half_weights:
            network.half().float()
        manifest = _manifest(load_network_config(network_dir), settings, statistics)
        _save_weights(network, partial / WEIGHTS_NAME, settings, built_for(manifest))
        _build_engine(network, settings, partial / ENGINE_FOLDER)
        manifest = manifest.model_copy(update={"files_sha256": hash_files(partial)})
        parity = measure_parity(partial, manifest, frames, on_frame)
        if not parity.passes:
            raise ParityError(parity)
        measured = _calibrated(ReleaseReader(partial, manifest), held_out)
        measured["source_presence"] = measure_source_presence(partial, manifest, source_frames)
        manifest = manifest.model_copy(update=measured)
        write_manifest(partial, manifest)
    return manifest, parity


def _manifest(network: NetworkConfig, settings: ExportSettings, statistics: SourceStatistics) -> Manifest:
    """All that is known before the files are there."""
    return Manifest(
        created_at=datetime.now(UTC),
        engine=settings.engine,
        precision=settings.precision,
        network=network,
        windows=settings.windows,
        frame_size=settings.frame_size,
        source_pixel_frequency=statistics.pixel_frequency,
        output_prior=statistics.output_prior,
        output_prior_is=statistics.output_prior_is,
        evaluation=statistics.evaluation,
        recipe=statistics.recipe,
        parent_sha256=statistics.parent_sha256,
        round_digest=statistics.round_sha256,
        snapshot_digest=statistics.snapshot_sha256,
        seed=statistics.seed,
        files_sha256={},
    )


def _calibrated(release: ReleaseReader, held_out: Iterable[LabelledFit]) -> dict[str, Any]:
    calibration = calibrate_on(
        (release.read(frame, valid_hw).logits, labels_HW) for (frame, valid_hw), labels_HW in held_out
    )
    if calibration is None:
        return {}
    return {"calibration_temperature": calibration.temperature, "atc_threshold": calibration.atc_threshold}


def _save_weights(network: HRDA, path: Path, settings: ExportSettings, header: dict[str, str]) -> None:
    dtype = torch.float16 if settings.half_weights else torch.float32
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, header)
    path.chmod(0o644)


def _build_engine(network: HRDA, settings: ExportSettings, engine_dir: Path) -> None:
    engine_dir.mkdir()
    # OpenVINO chooses its precision when it compiles; the other engines carry theirs in the graph.
    in_graph: Precision = "fp32" if settings.engine == "openvino" else settings.precision
    fast = for_inference(network, _TORCH_TYPES[in_graph])
    on_cpu = settings.engine == "openvino" or not torch.cuda.is_available()
    graph = FrameGraph(fast, settings.frame_size, settings.windows, tiled=on_cpu)
    if settings.engine == "openvino":
        build_openvino(graph, engine_dir, settings.precision)
    elif settings.engine == "torch":
        build_torch(graph if on_cpu else graph.cuda(), engine_dir)
    else:
        build_tensorrt(graph, engine_dir)
