"""The processes and the device of one training: alone, or one of several that torchrun started."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share_of(self, numbers: range) -> range:
        """This process's equal part of consecutive numbers.

        Raises:
            ValueError: they cannot be shared equally.
        """
        if len(numbers) % self.count:
            raise ValueError(f"a batch of {len(numbers)} cannot be shared by {self.count} processes: start fewer")
        each = len(numbers) // self.count
        return numbers[self.rank * each : (self.rank + 1) * each]

    def average(self, tensors: list[Tensor]) -> None:
        """Replaces tensors by their means over the processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        means = (flat / self.count).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def average_gradients_and_statistics(self, network: nn.Module) -> None:
        """Keeps the processes' networks equal: one mean of all gradients and of the batch-norm statistics."""
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        self.average(gradients + [buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 autocast where the hardware multiplies bf16, otherwise float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bf16(self.device))


def multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def join_processes() -> Processes:
    """Joins torchrun's group if there is one; takes a GPU if there is one.

    Each process has its own GPU; without GPUs they meet over gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(int(os.environ.get("RANK", "0")), count, device)


def leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
