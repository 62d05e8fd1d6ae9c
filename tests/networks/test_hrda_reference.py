"""Inference against the authors' numbers: whole mode, nested windows, and every map between."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.windows import Box, average_windows, nested_windows, window_boxes
from exchange.networks import WindowConfig

Arrays = Mapping[str, np.ndarray]
SLIDES = {
    "slide_128x256_c128_s64_hr64": WindowConfig(
        outer_crop=(128, 128), outer_stride=(64, 64), detail_crop=(64, 64), detail_stride=(32, 32)
    ),
    "slide_120x250_c96_s48_hr48_ori130x271": WindowConfig(
        outer_crop=(96, 96), outer_stride=(48, 48), detail_crop=(48, 48), detail_stride=(24, 24)
    ),
}


def assert_agrees(ours: Tensor, theirs: np.ndarray) -> None:
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=3e-5, rtol=0)


def logits_of(network: HRDA, images_N3HW: Tensor) -> tuple[list[Tensor], Tensor]:
    features = network.backbone(images_N3HW)
    head = network.decode_head.head
    return features, head.classify(head.embed(features))


@torch.no_grad()
def test_whole_mode_and_every_map_between(tiny: HRDA, reference: Callable, images: Callable) -> None:
    arrays: Arrays = reference("whole_128x256_hr64")
    frame = images(arrays)
    context_features, context_logits = logits_of(tiny, torch.nn.functional.avg_pool2d(frame, 2))
    boxes = window_boxes((128, 256), (64, 64), (32, 32))
    assert [list(box) for box in boxes] == arrays["hr_boxes_y1y2x1x2_px"].tolist()
    detail_features, detail_logits = logits_of(tiny, torch.cat([box.crop(frame) for box in boxes]))
    for level in range(4):
        assert_agrees(context_features[level], arrays[f"lr_feat{level}"])
        assert_agrees(detail_features[level][arrays["kept_windows"]], arrays[f"hr_feat{level}"])
    attention_logits = tiny.decode_head.scale_attention(context_features)
    assert_agrees(context_logits, arrays["lr_logits"])
    assert_agrees(detail_logits, arrays["hr_win_logits"])
    assert_agrees(attention_logits, arrays["att_logits"])
    assert_agrees(attention_logits.sigmoid(), arrays["att_sigmoid"])
    assert_agrees((1 - attention_logits.sigmoid()) * context_logits, arrays["lr_returned"])
    merged = average_windows(detail_logits.chunk(len(boxes)), [box.divided(4) for box in boxes])
    assert_agrees(merged, arrays["hr_merged"])
    assert_agrees(tiny.fused(frame, (64, 64), (32, 32)).logits_NKHW, arrays["fused_os4"])
    assert_agrees(tiny.forward_whole(frame, (64, 64), (32, 32))[..., ::3, ::3], arrays["logits"])


@pytest.mark.parametrize("name", SLIDES)
@torch.no_grad()
def test_each_outer_window(name: str, tiny: HRDA, reference: Callable, images: Callable) -> None:
    arrays: Arrays = reference(name)
    frame, windows = images(arrays), SLIDES[name]
    nested = nested_windows(tuple(frame.shape[-2:]), *windows.model_dump().values())
    assert [list(box) for box in nested.outer] == arrays["outer_boxes_y1y2x1x2"].tolist()
    inner = window_boxes(windows.outer_crop, windows.detail_crop, windows.detail_stride)
    assert [list(box) for box in inner] == arrays["inner_boxes_px"].tolist()
    outer = torch.cat([box.crop(frame) for box in nested.outer])
    fused = tiny.fused(outer, windows.detail_crop, windows.detail_stride).logits_NKHW
    assert_agrees(fused, arrays["window_fused_os4"])
    _, detail_logits = logits_of(tiny, torch.cat([box.crop(outer) for box in inner]))
    merged = average_windows(detail_logits.chunk(len(inner)), [box.divided(4) for box in inner])
    assert_agrees(merged, arrays["window_hr_merged_os4"])


@pytest.mark.parametrize("name", SLIDES)
@pytest.mark.parametrize(
    "how", [{"share_windows": False}, {}, {"window_batch": 4}], ids=["as_released", "shared", "shared_in_batches"]
)
@torch.no_grad()
def test_frame(name: str, how: dict, tiny: HRDA, reference: Callable, images: Callable) -> None:
    arrays: Arrays = reference(name)
    logits = tiny.forward_frame(images(arrays), SLIDES[name], **how)
    assert_agrees(logits[..., ::3, ::3], arrays["logits"])
    probabilities = resized(logits, arrays["pred"].shape).softmax(1)
    if "prob" in arrays:
        assert_agrees(probabilities[..., ::3, ::3], arrays["prob"])
    labels = probabilities.argmax(1)[0]
    assert np.mean(labels.numpy() != arrays["pred"]) < 1e-4  # a tie may fall the other way


@torch.no_grad()
def test_a_batch_of_frames_is_read_like_each_alone(tiny: HRDA, reference: Callable, images: Callable) -> None:
    frame = images(reference("slide_128x256_c128_s64_hr64"))
    windows = SLIDES["slide_128x256_c128_s64_hr64"]
    both = tiny.forward_frame(torch.cat([frame, frame.flip(3)]), windows)
    assert_agrees(both[:1], tiny.forward_frame(frame, windows).numpy())
    assert_agrees(both[1:], tiny.forward_frame(frame.flip(3), windows).numpy())


@torch.no_grad()
def test_embedding_is_fused_like_the_logits(tiny: HRDA, reference: Callable, images: Callable) -> None:
    """With one attention for all classes, classifying the fused embedding gives the fused logits."""
    attention = tiny.decode_head.scale_attention.conv_seg
    attention.weight.copy_(attention.weight[:1].expand_as(attention.weight).clone())
    attention.bias.zero_()
    fused = tiny.fused(images(reference("whole_128x256_hr64")), (64, 64), (32, 32), with_embedding=True)
    without_bias = fused.logits_NKHW - tiny.decode_head.head.conv_seg.bias[:, None, None]
    classified = tiny.decode_head.head.classify(fused.embedding_NDHW)
    inside = Box(2, 30, 2, 62).crop
    torch.testing.assert_close(
        inside(classified - tiny.decode_head.head.conv_seg.bias[:, None, None]), inside(without_bias), atol=1e-3, rtol=0
    )
