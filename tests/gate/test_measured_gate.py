"""The gate over networks that were really trained: by day, for dusk, and badly."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import TargetFrame, measure
from adaptation.learning.gate.measurements import GateMeasurements
from cli import app_for
from exchange.jobs.limits import GateLimits
from exchange.registry.releases import MANIFEST_NAME, read_manifest
from tests.gate.conftest import DUSK_HELD_OUT, Releases

pytestmark = pytest.mark.timeout(900)
"""Six networks are trained and exported: half a minute on a free core, more on a busy machine."""

LIMITS = GateLimits(latency_ratio=10.0)
"""These frames take a millisecond, and other work on the machine as much."""


@pytest.fixture(scope="module")
def truth(target: list[TargetFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    for frame, (_, labels) in zip(target, DUSK_HELD_OUT, strict=True):
        cv2.imwrite(str(folder / f"{frame.image.stem}.png"), labels)
    return folder


def measured(
    name: str, release_of: Releases, source: DataChoice, target: list[TargetFrame], truth: Path
) -> GateMeasurements:
    return measure(release_of(name), release_of("incumbent"), [source], target, sentinel=truth, threads=1)


def refused_by(measurements: GateMeasurements) -> set[str]:
    """Without looking at the truth."""
    verdict = judge(measurements.model_copy(update={"sentinel": None}), LIMITS)
    assert verdict.passed == (not verdict.reasons())
    return {check.name for check in verdict.checks if not check.passed}


def target_gain(measurements: GateMeasurements) -> float:
    assert measurements.sentinel is not None
    return measurements.sentinel.mean_iou("candidate") - measurements.sentinel.mean_iou("incumbent")


def source_lost(measurements: GateMeasurements) -> float:
    assert measurements.sources is not None
    return measurements.sources[0].mean_iou("incumbent") - measurements.sources[0].mean_iou("candidate")


def test_a_real_improvement_is_accepted(
    release_of: Releases, source: DataChoice, target: list[TargetFrame], truth: Path
) -> None:
    found = measured("improved", release_of, source, target, truth)
    assert target_gain(found) > 0.02
    assert refused_by(found) == set()
    assert judge(found, LIMITS).passed
    assert GateMeasurements.decode(found.encode(), "measured") == found


def test_the_trap_is_refused_by_what_was_seen_at_dusk_alone(
    release_of: Releases, source: DataChoice, target: list[TargetFrame], truth: Path
) -> None:
    """The source hardly tells: the day's score moves by a few points, that of dusk by tens."""
    found = measured("talked out of the sky", release_of, source, target, truth)
    assert target_gain(found) < -0.15
    assert source_lost(found) < 0.06
    assert refused_by(found) >= {"estimated accuracy lost", "sure pixels kept", "worst sure class kept"}


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("shuffled", "source mIoU lost, day"),
        ("few classes", "worst source class kept, day"),
        ("forgetful", "source mIoU lost, day"),
        ("broken engine", "engine parity"),
    ],
)
def test_what_is_broken_is_refused(
    name: str, check: str, release_of: Releases, source: DataChoice, target: list[TargetFrame], truth: Path
) -> None:
    assert check in refused_by(measured(name, release_of, source, target, truth))


def test_a_damaged_release_is_refused_with_its_reason(
    release_of: Releases, source: DataChoice, target: list[TargetFrame], tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(release_of("improved"), tmp_path / "damaged"))
    (damaged / "engine" / "model.bin").write_bytes(b"")
    verdict = judge(measure(damaged, release_of("incumbent"), [source], target, threads=1), LIMITS)
    assert not verdict.passed
    assert "model.bin differs from its manifest" in verdict.reasons()[0]


def test_an_anchor_judges_and_releases_without_calibration_get_one(
    release_of: Releases, source: DataChoice, target: list[TargetFrame], tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(release_of("incumbent"), tmp_path / "bare"))
    manifest = read_manifest(bare)
    assert manifest.atc_threshold is not None
    (bare / MANIFEST_NAME).write_text(manifest.model_copy(update={"atc_threshold": None}).model_dump_json())
    found = measure(
        release_of("improved"),
        bare,
        [source],
        target,
        anchor=release_of("incumbent"),
        source_frames=8,
        target_frames=34,
        threads=1,
    )
    assert found.target is not None
    assert found.target.judge == "the anchor"
    with_threshold = measure(release_of("improved"), release_of("incumbent"), [source], target, threads=1)
    assert with_threshold.target is not None
    assert found.target.incumbent_atc == pytest.approx(with_threshold.target.incumbent_atc, abs=0.1)


def test_few_frames_give_no_prior_and_no_promotion(
    release_of: Releases, source: DataChoice, target: list[TargetFrame]
) -> None:
    found = measure(release_of("improved"), release_of("incumbent"), [source], target[:8], threads=1)
    assert found.target is not None
    assert found.target.presence is None
    assert refused_by(found) == {"worst class below the prior"}


def test_the_command_refuses_by_its_exit_status(release_of: Releases, source: DataChoice, dusk_folder: Path) -> None:
    words = ["gate", str(release_of("few classes")), "--incumbent", str(release_of("incumbent"))]
    words += ["--source", str(source.folder), "--target", str(dusk_folder / "images"), "--json"]
    result = CliRunner().invoke(app_for(words), words)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["verdict"]["passed"] is False
    assert np.isfinite(told["measurements"]["target"]["candidate_atc"])
