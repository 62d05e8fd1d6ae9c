"""Training on labelled source data: the loop, its pace of checkpoints, and what it leaves behind."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.data.class_statistics import count_classes, is_present, pixel_frequency
from adaptation.learning.data.crop_stream import LabelledCrops, prefetch
from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.networks.checkpoints import NETWORK_FILE, WEIGHTS_FILE, save_network
from adaptation.learning.networks.hrda import HRDA, hrda_loss
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.training.checkpoint import CHECKPOINT_NAME, read_checkpoint, write_checkpoint
from adaptation.learning.training.errors import TrainingError
from adaptation.learning.training.optimization import WeightAverage, parameter_groups, rate_factor, set_rates
from adaptation.learning.training.processes import Processes
from adaptation.learning.training.recipes import TrainingConfig
from adaptation.learning.training.record import RECORD_NAME, TrainingRecord
from adaptation.learning.training.source_data import SourceData
from adaptation.learning.training.start import freeze_first_stages
from exchange.label_space import NUM_CLASSES

LOSS_EVERY = 20
_DRAW_BOX, _DRAW_LOSS_CORNER, _SEED_TORCH = 1, 2, 3


@dataclass(frozen=True)
class Run:
    """One training: what decides its result, and where it is written."""

    config: TrainingConfig
    iterations: int
    seed: int
    out: Path
    checkpoint_every_s: float = 180.0
    loader_threads: int = 1
    start_sha256: str | None = None
    """Of the weights that were given to start from."""


class SourceTraining:
    """The state of one training: network, optimizer, average and counts, stepped one iteration at a time.

    Every random choice is a function of the seed and the iteration, so no generator's state needs to be kept, and
    a training that is cut off and resumed gives the same bits as one that is not.
    """

    def __init__(self, run: Run, network: HRDA, data: SourceData, processes: Processes) -> None:
        self.run, self.data, self.processes = run, data, processes
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        self.network = network.to(processes.device).train()
        config = run.config
        if config.frozen_stages is not None:
            freeze_first_stages(self.network, config.frozen_stages)
        groups = parameter_groups(self.network, config.learning_rate, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)
        self.average = WeightAverage(self.network, config.average_decay)
        self.stream_totals = torch.zeros(2, NUM_CLASSES, dtype=torch.int64, device=processes.device)
        """Over the crops trained on: labelled pixels by class, and crops in which a class is present."""
        self.iteration = 0
        self.losses: list[float] = []
        self.recent_loss = torch.zeros((), device=processes.device)
        self.training_s = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "identity": identity(self.run, self.data, self.processes),
            "iteration": self.iteration,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "stream_totals": self.stream_totals,
            "losses": self.losses,
            "recent_loss": self.recent_loss,
            "training_s": self.training_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a checkpoint.

        Raises:
            TrainingError: the checkpoint belongs to a training with other settings.
        """
        expected = identity(self.run, self.data, self.processes)
        if differing := [key for key, value in expected.items() if state["identity"].get(key) != value]:
            raise TrainingError(
                f"{self.run.out} holds a training with another {', '.join(differing)}: repeat its options to go on"
                " with it, or choose another --out"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, tensor in state["average"].items():
            self.average.state[name].copy_(tensor)
        self.stream_totals.copy_(state["stream_totals"])
        self.iteration, self.losses, self.training_s = state["iteration"], state["losses"], state["training_s"]
        self.recent_loss.copy_(state["recent_loss"])

    def numbers(self, iteration: int) -> range:
        """The crops of an iteration that this process computes."""
        size = self.run.config.batch_size
        return self.processes.share_of(range(iteration * size, (iteration + 1) * size))

    def step(self, crops: LabelledCrops) -> Tensor:
        """One optimizer step; the mean loss of all processes, still on the device."""
        config, device = self.run.config, self.processes.device
        images_NHWC, labels_NHW = (torch.from_numpy(a).to(device) for a in (crops.images_NHWC, crops.labels_NHW))
        torch.manual_seed(self._seed(_SEED_TORCH, self.processes.rank))
        set_rates(self.optimizer, rate_factor(self.iteration, self.run.iterations, config.warmup_iterations))
        with self.processes.autocast():
            loss = self._loss(normalize(images_NHWC), labels_NHW)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients_and_statistics(self.network)
        self.optimizer.step()
        self.average.update(self.iteration)
        self.iteration += 1
        return self._note(loss.detach(), crops.labels_NHW)

    def _loss(self, images_N3HW: Tensor, labels_NHW: Tensor) -> Tensor:
        config = self.run.config
        box = draw_detail_box(self._rng(_DRAW_BOX), config.crops.crop_hw, config.detail_hw)
        logits = self.network.forward_train(images_N3HW, box)
        if config.loss_step > 1:
            row, column = self._rng(_DRAW_LOSS_CORNER).integers(config.loss_step, size=2)
            labels_NHW = labels_NHW[:, row :: config.loss_step, column :: config.loss_step]
            if logits.detail_box is not None:
                logits = replace(logits, detail_box=logits.detail_box.divided(config.loss_step))
        return hrda_loss(logits, labels_NHW.long(), detail_weight=config.detail_loss_weight).total

    def _note(self, loss: Tensor, labels_NHW: NDArray[np.uint8]) -> Tensor:
        counts = np.stack([count_classes(labels) for labels in labels_NHW])
        present = is_present(counts, self.data.pixel_frequency)
        totals = torch.from_numpy(np.stack([counts.sum(axis=0), present.sum(axis=0)]))
        self.stream_totals += self.processes.total(totals.to(self.processes.device))
        self.processes.average([loss])
        self.recent_loss += loss
        if self.iteration % LOSS_EVERY == 0:
            self.losses.append(float(self.recent_loss) / LOSS_EVERY)
            self.recent_loss.zero_()
            if not math.isfinite(self.losses[-1]):
                raise TrainingError(
                    f"the loss is {self.losses[-1]} at iteration {self.iteration}: train with another seed"
                )
        return loss

    def _seed(self, *purpose: int) -> int:
        sequence = np.random.SeedSequence((self.run.seed, self.iteration, *purpose))
        return int(sequence.generate_state(1, np.uint32)[0])

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.run.seed, self.iteration, purpose))


def identity(run: Run, data: SourceData, processes: Processes) -> dict[str, str]:
    """What must be equal for a checkpoint to be continued."""
    return {
        "recipe": run.config.model_dump_json(),
        "number of iterations": str(run.iterations),
        "seed": str(run.seed),
        "start": str(run.start_sha256),
        "data": "\n".join(record.model_dump_json() for record in data.records),
        "number of processes": str(processes.count),
    }


def check_out(out: Path) -> None:
    """Refuses a place where a training would write over something; one that was cut off goes on.

    Raises:
        TrainingError: `out` is a file, or holds a finished training or another network.
    """
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is no folder: choose another --out")
    if (out / CHECKPOINT_NAME).exists():
        return
    if (out / RECORD_NAME).exists():
        raise TrainingError(f"{out} holds a finished training: choose another --out")
    if any((out / name).exists() for name in (NETWORK_FILE, WEIGHTS_FILE)):
        raise TrainingError(f"{out} holds a network: choose another --out")


def train(training: SourceTraining, on_step: Callable[[int, Tensor], None]) -> None:
    """Runs a training to its end from its last checkpoint, and writes the network and training.json.

    Calls `on_step` with the iterations done and the loss.

    Raises:
        TrainingError: the folder holds something else than this training, or the loss is not finite.
    """
    run, processes = training.run, training.processes
    check_out(run.out)
    run.out.mkdir(parents=True, exist_ok=True)
    if (state := read_checkpoint(run.out)) is not None:
        training.restore(state)
    written_s = started_s = time.monotonic()
    batches = prefetch(
        lambda iteration: training.data.stream.crops(training.numbers(iteration)),
        range(training.iteration, run.iterations),
        run.loader_threads,
    )
    for _, crops in batches:
        loss = training.step(crops)
        on_step(training.iteration, loss)
        now_s = time.monotonic()
        training.training_s, started_s = training.training_s + now_s - started_s, now_s
        if processes.is_first and now_s - written_s >= run.checkpoint_every_s:
            write_checkpoint(run.out, training.state())
            written_s = now_s
    _finish(training)


def _finish(training: SourceTraining) -> None:
    run, data = training.run, training.data
    if not training.processes.is_first:
        return
    pixels, presence = training.stream_totals.cpu().numpy()
    record = TrainingRecord(
        config=run.config,
        data=data.records,
        seed=run.seed,
        iterations=run.iterations,
        processes=training.processes.count,
        start_sha256=run.start_sha256,
        source_pixel_frequency=data.pixel_frequency.tolist(),
        source_presence_counts=data.presence_counts.tolist(),
        source_frames=data.frames,
        stream_pixel_frequency=pixel_frequency(pixels).tolist(),
        stream_presence_counts=presence.tolist(),
        stream_crops=run.iterations * run.config.batch_size,
        losses=training.losses,
        loss_every=LOSS_EVERY,
        training_s=round(training.training_s, 1),
    )
    provenance = {"trained_by": run.config.recipe, "iterations": run.iterations, "seed": run.seed}
    save_network(run.out, run.config.network, training.network.state_dict() | training.average.state, provenance)
    record.write(run.out)
    (run.out / CHECKPOINT_NAME).unlink(missing_ok=True)
