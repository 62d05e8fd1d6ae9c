"""Regions asked on disk within their budgets, answered by the oracle, and taken up by a round."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import cli
from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.labelled_frames import DataError, read_labels
from adaptation.learning.evaluation.evaluate import FrameLabeller, open_labeller
from adaptation.learning.methods.ripu import regions_per_round
from adaptation.learning.rounds.region_requests import RegionBudget, RegionRequests, answer_from_truth, request_regions
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.snapshot import Snapshot, list_target, read_asked
from exchange.images.labels import decode_index_png
from exchange.label_space import IGNORE_ID
from tests.rounds import small_round as small


@pytest.fixture(scope="module")
def labeller(start: Path) -> FrameLabeller:
    torch.set_num_threads(1)
    return open_labeller(start, (64, 96), torch.device("cpu"))


def ask(
    out: Path, labeller: FrameLabeller, target: Path, budget: RegionBudget, labelled: Path | None = None
) -> RegionRequests:
    images = [image for image, _, _ in list_target(target, "train")]
    requests = request_regions(out, labeller, "0" * 64, images, budget, labelled, lambda *_: None)
    assert RegionRequests.read(out) == requests
    return requests


def masks(folder: Path) -> list[NDArray[np.uint8]]:
    return [decode_index_png(path.read_bytes()) for path in sorted(folder.glob("*.png"))]


def truths(target: Path) -> list[NDArray[np.uint8]]:
    (choice,) = choose_data([target], "train")
    return [read_labels(frame) for frame in choice.frames()]


def test_a_share_is_asked_in_regions_whose_every_pixel_is_answered(
    labeller: FrameLabeller, dusk: Path, tmp_path: Path
) -> None:
    requests = ask(tmp_path, labeller, dusk, RegionBudget(pixel_share=0.05))
    count = regions_per_round(60, 80, 0.05, 1, 1)
    answers = masks(answer_from_truth(tmp_path, [frame for _, _, frame in list_target(dusk, "train") if frame], None))
    for frame, request, answer, truth in zip(
        requests.frames, masks(tmp_path / "requests"), answers, truths(dusk), strict=True
    ):
        asked = request != IGNORE_ID
        assert frame.regions == count
        assert 0.8 * 0.05 * truth.size < asked.sum() == frame.asked_pixels <= 9 * count
        np.testing.assert_array_equal(answer, np.where(asked, truth, IGNORE_ID))


def test_a_click_names_a_superpixel(labeller: FrameLabeller, dusk: Path, tmp_path: Path) -> None:
    requests = ask(tmp_path, labeller, dusk, RegionBudget(clicks=12))
    answers = masks(answer_from_truth(tmp_path, [frame for _, _, frame in list_target(dusk, "train") if frame], None))
    for frame, request, answer, truth in zip(
        requests.frames, masks(tmp_path / "requests"), answers, truths(dusk), strict=True
    ):
        assert frame.regions == len(frame.superpixels) == 12
        np.testing.assert_array_equal(answer != IGNORE_ID, request != IGNORE_ID)
        for region in frame.superpixels:
            inside = np.s_[region.top : region.bottom, region.left : region.right]
            assert np.unique(request[inside][region.segment_hw]).tolist() == [region.predicted]
            (given,) = np.unique(answer[inside][region.segment_hw])
            assert given == np.bincount(truth[inside][region.segment_hw]).argmax()


def test_what_was_labelled_before_is_kept_and_not_asked_again(
    labeller: FrameLabeller, dusk: Path, tmp_path: Path
) -> None:
    truth = [frame for _, _, frame in list_target(dusk, "train") if frame]
    budget = RegionBudget(pixel_share=0.05)
    ask(tmp_path / "1", labeller, dusk, budget)
    first = answer_from_truth(tmp_path / "1", truth, None)
    ask(tmp_path / "2", labeller, dusk, budget, first)
    both = answer_from_truth(tmp_path / "2", truth, first)
    for before, request, after in zip(masks(first), masks(tmp_path / "2" / "requests"), masks(both), strict=True):
        labelled, asked = before != IGNORE_ID, request != IGNORE_ID
        assert not (labelled & asked).any()
        np.testing.assert_array_equal(after != IGNORE_ID, labelled | asked)


def test_random_places_are_the_same_for_a_seed_alone(labeller: FrameLabeller, dusk: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ask(tmp_path / name, labeller, dusk, RegionBudget(pixel_share=0.05, random_seed=seed))
    a, b, c = (np.stack(masks(tmp_path / name / "requests")) for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[0] != IGNORE_ID, a[1] != IGNORE_ID)


def test_a_budget_is_one_of_two() -> None:
    for settings in ({}, {"pixel_share": 0.022, "clicks": 50}):
        with pytest.raises(ValueError, match="one of the two"):
            RegionBudget.model_validate(settings)


def test_the_command_asks_and_a_round_learns_the_answers(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    arguments = ["select-regions", str(start), "--target", str(dusk), "--out", str(tmp_path / "asked")]
    arguments += ["--percent", "2.2", "--frame-size", "64x96", "--oracle"]
    result = CliRunner().invoke(cli.app_for(arguments), arguments)
    assert result.exit_code == 0, result.output
    assert "regions of 6 frames" in result.output
    answers = tmp_path / "asked" / "labels"
    config = small.CONFIG.model_copy(update={"budget": 2})
    adapt(replace(small.small_round(start, day, dusk, tmp_path / "out", config), asked=answers), small.ignore)
    snapshot = tmp_path / "out" / "snapshot"
    for frame, answer in zip(Snapshot.read(snapshot).frames, masks(answers), strict=True):
        np.testing.assert_array_equal(read_asked(snapshot, frame), answer)


@pytest.mark.parametrize("twin", ["b/frame.png", "a/frame.jpg", "a/FRAME.png"])
def test_requests_that_would_overwrite_each_other_are_refused(
    twin: str, labeller: FrameLabeller, tmp_path: Path
) -> None:
    images = [tmp_path / "target" / "a" / "frame.png", tmp_path / "target" / twin]
    for image in images:
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60)).save(image)
    with pytest.raises(DataError, match="would share one request") as refusal:
        ask(tmp_path / "out", labeller, tmp_path / "target", RegionBudget(clicks=5))
    assert all(str(image) in str(refusal.value) for image in images)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cafe\u0301.png", "is not spelt like"),
        ("caf\u00e9.webp", "is not read: labels are read from files that end in"),
    ],
)
def test_earlier_labels_that_would_be_passed_over_are_refused(
    name: str, message: str, labeller: FrameLabeller, tmp_path: Path
) -> None:
    for file in (tmp_path / "target" / "caf\u00e9.png", tmp_path / "earlier" / name):
        file.parent.mkdir()
        Image.new("RGB", (80, 60)).save(file)
    with pytest.raises(DataError, match=f"{tmp_path / 'earlier' / name} {message}"):
        ask(tmp_path / "out", labeller, tmp_path / "target", RegionBudget(clicks=5), tmp_path / "earlier")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of the two"),
        (["--clicks", "5", "--percent", "2"], "one of the two"),
        (["--clicks", "5", "--target", "frames", "--oracle"], "holds no labels to answer from"),
        (["--clicks", "5", "--out", "frames"], "exists: requests are not mixed"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], message: str, start: Path, dusk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "frames" / "a.png")
    arguments = ["select-regions", str(start), "--frame-size", "64x96", "--target", str(dusk), "--out", "out", *options]
    result = CliRunner().invoke(cli.app_for(arguments), arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
