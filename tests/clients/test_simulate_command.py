"""`roadshift simulate`: the Cityscapes layout on disk, and what it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import cli
from clients.simulation.city import SimulatedDrive
from clients.simulation.city.cityscapes_writer import drive_seeds
from exchange.label_space import CITYSCAPES_ID_TO_TRAIN_ID, lookup_table


def simulate(out: Path, *options: str, domain: str = "sim-fog") -> Result:
    arguments = ["simulate", "--domain", domain, "--out", str(out), "--size", "64x128", *options]
    return CliRunner().invoke(cli.app_for(arguments), arguments, env={"COLUMNS": "300"})


def test_it_writes_frames_and_both_kinds_of_labels(tmp_path: Path) -> None:
    result = simulate(tmp_path, "--frames", "5", "--drives", "2", "--split", "val", "--seed", "3")
    assert result.exit_code == 0, result.output
    stems = ["simfog_000000_000000", "simfog_000000_000001", "simfog_000001_000000", "simfog_000001_000001",
             "simfog_000001_000002"]  # fmt: skip
    images = tmp_path / "leftImg8bit" / "val" / "simfog"
    labels = tmp_path / "gtFine" / "val" / "simfog"
    assert sorted(path.name for path in images.iterdir()) == [f"{stem}_leftImg8bit.png" for stem in stems]
    assert len(list(labels.iterdir())) == 2 * len(stems)

    drive = SimulatedDrive("sim-fog", drive_seeds(3, "val", 2)[1], (64, 128), frames_per_s=1.0)
    frame = drive.frame(2)
    written = cv2.imread(str(images / f"{stems[-1]}_leftImg8bit.png"))[..., ::-1]
    np.testing.assert_array_equal(written, frame.image_HW3)
    train_ids = cv2.imread(str(labels / f"{stems[-1]}_gtFine_labelTrainIds.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(train_ids, frame.labels_HW)
    label_ids = cv2.imread(str(labels / f"{stems[-1]}_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(lookup_table(CITYSCAPES_ID_TO_TRAIN_ID, range(35))[label_ids], frame.labels_HW)


def test_splits_and_seeds_share_no_drive() -> None:
    sets = [drive_seeds(seed, split, 10_000) for seed in (0, 1, 99_999) for split in ("train", "val")]
    assert len({seed for seeds in sets for seed in seeds}) == sum(map(len, sets))


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    result = simulate(tmp_path / "afile", "--frames", "1")
    assert result.exit_code == 2
    assert "afile" in result.output
    assert "name a folder that can be written" in result.output


@pytest.mark.parametrize(
    ("options", "domain", "message"),
    [
        (("--frames", "2"), "sim-snow", "unknown domain 'sim-snow'"),
        (("--frames", "2", "--size", "64by128"), "sim-fog", "give rows x columns"),
        (("--frames", "2", "--size", "100x128"), "sim-fog", "multiples of 8"),
        (("--frames", "2", "--drives", "3"), "sim-fog", "2 frames cannot come from 3 drives"),
    ],
)
def test_it_refuses_and_writes_nothing(tmp_path: Path, options: tuple[str, ...], domain: str, message: str) -> None:
    result = simulate(tmp_path, *options, domain=domain)
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_it_never_mixes_two_sets(tmp_path: Path) -> None:
    assert simulate(tmp_path, "--frames", "1").exit_code == 0
    again = simulate(tmp_path, "--frames", "1")
    assert again.exit_code == 2
    assert "already holds files" in again.output
