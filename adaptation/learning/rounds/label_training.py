"""A round's training on labelled crops alone: the source's, and the target's with pseudo-labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.data.class_statistics import count_classes, is_present
from adaptation.learning.data.crop_stream import LabelledCrops
from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.methods.label_shift import class_distribution
from adaptation.learning.networks.efficientnet_lite import EfficientNetLite0
from adaptation.learning.networks.hrda import HRDA, hrda_loss
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box
from adaptation.learning.rounds.learning import Numbers, seed_of
from adaptation.learning.rounds.shared_batch_norm import share_batch_norm
from adaptation.learning.training.optimization import (
    WeightAverage,
    gradients_of,
    parameter_groups,
    rate_factor,
    set_rates,
)
from adaptation.learning.training.processes import ALONE, Processes
from adaptation.learning.training.start import freeze_first_stages, freeze_statistics
from exchange.jobs.recipes import PseudoLabelConfig, RoundConfig
from exchange.label_space import NUM_CLASSES

FOLLOWED_FILE = "followed.json"
_BOX, _DROPOUT = range(2)


def write_followed(folder: Path, presence_counts: list[int]) -> None:
    (folder / FOLLOWED_FILE).write_text(json.dumps({"presence": presence_counts}) + "\n")


def read_followed(folder: Path) -> list[float]:
    """The image-level class distribution of the crops that were learnt, which the plain outputs follow."""
    return class_distribution(json.loads((folder / FOLLOWED_FILE).read_text())["presence"]).tolist()


class LabelTraining:
    """The weights' average ships; where batch norm is live, its statistics come to be those of both domains."""

    def __init__(
        self,
        config: RoundConfig,
        settings: PseudoLabelConfig,
        network: HRDA,
        frequency_C: NDArray[np.float64],
        iterations: int,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.iterations, self.seed, self.processes = config, iterations, seed, processes
        if processes.count > 1:
            share_batch_norm(network)
        self._started_with = _statistics(network) if settings.batch_norm != "live" else {}
        self.network = network.requires_grad_(True).train()
        if settings.batch_norm == "frozen":
            freeze_statistics(self.network)
        if isinstance(network.backbone, EfficientNetLite0):
            freeze_first_stages(network, settings.frozen_stages)
        rate = settings.learning_rate or config.learning_rate
        self.optimizer = torch.optim.AdamW(parameter_groups(network, rate, config.weight_decay))
        self.average = WeightAverage(network, settings.average_decay)
        self.frequency_C = frequency_C
        self.presence_C = torch.zeros(NUM_CLASSES, dtype=torch.int64, device=processes.device)
        """Crops in which a class is present: what the outputs come to follow."""

    def result(self) -> dict[str, Tensor]:
        """Return the state that ships."""
        return self.network.state_dict() | self.average.state | self._started_with

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "presence": self.presence_C,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, tensor in state["average"].items():
            self.average.state[name].copy_(tensor)
        self.presence_C.copy_(state["presence"])

    def step(self, batch: LabelledCrops, iteration: int) -> Numbers:
        device = self.processes.device
        images_N3HW = normalize(torch.from_numpy(batch.images_NHWC).to(device))
        labels_NHW = torch.from_numpy(batch.labels_NHW).to(device).long()
        rng = np.random.default_rng((self.seed, iteration, _BOX))
        box = Box(*draw_detail_box(rng, self.config.crops.crop_hw, self.config.detail_hw))
        torch.manual_seed(seed_of(self.seed, iteration, _DROPOUT) + self.processes.rank)
        set_rates(self.optimizer, rate_factor(iteration, self.iterations, self.config.warmup_iterations))
        logits = self.network.forward_train(images_N3HW, box)
        loss = hrda_loss(logits, labels_NHW, detail_weight=self.config.detail_weight).total
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total = loss.detach()
        self.processes.average([total, *gradients_of(self.optimizer)])
        self.optimizer.step()
        self.average.update(iteration)
        counts = np.stack([count_classes(labels) for labels in batch.labels_NHW])
        present_C = torch.from_numpy(is_present(counts, self.frequency_C).sum(axis=0))
        self.presence_C += self.processes.total(present_C.to(device))
        return {"loss": total.item()}


def _statistics(network: HRDA) -> dict[str, Tensor]:
    """Return a copy of batch norm's buffers."""
    return {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
