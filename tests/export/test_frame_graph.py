"""The graph computes the tensor contract: against numpy, and the fast forms against the plain one."""

import numpy as np
import pytest
import torch

from adaptation.data.normalization import normalize
from adaptation.export.build_onnx import build_onnx
from adaptation.export.engines import open_onnx
from adaptation.export.graph import FrameGraph, for_inference, reference_graph
from adaptation.export.loaded_engine import run_eagerly
from adaptation.networks.hrda import HRDA, build_hrda
from exchange.networks import WindowConfig, whole_frame_windows

FRAME_SIZE = (64, 128)
NESTED = WindowConfig(outer_crop=(64, 64), outer_stride=(32, 32), detail_crop=(32, 32), detail_stride=(16, 16))
WHOLE = whole_frame_windows(FRAME_SIZE)


def tiny_network(encoder: str = "mit_custom", *, detail: bool = True) -> HRDA:
    torch.manual_seed(0)
    sizes = {
        "embed_dims": (8, 16, 40, 64),
        "num_heads": (1, 2, 5, 8),
        "depths": (1, 1, 1, 1),
        "sr_ratios": (8, 4, 2, 1),
    }
    dims = sizes if encoder == "mit_custom" else {}
    network = build_hrda(encoder, "light", detail=detail, channels=16, **dims).eval()
    with torch.no_grad():  # confident enough that classes differ
        network.decode_head.head.conv_seg.weight.mul_(200)
    return network


def frame_and_ratio() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1), rng.normal(size=19).astype(np.float32)


@pytest.mark.parametrize("windows", [WHOLE, NESTED], ids=["whole", "nested"])
def test_the_plain_graph_is_the_contract_written_in_numpy(windows: WindowConfig) -> None:
    network = tiny_network()
    frame, ratio = frame_and_ratio()
    valid = (48, 100)
    outputs = run_eagerly(reference_graph(network, FRAME_SIZE, windows)).infer(frame, ratio, valid)

    with torch.inference_mode():
        logits = network.forward_frame(normalize(torch.from_numpy(frame)[None]), windows)[0].double().numpy()
    plain = np.exp(logits - logits.max(axis=0))
    plain /= plain.sum(axis=0)
    adjusted = np.exp(logits + ratio[:, None, None] - (logits + ratio[:, None, None]).max(axis=0))
    adjusted /= adjusted.sum(axis=0)
    inside = plain[:, : valid[0], : valid[1]]
    assert (outputs.label_HW == adjusted.argmax(axis=0)).mean() > 0.9999
    assert np.abs(outputs.confidence_HW - np.round(255 * adjusted.max(axis=0))).max() <= 1
    np.testing.assert_allclose(outputs.presence_K, np.log(np.exp(inside).mean(axis=(1, 2))), atol=2e-6)
    np.testing.assert_allclose(outputs.mean_probability_K, inside.mean(axis=(1, 2)), atol=2e-6)


@pytest.mark.parametrize("encoder", ["mit_custom", "efficientnet_lite0"])
@pytest.mark.parametrize("detail", [True, False], ids=["detail", "context"])
def test_the_fast_graph_is_the_plain_one(encoder: str, detail: bool) -> None:
    network = tiny_network(encoder, detail=detail)
    frame, ratio = frame_and_ratio()
    plain = run_eagerly(reference_graph(network, FRAME_SIZE, NESTED)).infer(frame, ratio, (48, 100))
    fast_graph = FrameGraph(for_inference(network), FRAME_SIZE, NESTED, tiled=True)
    fast = run_eagerly(fast_graph).infer(frame, ratio, (48, 100))
    assert (fast.label_HW == plain.label_HW).mean() > 0.999
    assert np.abs(fast.confidence_HW.astype(int) - plain.confidence_HW).max() <= 1
    np.testing.assert_allclose(fast.presence_K, plain.presence_K, atol=1e-5)
    np.testing.assert_allclose(fast.mean_probability_K, plain.mean_probability_K, atol=1e-5)


def test_onnx_gives_the_same_labels_in_onnxruntime(tmp_path: object) -> None:
    network = tiny_network()
    frame, ratio = frame_and_ratio()
    plain = run_eagerly(reference_graph(network, FRAME_SIZE, WHOLE)).infer(frame, ratio)
    build_onnx(FrameGraph(for_inference(network), FRAME_SIZE, WHOLE, tiled=False), tmp_path)  # type: ignore[arg-type]
    answer = open_onnx(tmp_path).infer(frame, ratio)  # type: ignore[arg-type]
    assert (answer.label_HW == plain.label_HW).mean() > 0.999
    np.testing.assert_allclose(answer.mean_probability_K, plain.mean_probability_K, atol=1e-5)


@pytest.mark.parametrize(("size", "nearest"), [((60, 128), "64x128"), ((64, 8), "64x64")])
def test_a_frame_size_that_does_not_fit_names_the_nearest(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(ValueError, match=nearest):
        reference_graph(tiny_network(), size, whole_frame_windows(size))
