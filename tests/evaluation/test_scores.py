"""Scores against cityscapesscripts on the same files, the authors' reference numbers, and by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cli
from adaptation.learning.data.labelled_frames import read_labels
from adaptation.learning.data.layouts import list_frames
from adaptation.learning.evaluation.scores import Scores, count_confusion, score
from adaptation.learning.evaluation.table import scores_table
from adaptation.learning.networks.checkpoints import save_network
from adaptation.learning.networks.hrda import build_network
from exchange.label_space import CITYSCAPES_ID_TO_TRAIN_ID, CLASS_NAMES
from exchange.networks import NetworkConfig

REFERENCE = """
import json, sys
from pathlib import Path
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

root = Path(sys.argv[1])
truth = sorted(str(path) for path in (root / "gtFine").rglob("*_labelIds.png"))
predicted = [str(root / "predicted" / Path(path).name) for path in truth]
official.args.quiet = True
official.args.evalInstLevelScore = False
official.args.JSONOutput = False
scores = official.evaluateImgLists(predicted, truth, official.args)
print(json.dumps(scores))
"""


def write_frames(root: Path) -> None:
    """Three frames of Cityscapes label ids and predictions that agree with them in about half of the pixels."""
    rng = np.random.default_rng(0)
    scored_ids = np.array(list(CITYSCAPES_ID_TO_TRAIN_ID))[:17]  # two classes occur nowhere in the truth
    folder = root / "gtFine" / "val" / "lindau"
    images = root / "leftImg8bit" / "val" / "lindau"
    for path in (folder, images, root / "predicted"):
        path.mkdir(parents=True)
    for index in range(3):
        truth = rng.choice(np.append(scored_ids, [0, 5, 29]), size=(40, 60)).astype(np.uint8)
        guess = rng.choice(scored_ids[:16], size=truth.shape)
        seen = np.where(rng.random(truth.shape) < 0.5, truth, guess)
        predicted = np.where(np.isin(seen, scored_ids), seen, guess).astype(np.uint8)
        name = f"lindau_00000{index}_000019"
        Image.fromarray(truth).save(folder / f"{name}_gtFine_labelIds.png")
        Image.fromarray(predicted).save(root / "predicted" / f"{name}_gtFine_labelIds.png")
        Image.fromarray(np.zeros((40, 60, 3), dtype=np.uint8)).save(images / f"{name}_leftImg8bit.png")


def test_the_same_files_score_as_by_cityscapesscripts(tmp_path: Path) -> None:
    write_frames(tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", REFERENCE, str(tmp_path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    expected = json.loads(answer.stdout.splitlines()[-1])
    frames = list_frames(tmp_path, split="val")
    id_of = {train_id: label_id for label_id, train_id in CITYSCAPES_ID_TO_TRAIN_ID.items()}
    confusion = np.zeros((19, 19), dtype=np.int64)
    for frame in frames:
        predicted_ids = np.asarray(Image.open(tmp_path / "predicted" / frame.labels.name))
        predicted = np.vectorize({label_id: k for k, label_id in id_of.items()}.__getitem__)(predicted_ids)
        confusion += count_confusion(read_labels(frame), predicted.astype(np.uint8))
    scores = score(confusion, "19", len(frames))
    assert scores.mean_iou == pytest.approx(expected["averageScoreClasses"], abs=1e-6)
    for name in CLASS_NAMES:
        official = expected["classScores"][name]
        if scores.iou[name] is None:
            assert np.isnan(official)
        else:
            assert scores.iou[name] == pytest.approx(official, abs=1e-6)
    assert [name for name in CLASS_NAMES if scores.iou[name] is None] == ["motorcycle", "bicycle"]


def test_ignored_truth_counts_nowhere() -> None:
    truth = np.array([[0, 0, 1, 255]], dtype=np.uint8)
    predicted = np.array([[0, 1, 1, 7]], dtype=np.uint8)
    scores = score(count_confusion(truth, predicted), "19", 1)
    assert scores.iou["road"] == 0.5
    assert scores.iou["sidewalk"] == 0.5
    assert scores.iou["traffic sign"] is None
    assert scores.mean_iou == 0.5
    assert scores.true_pixels["road"] == 2
    assert scores.pixel_accuracy == pytest.approx(2 / 3)


def test_a_subset_averages_its_classes_and_counts_what_others_took() -> None:
    # terrain (9) is not among the 16: where it is taken for vegetation (8), vegetation loses.
    truth = np.array([[8, 8, 9, 9]], dtype=np.uint8)
    predicted = np.array([[8, 9, 9, 8]], dtype=np.uint8)
    confusion = count_confusion(truth, predicted)
    assert score(confusion, "16", 1).iou["vegetation"] == pytest.approx(1 / 3)
    assert "terrain" not in score(confusion, "16", 1).iou
    assert score(confusion, "16", 1).mean_iou == pytest.approx(1 / 3)
    assert len(score(confusion, "13", 1).iou) == 13


def test_camvid_merges_classes() -> None:
    truth = np.array([[2, 18, 13, 8]], dtype=np.uint8)
    predicted = np.array([[3, 17, 15, 9]], dtype=np.uint8)  # wall, motorcycle, bus, terrain
    scores = score(count_confusion(truth, predicted), "camvid11", 1)
    assert {name for name, iou in scores.iou.items() if iou == 1.0} == {"building", "bicyclist", "car", "tree"}
    assert scores.mean_iou == 1.0


@pytest.mark.parametrize("classes", ["19", "16", "13", "camvid11"])
def test_without_a_labelled_pixel_there_is_no_score(classes: str) -> None:
    void = count_confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    scores = score(void, classes, 1)
    assert scores.mean_iou is None
    assert scores.pixel_accuracy is None
    assert set(scores.iou.values()) == {None}
    written = json.loads(scores.model_dump_json())
    assert written["mean_iou"] is None
    assert written["pixel_accuracy"] is None
    assert Scores.model_validate(written) == scores
    footer = [column.footer for column in scores_table(scores).columns]
    assert footer == ["mean", "-", "0"]


def test_labels_of_other_classes_alone_are_no_score_either() -> None:
    terrain = count_confusion(np.array([9, 9], np.uint8), np.array([8, 9], np.uint8))
    assert score(terrain, "19", 1).mean_iou == 0.25
    for classes in ("16", "13"):
        scores = score(terrain, classes, 1)
        assert scores.mean_iou is None
        assert scores.iou["vegetation"] is None


@pytest.mark.parametrize(("label_id", "classes", "code"), [(0, "19", 1), (22, "13", 1), (22, "19", 0), (7, "13", 0)])
def test_the_command_does_not_score_nothing(label_id: int, classes: str, code: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(encoder="efficientnet_lite0", head="light", dims={"channels": 24})
    save_network(tmp_path / "network", config, build_network(config).state_dict())
    images, labels = (tmp_path / folder / "test" / "berlin" for folder in ("leftImg8bit", "gtFine"))
    for folder in (images, labels):
        folder.mkdir(parents=True)
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(images / "a_leftImg8bit.png")
    Image.fromarray(np.full((64, 128), label_id, np.uint8)).save(labels / "a_gtFine_labelIds.png")
    json_file = tmp_path / "scores.json"
    words = ["evaluate", str(tmp_path / "network"), "--data", str(tmp_path), "--split", "test", "--classes", classes]
    words += ["--frame-size", "64x128", "--json", str(json_file)]
    result = CliRunner().invoke(cli.app_for(words), words)
    assert result.exit_code == code, result.output
    written = json.loads(json_file.read_text())
    assert (written["mean_iou"] is None) == (written["pixel_accuracy"] is None) == bool(code)
    told = f"has no labelled pixel of the {classes} classes in 1 frame"
    assert (told in result.output) == bool(code)
    assert ("mean" in result.output) != bool(code)


def test_what_is_no_train_id_is_refused() -> None:
    with pytest.raises(ValueError, match="train ids 0 to 18"):
        count_confusion(np.array([0], dtype=np.uint8), np.array([255], dtype=np.uint8))
    with pytest.raises(ValueError, match="differ"):
        count_confusion(np.zeros((2, 2), dtype=np.uint8), np.zeros((2, 3), dtype=np.uint8))
