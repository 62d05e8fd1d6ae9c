"""Engines on an NVIDIA GPU: programs compiled ahead of time, and TensorRT plans, replayed as one CUDA graph.

Not verified: nothing in this module has run on a GPU yet.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adaptation.learning.export.build_tensorrt import TensorRTError, import_tensorrt
from adaptation.learning.export.loaded_engine import Arrays, LoadedEngine
from exchange.contract import INPUTS, OUTPUTS, TensorSpec
from exchange.label_space import NUM_CLASSES

GpuFunction = Callable[..., Sequence[Tensor]]
"""Takes and gives the contract's tensors on the GPU, in its order."""

WARM_UPS = 3


def open_compiled(path: Path, frame_size: tuple[int, int]) -> LoadedEngine:
    """A program that `build_torch` compiled ahead of time."""
    return replayed(torch._inductor.aoti_load_package(str(path)), frame_size)


def open_plan(path: Path, frame_size: tuple[int, int]) -> LoadedEngine:
    """A plan of the TensorRT version at hand.

    Raises:
        TensorRTError: TensorRT is missing, or the plan is for another version or GPU.
    """
    trt = import_tensorrt()
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise TensorRTError(
            f"{path} was built for another GPU or TensorRT than {trt.__version__}: export it again here"
        )
    context = engine.create_execution_context()
    outputs = _buffers(OUTPUTS, frame_size)

    def function(*inputs: Tensor) -> Sequence[Tensor]:
        for spec, tensor in zip((*INPUTS, *OUTPUTS), (*inputs, *outputs), strict=True):
            context.set_tensor_address(spec.name, tensor.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        return outputs

    return replayed(function, frame_size)


def replayed(function: GpuFunction, frame_size: tuple[int, int]) -> LoadedEngine:
    """Captures the function's kernels once and replays them for every frame."""
    inputs = _buffers(INPUTS, frame_size)
    side_stream = torch.cuda.Stream()  # a capture must not begin on work that is still being set up
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream), torch.inference_mode():
        for _ in range(WARM_UPS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        outputs = function(*inputs)

    def run(arrays: Arrays) -> Arrays:
        for buffer, array in zip(inputs, arrays, strict=True):
            buffer.copy_(torch.from_numpy(array))
        graph.replay()
        return [tensor.cpu().numpy() for tensor in outputs]

    return LoadedEngine(run)


def _buffers(specs: Sequence[TensorSpec], frame_size: tuple[int, int]) -> list[Tensor]:
    """Tensors of ones on the GPU: a valid input, and outputs to be overwritten."""
    arrays = (np.ones(spec.shape(frame_size, NUM_CLASSES), spec.dtype) for spec in specs)
    return [torch.from_numpy(array).cuda() for array in arrays]
