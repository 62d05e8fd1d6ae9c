"""Batch norm over the batches of all processes (torch's SyncBatchNorm refuses tensors on the CPU)."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over the processes; so is its gradient, since every process's loss depends on every part."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    summed = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed


class SharedBatchNorm2d(nn.BatchNorm2d):
    """In train mode mean and variance are of all processes' samples, with gradients through both; else batch norm."""

    def forward(self, maps_NDHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps_NDHW)
        own = maps_NDHW.new_tensor([maps_NDHW.numel() / maps_NDHW.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat([maps_NDHW.sum(dim=(0, 2, 3)), own]))
        samples = sums[-1].detach()
        mean_D = sums[:-1] / samples
        # In two exchanges: the mean of squares less the squared mean would lose half of float32's digits.
        centered_NDHW = maps_NDHW - mean_D.view(1, -1, 1, 1)
        variance_D = _SumOverProcesses.apply(centered_NDHW.square().sum(dim=(0, 2, 3))) / samples
        self._remember(mean_D.detach(), variance_D.detach() * samples / (samples - 1))
        scale_D = self.weight * (variance_D + self.eps).rsqrt()
        return centered_NDHW * scale_D.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    @torch.no_grad()
    def _remember(self, mean_D: Tensor, variance_D: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        if self.momentum is None:
            raise ValueError("a batch norm without momentum cannot be shared: give it one")
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_D, self.momentum)
        self.running_var.lerp_(variance_D, self.momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Lets every batch norm of a network see all processes' batches; parameters, buffers and their names stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
