"""The processes and the device of one training: alone, or one of several that torchrun started."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

_LONGEST_WAIT = timedelta(hours=12)
"""For the steps that the first process does alone; torchrun ends all processes when one fails."""


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

    def agreed(self, said: bool) -> bool:
        """What the first process says; the others' word counts nothing."""
        if self.count == 1:
            return said
        word = torch.tensor([int(said)], device=self.device)
        dist.broadcast(word, src=0)
        return bool(word)

    def wait_for_all(self) -> None:
        """Returns when every process is here."""
        self.agreed(True)
        self.total(torch.zeros(1, device=self.device))

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows [n, ...] of all processes, in their order; each may have a number of its own."""
        if self.count == 1:
            return rows
        numbers = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.count)]
        dist.all_gather(numbers, torch.tensor([len(rows)], device=self.device))
        longest = max(int(number) for number in numbers)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(number)] for part, number in zip(parts, numbers, strict=True)])

    def weight_of(self, counted: Tensor) -> Tensor:
        """What to multiply a mean over `counted` entries by, so that the processes' average is the mean over all."""
        own = counted.detach().double().reshape(1)
        everywhere = self.total(own.clone())
        return (own * self.count / everywhere.clamp(min=1))[0].float() if self.count > 1 else own.new_ones(()).float()

    def average_gradients_and_statistics(self, network: nn.Module) -> None:
        """Keeps the processes' networks equal: one mean of all gradients and of the batch-norm statistics."""
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        self.average(gradients + [buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 autocast where the hardware multiplies bf16, otherwise float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bf16(self.device))


ALONE = Processes(0, 1, torch.device("cpu"))


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
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_LONGEST_WAIT)
    return Processes(int(os.environ.get("RANK", "0")), count, device)


def leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
