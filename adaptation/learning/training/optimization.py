"""AdamW with HRDA's parameter groups, its warm-up and decay of the learning rate, and the average of the weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

HEAD_FACTOR = 10.0
"""The head's and the attention's learning rate over the encoder's."""
_WARMUP_RATIO = 1e-6


def parameter_groups(network: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """The authors' three groups: all of the head with ten times the rate, norms of the encoder undecayed, the rest.

    Norms are known by their names: `norm` in transformers, `bn` in convolutional encoders.
    """
    head: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_norm = "norm" in name or any(part.startswith("bn") for part in name.split("."))
        (head if "head" in name else norms if is_norm else rest).append(parameter)
    groups = (
        (head, learning_rate * HEAD_FACTOR, weight_decay),
        (norms, learning_rate, 0.0),
        (rest, learning_rate, weight_decay),
    )
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for parameters, rate, decay in groups
        if parameters
    ]


def rate_factor(iteration: int, iterations: int, warmup_iterations: int) -> float:
    """What the base learning rate is multiplied by: linear decay to zero, times a linear warm-up from 1e-6."""
    factor = 1.0 - iteration / iterations
    if iteration < warmup_iterations:
        factor *= 1.0 - (1.0 - iteration / warmup_iterations) * (1.0 - _WARMUP_RATIO)
    return factor


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The gradients that its next step follows."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


class WeightAverage:
    """The running average of a network's parameters and batch-norm statistics, warm-started like a mean teacher."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._live = dict(_averaged(network))
        self.state = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Moves towards the live weights by 1 - min(1 - 1 / (iteration + 1), decay)."""
        step = 1.0 - min(1.0 - 1.0 / (iteration + 1), self._decay)
        torch._foreach_lerp_(list(self.state.values()), list(self._live.values()), step)


def _averaged(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return ((name, tensor) for name, tensor in network.state_dict().items() if tensor.is_floating_point())
