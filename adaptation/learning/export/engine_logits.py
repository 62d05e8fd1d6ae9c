"""A release's engine, read with the network's logits beside the contract's outputs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.export.build_torch import LOGITS
from adaptation.learning.export.engines import compile_openvino, open_engine
from adaptation.learning.export.graph import reference_graph
from adaptation.learning.export.loaded_engine import FrameOutputs
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.windows import Box, average_windows, nested_windows
from exchange.contract import INPUTS, OUTPUTS
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import ENGINE_FOLDER, Manifest


@dataclass(frozen=True)
class FrameLogits:
    """Logits float32 [K, h, w] of the cells that lie wholly inside a frame's valid part, one every `stride` pixels."""

    grid_KHW: Tensor
    stride: int

    def cells_of(self, map_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A full-size map's values at the cells' centres, uint8 [h, w]."""
        rows, columns = self.grid_KHW.shape[1:]
        middle = self.stride // 2
        return np.ascontiguousarray(map_HW[middle :: self.stride, middle :: self.stride][:rows, :columns])


@dataclass(frozen=True)
class Reading:
    outputs: FrameOutputs
    logits: FrameLogits
    seconds: float
    """That the engine took."""


class ReleaseReader:
    """Reads frames of a release's size: the outputs by its engine; the logits too, where the engine shows them.

    An OpenVINO engine does; beside another one the same weights run in torch.
    """

    def __init__(self, release_dir: Path, manifest: Manifest, *, threads: int = 0) -> None:
        """Raises ReleaseError, CheckpointError, TensorRTError or RuntimeError where it cannot be loaded."""
        self.manifest = manifest
        make = _read_openvino if manifest.engine == "openvino" else _read_beside_torch
        self._run = make(release_dir, manifest, threads)
        windows = manifest.windows
        self._outer = nested_windows(
            manifest.frame_size,
            windows.outer_crop,
            windows.outer_stride,
            windows.detail_crop,
            windows.detail_stride,
        ).outer

    def read(self, frame_HW3: NDArray[np.uint8], valid_hw: tuple[int, int]) -> Reading:
        outputs, fused_NKHW, seconds = self._run(frame_HW3, valid_hw)
        return Reading(outputs, valid_logits(fused_NKHW, self._outer, valid_hw), seconds)


def valid_logits(fused_NKHW: Tensor, outer: Sequence[Box], valid_hw: tuple[int, int]) -> FrameLogits:
    """From the outer windows' logits [N, K, h, w] to their mean over the frame, without the cells that hold padding."""
    stride = outer[0].size[0] // fused_NKHW.shape[2]
    grid_1KHW = average_windows(fused_NKHW.split(1), [box.divided(stride) for box in outer])
    return FrameLogits(grid_1KHW[0, :, : valid_hw[0] // stride, : valid_hw[1] // stride], stride)


_Run = Callable[[NDArray[np.uint8], tuple[int, int]], tuple[FrameOutputs, Tensor, float]]


def _read_openvino(release_dir: Path, manifest: Manifest, threads: int) -> _Run:
    compiled = compile_openvino(release_dir / ENGINE_FOLDER, manifest.precision, threads=threads, with_logits=True)
    request = compiled.create_infer_request()

    def run(frame_HW3: NDArray[np.uint8], valid_hw: tuple[int, int]) -> tuple[FrameOutputs, Tensor, float]:
        inputs = (frame_HW3, np.zeros(NUM_CLASSES, np.float32), np.array(valid_hw, np.int32))
        started_s = time.perf_counter()
        request.infer({spec.name: array for spec, array in zip(INPUTS, inputs, strict=True)})
        seconds = time.perf_counter() - started_s
        outputs = FrameOutputs(*(np.array(request.get_tensor(spec.name).data) for spec in OUTPUTS))
        return outputs, torch.from_numpy(np.array(request.get_tensor(LOGITS).data)), seconds

    return run


def _read_beside_torch(release_dir: Path, manifest: Manifest, threads: int) -> _Run:
    engine = open_engine(release_dir / ENGINE_FOLDER, manifest, threads=threads)
    graph = reference_graph(load_network(release_dir, manifest.network), manifest.frame_size, manifest.windows)

    def run(frame_HW3: NDArray[np.uint8], valid_hw: tuple[int, int]) -> tuple[FrameOutputs, Tensor, float]:
        started_s = time.perf_counter()
        outputs = engine.infer(frame_HW3, valid_hw=valid_hw)
        seconds = time.perf_counter() - started_s
        with torch.inference_mode():
            return outputs, graph.fused(torch.from_numpy(frame_HW3)), seconds

    return run
