"""The networks that rounds start from, made once for each shift below the work folder, as networks and as releases.

robust     the starter; for bdd-night the starter trained on its day, since the starter knows no drivable area
daylight   the starter's recipe without its wide photometric range, trained on the shift's source alone; for the city,
           the network that ships, which is that of its `sim-day`
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.labelled_frames import read_image, read_labels
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.export.calibration import CALIBRATION_FRAMES, fit_labelled
from adaptation.learning.export.release import ExportSettings, SourceStatistics, export_release
from adaptation.learning.export.source_presence import SOURCE_PRESENCE_FRAMES
from adaptation.learning.networks.checkpoints import WEIGHTS_FILE, load_network, load_network_config, save_network
from adaptation.learning.training.processes import join_processes
from adaptation.learning.training.recipes import TrainingConfig, source_only, starter
from adaptation.learning.training.record import RECORD_NAME
from adaptation.learning.training.source_data import open_source_data
from adaptation.learning.training.start import starting_network
from adaptation.learning.training.train import Run, SourceTraining, train
from benchmarks.adaptation.progress import tell
from benchmarks.adaptation.shifts import Shift
from exchange.images.frame_fitting import fit_frame
from exchange.networks import whole_frame_windows
from exchange.registry.releases import MANIFEST_NAME, file_sha256, read_manifest

STARTS = ("robust", "daylight")
_SHIPPED = Path(__file__).parents[2] / "model_repository"
_SEED = 1
_CACHE_BYTES = 2 << 30
_COMPARED_FRAMES = 4


@dataclass(frozen=True)
class Start:
    name: str
    release: Path
    sha256: str
    """Of the weights."""


@dataclass(frozen=True)
class Training:
    """What `train_on` is told beside the data."""

    config: TrainingConfig
    iterations: int
    seed: int
    start: Path | None
    """None for ImageNet weights."""


def make_start(name: str, shift: Shift, work: Path, toy: Training | None = None) -> Start:
    """Return the start, made unless it is there; a training that was cut off goes on. `toy` takes a start's place."""
    release = work / "release"
    if not release.exists():
        network = work / "network"
        training = toy or _training(name, shift)
        if training is not None:
            train_on(training, [shift.source], network)
        elif not network.exists():
            _copy_shipped("starter" if name == "robust" else "daylight", network)
        _export(network, shift, release)
    return Start(name, release, file_sha256(release / WEIGHTS_FILE))


def _training(name: str, shift: Shift) -> Training | None:
    """Return what makes a start; None for a network that ships."""
    if name == "robust":
        return Training(starter(), 250, _SEED, _SHIPPED / "starter") if shift.name == "bdd-night" else None
    return None if shift.name.startswith("sim-") else Training(source_only(), 400, _SEED, None)


def _copy_shipped(name: str, network: Path) -> None:
    """Write a network that ships, with its record, in the precision of networks that are trained here."""
    shipped = _SHIPPED / name
    config = read_manifest(shipped).network if (shipped / MANIFEST_NAME).exists() else load_network_config(shipped)
    network.mkdir(parents=True)
    save_network(network, config, load_network(shipped, config).state_dict())


def train_on(training: Training, choices: list[DataChoice], out: Path) -> Path:
    """Trains on labels, and returns the network's folder; what is finished stays."""
    if (out / RECORD_NAME).exists():
        return out
    run = Run(training.config, training.iterations, training.seed, out, checkpoint_every_s=60.0)
    data = open_source_data(
        choices,
        run.config,
        seed=run.seed,
        cache_bytes=_CACHE_BYTES,
        threads=2,
        on_frame=lambda done, total: tell("counting classes", done, total),
    )
    network = starting_network(run.config, run.seed, training.start)
    train(SourceTraining(run, network, data, join_processes()), lambda done, _: tell("training", done, run.iterations))
    return out


def _export(network: Path, shift: Shift, release: Path) -> None:
    """Builds the release that the gate takes for the one that is served."""
    size, source = shift.frame_size, shift.source.frames()
    held_out = spread(shift.source_held_out.frames(), CALIBRATION_FRAMES)
    export_release(
        network,
        release,
        ExportSettings("openvino", "fp32", size, whole_frame_windows(size)),
        SourceStatistics.of_labels(np.stack([count_classes(read_labels(frame)) for frame in source])),
        (fit_frame(read_image(frame.image), size) for frame in spread(shift.target.frames(), _COMPARED_FRAMES)),
        held_out=(fit_labelled(frame, size) for frame in held_out),
        source_frames=(fit_frame(read_image(frame.image), size) for frame in spread(source, SOURCE_PRESENCE_FRAMES)),
    )
