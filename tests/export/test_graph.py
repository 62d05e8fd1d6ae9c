"""The graph is the authors' procedure, and its fast form computes the same; sizes that do not fit are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from adaptation.learning.export.graph import FrameGraph, for_inference, reference_graph
from adaptation.learning.export.loaded_engine import run_eagerly
from adaptation.learning.networks.frame_sizes import check_sizes
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.normalization import normalize
from exchange.networks import NetworkConfig, WindowConfig, whole_frame_windows

NESTED = WindowConfig(outer_crop=(64, 64), outer_stride=(32, 32), detail_crop=(32, 32), detail_stride=(16, 16))
SIZE = (64, 128)
BuildNetwork = Callable[[str], tuple[NetworkConfig, HRDA]]
Inputs = Callable[[tuple[int, int]], dict[str, Any]]


@torch.inference_mode()
@pytest.mark.parametrize("windows", [NESTED, whole_frame_windows(SIZE)])
def test_the_reference_reads_a_frame_as_the_authors_do(
    windows: WindowConfig, small_network: BuildNetwork, random_inputs: Inputs
) -> None:
    network = small_network("mit, light")[1]
    frame = torch.from_numpy(random_inputs(SIZE)["frame_HW3"])
    graph = reference_graph(network, SIZE, windows)
    logits = graph.outputs.logits(graph.fused(frame))
    torch.testing.assert_close(logits, network.forward_frame(normalize(frame[None]), windows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "windows"),
    [
        ("mit, daformer", (72, 136), NESTED),
        ("efficientnet, light", SIZE, whole_frame_windows(SIZE)),
        ("efficientnet, light, no detail", SIZE, whole_frame_windows(SIZE)),
        ("resnet, deeplabv2", SIZE, NESTED),
    ],
)
def test_the_fast_graph_computes_what_the_plain_one_does(
    name: str, size: tuple[int, int], windows: WindowConfig, small_network: BuildNetwork, random_inputs: Inputs
) -> None:
    network = small_network(name)[1]
    plain = run_eagerly(reference_graph(network, size, windows)).infer(**random_inputs(size))
    fast_graph = FrameGraph(for_inference(network), size, windows, tiled=True, window_batch=4)
    fast = run_eagerly(fast_graph).infer(**random_inputs(size))
    assert len(np.unique(plain.label_HW)) > 1
    assert np.array_equal(fast.label_HW, plain.label_HW)
    assert np.abs(fast.confidence_HW.astype(int) - plain.confidence_HW).max() <= 1
    np.testing.assert_allclose(fast.presence_K, plain.presence_K, atol=1e-5)
    np.testing.assert_allclose(fast.mean_probability_K, plain.mean_probability_K, atol=1e-5)


def test_folding_leaves_no_batch_norm_behind_a_convolution_and_the_network_as_it_was(
    small_network: BuildNetwork,
) -> None:
    network = small_network("efficientnet, light")[1]
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = for_inference(network)
    assert not any(isinstance(getattr(module, "bn", None), torch.nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [
        ("mit, light", (204, 356), "208x352"),
        ("mit, light", (56, 128), "64x128"),
        ("resnet, deeplabv2", (72, 120), "64x128"),
    ],
)
def test_a_frame_size_that_does_not_fit_is_refused_with_the_nearest(
    name: str, size: tuple[int, int], nearest: str, small_network: BuildNetwork
) -> None:
    network = small_network(name)[1]
    with pytest.raises(ValueError, match=f"nearest is {nearest}"):
        check_sizes(network, size, whole_frame_windows(size))
    rows, columns = map(int, nearest.split("x"))
    check_sizes(network, (rows, columns), whole_frame_windows((rows, columns)))


def test_a_frame_that_several_outer_windows_cover_may_have_any_size(
    small_network: BuildNetwork, random_inputs: Inputs
) -> None:
    network = small_network("mit, light")[1]
    size = (72, 134)
    frame = np.ascontiguousarray(random_inputs((72, 136))["frame_HW3"][:, :134])
    windows = NESTED.model_copy(update={"outer_crop": (72, 64)})
    plain = reference_graph(network, size, windows)
    with torch.inference_mode():
        logits = network.forward_frame(normalize(torch.from_numpy(frame)[None]), windows)
        torch.testing.assert_close(plain.outputs.logits(plain.fused(torch.from_numpy(frame))), logits)
    fast = run_eagerly(FrameGraph(for_inference(network), size, windows, tiled=True)).infer(frame)
    assert np.array_equal(fast.label_HW, logits[0].argmax(0).numpy())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"outer_crop": (60, 64)}, "outer windows of 60x64 .* sides must be multiples of 8, at least 64"),
        ({"outer_stride": (36, 32)}, "64x64 every 36x32 .* stride must be a multiple of 8.* crops in multiples of 16"),
        ({"outer_stride": (72, 32)}, "leave gaps"),
        ({"detail_crop": (16, 32)}, "detail windows of 16x32"),
        ({"detail_stride": (0, 16)}, "detail windows of 32x32 every 0x16"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    change: dict[str, tuple[int, int]], reason: str, small_network: BuildNetwork
) -> None:
    with pytest.raises(ValueError, match=reason):
        check_sizes(small_network("mit, light")[1], SIZE, NESTED.model_copy(update=change))
