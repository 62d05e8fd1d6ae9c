"""The training forward, its losses, gradients and batch-norm buffers against the authors' numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adaptation.learning.networks.hrda import HRDA, hrda_loss
from adaptation.learning.networks.windows import Box

MODES = {"bneval": 3e-5, "bntrain": 2e-4}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, tiny: HRDA) -> str:
    tiny.train(request.param == "bntrain")
    return request.param


def test_logits_and_buffers(mode: str, tiny: HRDA, reference: Callable, images: Callable) -> None:
    arrays = reference(f"train_{mode}_128_box24_40")
    logits = tiny.forward_train(images(arrays), Box(*arrays["hr_crop_box_y1y2x1x2"].tolist()))
    for ours, name in (
        (logits.fused_NKHW, "fused_os4"),
        (logits.context_NKHW, "lr_returned"),
        (logits.detail_NKHW, "hr_logits"),
    ):
        torch.testing.assert_close(ours.detach(), torch.from_numpy(arrays[name]), atol=MODES[mode], rtol=0)
    buffers = {key.removeprefix("bn_after/"): value for key, value in arrays.items() if key.startswith("bn_after/")}
    assert bool(buffers) == (mode == "bntrain")
    state = tiny.state_dict()
    for key, value in buffers.items():
        torch.testing.assert_close(state[key], torch.from_numpy(value).view_as(state[key]), atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("context_weight", [0.0, 0.1])
def test_losses(
    mode: str,
    weighted: bool,
    context_weight: float,
    tiny: HRDA,
    reference: Callable,
    images: Callable,
    reference_folder: Path,
) -> None:
    arrays = reference(f"train_{mode}_128_box24_40")
    case = ("weight" if weighted else "noweight") + ("_lr0.1" if context_weight else "")
    losses = json.loads((reference_folder / f"train_{mode}_128_box24_40_losses.json").read_text())["losses"][case]
    logits = tiny.forward_train(images(arrays), Box(*arrays["hr_crop_box_y1y2x1x2"].tolist()))
    labels = torch.from_numpy(arrays["label"])[:, 0].long()
    weight = torch.from_numpy(arrays["seg_weight"]) if weighted else None
    loss = hrda_loss(logits, labels, weight, context_weight=context_weight)
    assert loss.total.item() == pytest.approx(losses["loss"], rel=1e-5)
    assert loss.fused.item() == pytest.approx(losses["decode.loss_seg"], rel=1e-5)
    assert loss.detail.item() == pytest.approx(losses["decode.hr.loss_seg"], rel=1e-5)
    assert (loss.context is None) == (context_weight == 0)
    if loss.context is not None:
        assert loss.context.item() == pytest.approx(losses["decode.lr.loss_seg"], rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_gradients(
    mode: str, weighted: bool, tiny: HRDA, reference: Callable, images: Callable, reference_folder: Path
) -> None:
    arrays = reference(f"train_{mode}_128_box24_40")
    norms = json.loads((reference_folder / f"train_{mode}_128_box24_40_losses.json").read_text())
    logits = tiny.forward_train(images(arrays), Box(*arrays["hr_crop_box_y1y2x1x2"].tolist()))
    labels = torch.from_numpy(arrays["label"])[:, 0].long()
    hrda_loss(logits, labels, torch.from_numpy(arrays["seg_weight"]) if weighted else None).total.backward()
    gradients = {key: parameter.grad for key, parameter in tiny.named_parameters()}
    assert set(gradients) == set(norms["grad_l2_norm_noweight_weight"])
    for key, both in norms["grad_l2_norm_noweight_weight"].items():
        assert gradients[key].norm().item() == pytest.approx(both[weighted], rel=1e-3, abs=1e-4), key
    prefix = "grad_weight/" if weighted else "grad_noweight/"
    for key, value in arrays.items():
        if key.startswith(prefix):
            theirs = torch.from_numpy(value)
            scale = theirs.abs().max().item()
            torch.testing.assert_close(
                gradients[key.removeprefix(prefix)], theirs, atol=max(2e-4 * scale, 1e-6), rtol=0
            )
