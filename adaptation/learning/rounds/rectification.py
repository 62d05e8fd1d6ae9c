"""Retrains the head on the source so that its plain outputs follow the target's prior (CR, Undoing UDA, CVPR 2022)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptation.learning.data.crop_stream import LabelledCrops
from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.methods.self_training import SelfTrainingBatch, SelfTrainingSettings, source_losses
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box
from adaptation.learning.rounds.learning import Numbers
from adaptation.learning.training.optimization import gradients_of, parameter_groups, rate_factor, set_rates
from adaptation.learning.training.processes import ALONE, Processes
from exchange.jobs.recipes import RoundConfig


class HeadRectification:
    """Only the head learns, by AdamW where the authors take SGD.

    The whole network stays in eval mode: live batch norm would drift towards the source.
    """

    def __init__(
        self,
        config: RoundConfig,
        network: HRDA,
        log_ratio_C: Tensor,
        iterations: int,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.iterations, self.seed, self.processes = config, iterations, seed, processes
        self.network = network.eval()
        self.network.backbone.requires_grad_(False)
        self.network.decode_head.requires_grad_(True)
        self.offset_C = -log_ratio_C
        groups = parameter_groups(self.network, config.learning_rate, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)
        self.settings = SelfTrainingSettings(detail_weight=config.detail_weight)

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def step(self, batch: LabelledCrops, iteration: int) -> Numbers:
        device = next(self.network.parameters()).device
        images_N3HW = normalize(torch.from_numpy(batch.images_NHWC).to(device))
        labels_NHW = torch.from_numpy(batch.labels_NHW).to(device)
        rng = np.random.default_rng((self.seed, iteration))
        box = Box(*draw_detail_box(rng, self.config.crops.crop_hw, self.config.detail_hw))
        set_rates(self.optimizer, rate_factor(iteration, self.iterations, self.config.warmup_iterations))
        pair = SelfTrainingBatch(images_N3HW, labels_NHW, target_N3HW=images_N3HW)
        loss, _ = source_losses(self.network, None, pair, box, self.settings, self.offset_C)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        total = loss.total.detach()
        self.processes.average([total, *gradients_of(self.optimizer)])
        self.optimizer.step()
        return {"loss": total.item()}
