"""A round's optional last training: the adapted network teaches a smaller one, which then ships."""

from typing import Any

import numpy as np
import torch

from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.methods.distillation import self_distillation_loss
from adaptation.learning.methods.self_training import augment_strongly, augmentation_of, draw_strong_augmentation
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box
from adaptation.learning.rounds.crops import TargetCrops
from adaptation.learning.rounds.learning import Numbers, seed_of
from adaptation.learning.rounds.shared_batch_norm import share_batch_norm
from adaptation.learning.training.optimization import gradients_of, parameter_groups, rate_factor, set_rates
from adaptation.learning.training.processes import ALONE, Processes
from adaptation.learning.training.start import freeze_statistics
from exchange.jobs.recipes import DistillationConfig, RoundConfig

_AUGMENTATION, _DROPOUT, _BOX = range(3)


class Distillation:
    """The student sees target crops with strong augmentation, the teacher labels them plain and in eval mode.

    What the student's plain outputs follow is what the teacher's do: no prior is applied here.
    """

    def __init__(
        self,
        config: RoundConfig,
        settings: DistillationConfig,
        teacher: HRDA,
        student: HRDA,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.settings, self.seed, self.processes = config, settings, seed, processes
        self.teacher = teacher.requires_grad_(False).eval()
        self.student = student.requires_grad_(True).train()
        if settings.frozen_statistics:
            freeze_statistics(self.student)
        elif processes.count > 1:
            share_batch_norm(self.student)
        groups = parameter_groups(self.student, config.learning_rate, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)

    def state(self) -> dict[str, Any]:
        return {"student": self.student.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])

    def step(self, batch: TargetCrops, iteration: int) -> Numbers:
        device = self.processes.device
        images_N3HW = normalize(torch.from_numpy(batch.images_NHWC).to(device))
        valid_NHW = torch.from_numpy(batch.valid_NHW).to(device)
        rng = np.random.default_rng((self.seed, iteration, _BOX))
        box = Box(*draw_detail_box(rng, self.config.crops.crop_hw, self.config.detail_hw))
        half = (box.size[0] // 2, box.size[1] // 2)
        with torch.no_grad():
            taught_NCHW = self.teacher.forward_whole(images_N3HW, box.size, half)
        images = self.processes.share_of(range(self.processes.count * len(images_N3HW)))
        generator = torch.Generator().manual_seed(seed_of(self.seed, iteration, _AUGMENTATION))
        drawn = draw_strong_augmentation(self.processes.count * len(images), generator)
        torch.manual_seed(seed_of(self.seed, iteration, _DROPOUT) + self.processes.rank)
        logits = self.student.forward_train(augment_strongly(images_N3HW, augmentation_of(drawn, images)), box)
        full_NCHW = resized(logits.fused_NKHW, taught_NCHW.shape[-2:])
        loss = self_distillation_loss(
            full_NCHW, taught_NCHW, valid_NHW, self.settings.hard_weight, self.settings.soft_weight
        )
        set_rates(self.optimizer, rate_factor(iteration, self.settings.iterations, self.config.warmup_iterations))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total = loss.detach()
        self.processes.average([total, *gradients_of(self.optimizer)])
        self.optimizer.step()
        return {"loss": total.item()}
