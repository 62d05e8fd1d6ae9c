"""The graph as an exported torch program, and on a GPU compiled ahead of time."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from adaptation.learning.export.graph import FrameGraph
from exchange.label_space import NUM_CLASSES

PROGRAM_NAME = "model.pt2"
COMPILED_NAME = "compiled.pt2"
LOGITS = "LOGITS"


def example_inputs(graph: FrameGraph) -> tuple[Tensor, ...]:
    """A black frame, no adjustment, no padding: the inputs that a graph is traced with."""
    return (
        torch.zeros(*graph.frame_size, 3, dtype=torch.uint8, device=graph.device),
        torch.zeros(NUM_CLASSES, device=graph.device),
        torch.tensor(graph.frame_size, dtype=torch.int32, device=graph.device),
    )


class WithLogits(nn.Module):
    """A graph whose logits (`FrameGraph.fused`) are one more output: `LOGITS`, inside the engines that are built."""

    def __init__(self, frame_graph: FrameGraph) -> None:
        super().__init__()
        self.frame_graph = frame_graph

    def forward(self, frame_HW3: Tensor, log_prior_ratio_K: Tensor, valid_hw: Tensor) -> tuple[Tensor, ...]:
        fused_NKHW = self.frame_graph.fused(frame_HW3)
        return *self.frame_graph.outputs(fused_NKHW, log_prior_ratio_K, valid_hw), fused_NKHW


def traced(module: nn.Module, graph: FrameGraph) -> torch.export.ExportedProgram:
    """The module as a program of plain tensor operations; it takes the inputs of `graph`."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about itself
        return torch.export.export(module, example_inputs(graph))


def build_torch(graph: FrameGraph, engine_dir: Path) -> None:
    """Writes model.pt2 and, for a graph on a GPU, compiled.pt2 beside it.

    Not verified: the compiled program has never been built on a GPU.
    """
    program = traced(graph, graph)
    torch.export.save(program, engine_dir / PROGRAM_NAME)
    if graph.device.type == "cuda":
        torch._inductor.aoti_compile_and_package(program, package_path=str(engine_dir / COMPILED_NAME))
