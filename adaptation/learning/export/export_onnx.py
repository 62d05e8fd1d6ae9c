"""From a network's folder to an ONNX file, for TensorRT on another machine: checked, and held to its weights."""

from collections.abc import Callable, Iterable
from pathlib import Path

from adaptation.learning.export.build_onnx import build_onnx
from adaptation.learning.export.engines import open_onnx
from adaptation.learning.export.graph import FrameGraph, for_inference, reference_graph
from adaptation.learning.export.logits_inside import onnx_logits
from adaptation.learning.export.parity import FrameAndValid, Parity, compare_with_reference
from adaptation.learning.export.release import ExportSettings, ParityError
from adaptation.learning.networks.checkpoints import load_network


def export_onnx(
    network_dir: Path,
    path: Path,
    settings: ExportSettings,
    frames: Iterable[FrameAndValid],
    on_frame: Callable[[int], None],
) -> Parity:
    """Writes the whole graph in float32, once it gives in onnxruntime what the torch reference gives on the frames.

    Raises:
        ValueError: the network cannot take the frame size or the windows.
        CheckpointError: the network cannot be read.
        ParityError: the graph and the reference differ.
    """
    network = load_network(network_dir)
    reference = reference_graph(network, settings.frame_size, settings.windows)
    partial = path.with_name(f".{path.name}.partial")
    try:
        build_onnx(FrameGraph(for_inference(network), settings.frame_size, settings.windows, tiled=False), partial)
        parity = compare_with_reference(open_onnx(partial), onnx_logits(partial), reference, "fp32", frames, on_frame)
        if not parity.passes:
            raise ParityError(parity)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return parity
