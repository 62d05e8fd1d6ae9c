"""A training small enough for tests: run as a program (alone or under torchrun), or imported for its parts.

python small_training.py DATA OUT ITERATIONS CHECKPOINT_EVERY_S
"""

import hashlib
import sys
from pathlib import Path

import torch

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.training.processes import join_processes, leave_processes
from adaptation.learning.training.recipes import TrainingConfig
from adaptation.learning.training.source_data import open_source_data
from adaptation.learning.training.start import starting_network
from adaptation.learning.training.train import Run, SourceTraining, train
from exchange.jobs.crops import CropSettings
from exchange.networks import NetworkConfig

CONFIG = TrainingConfig(
    recipe="small",
    network=NetworkConfig(
        encoder="mit_custom",
        head="light",
        dims={
            "embed_dims": (8, 16, 40, 64),
            "num_heads": (1, 2, 5, 8),
            "depths": (1, 1, 1, 1),
            "sr_ratios": (8, 4, 2, 1),
            "channels": 16,
            "attention_channels": 8,
        },
    ),
    crops=CropSettings(
        crop_hw=(64, 64), fit_hw=(64, 128), scale_range=(0.8, 1.5), photometric="wide", rare_class_min_pixels=50
    ),
    detail_hw=(32, 32),
    loss_step=2,
    batch_size=4,
    learning_rate=1e-3,
    warmup_iterations=2,
    average_decay=0.9,
)


def open_training(data: Path, out: Path, iterations: int, checkpoint_every_s: float) -> SourceTraining:
    torch.set_num_threads(1)
    run = Run(CONFIG, iterations, seed=3, out=out, checkpoint_every_s=checkpoint_every_s)
    choices = choose_data([data], "train")
    source = open_source_data(choices, CONFIG, seed=3, cache_bytes=2**24, threads=2, on_frame=lambda *_: None)
    return SourceTraining(run, starting_network(CONFIG, 3, None), source, join_processes())


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    training = open_training(data, out, int(sys.argv[3]), float(sys.argv[4]))
    train(training, lambda done, _: print(done, flush=True))
    digest = hashlib.sha256()
    for tensor in training.network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    (out / f"digest_{training.processes.rank}.txt").write_text(digest.hexdigest())
    leave_processes()


if __name__ == "__main__":
    main()
