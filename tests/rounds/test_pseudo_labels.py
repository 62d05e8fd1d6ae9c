"""Pseudo-labels by class, with the target's own statistics and people's word first; what the outputs then follow."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from adaptation.learning.evaluation.evaluate import FrameLabeller, open_labeller
from adaptation.learning.export.adaptation_record import AdaptationRecord
from adaptation.learning.networks.checkpoints import load_network, save_network
from adaptation.learning.networks.hrda import build_network
from adaptation.learning.rounds.budget import Budget
from adaptation.learning.rounds.pseudo_labels import (
    PseudoLabels,
    make_pseudo_labels,
    measure_statistics,
    pseudo_labelled,
)
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.snapshot import Snapshot, freeze
from exchange.jobs.recipes import DistillationConfig, PseudoLabelConfig, RoundConfig, cpu_quick, paper_hrda
from exchange.label_space import IGNORE_ID
from exchange.networks import NetworkConfig
from tests.rounds.small_round import CONFIG, PSEUDO_LABELS, WARMED, ignore, small_round

CPU = torch.device("cpu")


@pytest.fixture
def labeller(start: Path) -> FrameLabeller:
    return open_labeller(start, (64, 96), CPU)


@pytest.fixture
def snapshot(day: Path, dusk: Path, tmp_path: Path) -> Path:
    asked = tmp_path / "asked"
    asked.mkdir()
    labels = np.full((60, 80), IGNORE_ID, np.uint8)
    labels[5:9, 5:9] = 11
    Image.fromarray(labels).save(asked / "0006R0_f00004.png")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    freeze(folder, [], dusk, "train", asked, lambda done, total: None)
    return folder


def test_of_each_class_the_surest_share_is_kept_and_people_are_believed(
    labeller: FrameLabeller, snapshot: Path, tmp_path: Path
) -> None:
    frames = Snapshot.read(snapshot).frames
    kept = {}
    for share in (0.3, 1.0):
        out = tmp_path / f"labels-{share}"
        out.mkdir()
        config = PseudoLabelConfig(kept_share=share, sure_enough=1.0, statistics_frames=2)
        make_pseudo_labels(out, labeller, snapshot, frames, config, lambda done, total: None)
        labelled = pseudo_labelled(out, snapshot)
        kept[share] = np.stack([np.array(Image.open(frame.labels)) for frame in labelled])
    everything, surest = kept[1.0], kept[0.3]
    assert (everything[4, 5:9, 5:9] == 11).all()
    assert (surest[4, 5:9, 5:9] == 11).all()
    assert (everything != IGNORE_ID).all()
    sure = surest != IGNORE_ID
    assert (surest[sure] == everything[sure]).all()
    frequent = [k for k, pixels in enumerate(np.bincount(everything.ravel(), minlength=19)) if pixels > 500]
    assert frequent
    for k in frequent:
        assert (surest == k).sum() / (everything == k).sum() == pytest.approx(0.3, abs=0.05), k
    record = PseudoLabels.model_validate_json((tmp_path / "labels-0.3" / "pseudo_labels.json").read_text())
    assert record.kept == pytest.approx(sure.mean())


@pytest.mark.parametrize(
    "config", [PseudoLabelConfig(statistics="start"), PseudoLabelConfig(mirrored=True, scales=(1.0, 1.5))]
)
def test_views_and_statistics_are_asked_as_told(
    config: PseudoLabelConfig, labeller: FrameLabeller, snapshot: Path, tmp_path: Path
) -> None:
    """The start's statistics alone read no frame beforehand; the given network keeps its own in any case."""
    before = {name: tensor.clone() for name, tensor in labeller.network.state_dict().items()}
    frames, told = Snapshot.read(snapshot).frames, list[tuple[int, int]]()
    make_pseudo_labels(tmp_path, labeller, snapshot, frames, config, lambda done, total: told.append((done, total)))
    read = 0 if config.statistics == "start" else len(frames)
    assert told[-1] == (read + len(frames), read + len(frames))
    assert all(torch.equal(before[name], tensor) for name, tensor in labeller.network.state_dict().items())


def test_views_that_disagree_leave_a_pixel_out(labeller: FrameLabeller, snapshot: Path, tmp_path: Path) -> None:
    frames = Snapshot.read(snapshot).frames
    shown = []
    for name, settings in (
        ("plain", {}),
        ("mirrored", {"mirrored": True}),
        ("agreed", {"mirrored": True, "agreed": True}),
    ):
        out = tmp_path / name
        out.mkdir()
        config = PseudoLabelConfig(statistics="start", kept_share=1.0, sure_enough=1.0, **settings)
        make_pseudo_labels(out, labeller, snapshot, frames, config, lambda done, total: None)
        shown.append(np.stack([np.array(Image.open(frame.labels)) for frame in pseudo_labelled(out, snapshot)]))
    plain, mirrored, agreed = shown
    asked = np.zeros(plain.shape, bool)
    asked[4, 5:9, 5:9] = True
    left_out = agreed == IGNORE_ID
    assert left_out.any()
    assert not left_out[asked].any()
    assert (agreed[~left_out] == mirrored[~left_out]).all()
    assert left_out[(plain != mirrored) & ~asked].all()


def test_statistics_become_the_frames_own(snapshot: Path, tmp_path: Path) -> None:
    """One frame's: then the network in eval mode says of it what it says with the batch's own statistics."""
    config = NetworkConfig(encoder="efficientnet_lite0", head="light", detail=False)
    torch.manual_seed(1)
    save_network(tmp_path / "network", config, build_network(config).state_dict())
    labeller = open_labeller(tmp_path / "network", (64, 96), CPU)
    measure_statistics(labeller, [snapshot / Snapshot.read(snapshot).frames[0].image], lambda done: None)
    norms = [module for module in labeller.network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(not norm.training and norm.num_batches_tracked == 1 for norm in norms)
    assert all(norm.momentum is not None for norm in norms)
    assert any(float(norm.running_mean.abs().max()) > 1e-3 for norm in norms if norm.running_mean is not None)


def test_the_outputs_follow_what_was_learnt(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    adapt(small_round(start, day, dusk, out, PSEUDO_LABELS), ignore)
    record = AdaptationRecord.read(out / "network")
    assert record.output_prior_is == "both domains' prior, learnt"
    assert sum(record.output_prior) == pytest.approx(1.0)
    assert record.ships == "averaged weights"


def test_pseudo_labels_warm_up_self_training_and_the_start_keeps_its_share(
    start: Path, day: Path, dusk: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    adapt(small_round(start, day, dusk, out, WARMED), ignore)
    budget = Budget.read(out / "budget")
    assert (budget.label_iterations, budget.self_training_iterations) == (4, 8)
    places = ("label_training", "self_training/teacher", "network")
    began, warmed, taught, shipped = (
        load_network(folder).state_dict() for folder in (start, *(out / place for place in places))
    )
    for name, tensor in shipped.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (began[name] + 3 * taught[name]) / 4)
    assert all(torch.equal(began[name], tensor) for name, tensor in warmed.items() if "running" in name)
    assert not all(torch.equal(began[name], tensor) for name, tensor in warmed.items())
    record = AdaptationRecord.read(out / "network")
    assert (record.iterations, record.ships, record.output_prior_is) == (12, "teacher", "the source's prior")


@pytest.mark.parametrize("batch_norm", ["live", "put back", "frozen"])
def test_statistics_that_ship(
    batch_norm: Literal["live", "put back", "frozen"], start: Path, day: Path, dusk: Path, tmp_path: Path
) -> None:
    labels = PseudoLabelConfig(frames=5, statistics="start", batch_norm=batch_norm)
    config = PSEUDO_LABELS.model_copy(update={"pseudo_labels": labels, "budget": 2})
    adapt(small_round(start, day, dusk, tmp_path / "out", config), ignore)
    began, ended = (load_network(folder).state_dict() for folder in (start, tmp_path / "out" / "network"))
    kept = [torch.equal(began[name], tensor) for name, tensor in ended.items() if "running" in name]
    assert kept
    assert all(kept) == (batch_norm != "live")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"self_training": None}, "self-training, pseudo-labels or both"),
        ({"pseudo_labels": PseudoLabelConfig()}, "before self-training a smaller one"),
        ({"self_training": None, "pseudo_labels": PseudoLabelConfig(share=0.5)}, "alone have share 1"),
        ({"rectified_share": 0.1, "pseudo_labels": PseudoLabelConfig(share=0.5)}, "rectified_share must be 0"),
        ({"distillation": DistillationConfig(iterations=1), "interpolation": 0.5}, "interpolation must be 1"),
    ],
)
def test_recipes_that_do_not_fit_together_are_refused(settings: dict[str, object], told: str) -> None:
    content = {**dict(CONFIG), "rectified_share": 0.0, **settings}
    with pytest.raises(ValidationError, match=told):
        RoundConfig(**content)


def test_crops_are_cut_at_the_scale_of_the_frames_that_are_served() -> None:
    small = cpu_quick().for_frames((128, 256))
    assert small.crops.fit_hw == (128, 256)
    assert small.crops.crop_hw == (128, 256)
    assert small.detail_hw == (96, 128)
    assert paper_hrda().for_frames((512, 1024)) == paper_hrda()
