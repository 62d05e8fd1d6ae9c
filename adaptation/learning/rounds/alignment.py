"""Class-conditional adversarial alignment beside a round's self-training (FADA, Wang et al., ECCV 2020)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from adaptation.learning.methods.fada import (
    DISCRIMINATOR_BETAS,
    ClassDiscriminator,
    adversarial_loss,
    discriminator_loss,
    polynomial_rate,
    soften,
)
from adaptation.learning.networks.hrda import HRDALogits
from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.windows import Size
from adaptation.learning.training.processes import ALONE, Processes
from exchange.jobs.recipes import AlignmentConfig
from exchange.label_space import NUM_CLASSES


class DomainView(NamedTuple):
    """What the discriminator sees of one domain: the context's deepest maps, and how the student labels them."""

    features_NDhw: Tensor
    soft_NKHW: Tensor
    """Softened predictions of the image's size, as the authors' code has them."""

    @classmethod
    def of(cls, config: AlignmentConfig, logits: HRDALogits, size: Size) -> "DomainView":
        """Return what a forward shows of images of this size, in pixels."""
        fused_NKHW = resized(logits.fused_NKHW.detach(), size)
        return cls(logits.context_features[-1], soften(fused_NKHW, config.temperature, config.clip))


class Alignment:
    """A discriminator of (domain, class) and its optimizer. The student's encoder learns from `encoder_loss`."""

    def __init__(
        self, config: AlignmentConfig, channels: int, iterations: int, seed: int, processes: Processes = ALONE
    ) -> None:
        self.config, self.iterations, self.processes = config, iterations, processes
        torch.manual_seed(seed)
        self.discriminator = ClassDiscriminator(channels, NUM_CLASSES, config.hidden_channels).to(processes.device)
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.discriminator_rate, betas=DISCRIMINATOR_BETAS
        )

    def state(self) -> dict[str, Any]:
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])

    def encoder_loss(self, target: DomainView) -> Tensor:
        """Weighted; the discriminator learns nothing from it."""
        self.discriminator.requires_grad_(False)
        judged_N2KHW = self._judged(target.features_NDhw, target)
        self.discriminator.requires_grad_(True)
        return adversarial_loss(judged_N2KHW, target.soft_NKHW, self.config.adversarial_weight)

    def learn(self, source: DomainView, target: DomainView, iteration: int) -> Tensor:
        """One step of the discriminator on both domains' maps, after the student's; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = polynomial_rate(self.config.discriminator_rate, iteration, self.iterations)
        judged = [self._judged(view.features_NDhw.detach(), view) for view in (source, target)]
        loss = discriminator_loss(judged[0], source.soft_NKHW, judged[1], target.soft_NKHW)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total = loss.detach()
        gradients = [parameter.grad for parameter in self.discriminator.parameters() if parameter.grad is not None]
        self.processes.average([total, *gradients])
        self.optimizer.step()
        return total

    def _judged(self, features_NDhw: Tensor, view: DomainView) -> Tensor:
        height, width = view.soft_NKHW.shape[-2:]
        judged: Tensor = self.discriminator(features_NDhw, (height, width))
        return judged
