"""The release that a round builds: its lineage, the prior that it follows, and what starts from it."""

import re
from pathlib import Path

import numpy as np
import pytest

from adaptation.learning.export.adaptation_record import AdaptationRecord
from adaptation.learning.export.release import SourceStatistics
from adaptation.learning.rounds.report import Report
from adaptation.learning.rounds.run import adapt
from exchange.registry.releases import file_sha256, read_manifest, verify_release
from tests.rounds import small_round as small

CONFIG = small.CONFIG.model_copy(update={"rectified_share": 1.0, "self_training": None, "budget": 1})


@pytest.fixture(scope="module")
def finished(plain_start: Path, day: Path, dusk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round that was asked for no release, asked for one later, killed while it built that, and asked again."""
    out = tmp_path_factory.mktemp("released") / "out"
    report = adapt(small.small_round(plain_start, day, dusk, out, CONFIG), small.ignore)
    assert Report.read(report).release is None
    assert "No release was built" in (report / "report.html").read_text()
    left_by_a_kill = out / ".release.partial" / "engine"
    left_by_a_kill.mkdir(parents=True)
    (left_by_a_kill / "model.xml").touch()
    adapt(small.small_round(plain_start, day, dusk, out, CONFIG, export=True), small.ignore)
    assert not list(out.rglob("*.partial"))
    return out


def test_the_release_tells_where_it_comes_from(plain_start: Path, finished: Path) -> None:
    record = AdaptationRecord.read(finished / "network")
    manifest = verify_release(finished / "release")
    assert manifest.output_prior == record.output_prior
    assert manifest.output_prior_is == "the target's prior, applied once"
    assert manifest.source_pixel_frequency == record.source_pixel_frequency
    assert manifest.frame_size == (64, 96)
    assert (manifest.recipe, manifest.seed) == ("small", 3)
    assert manifest.parent_sha256 == file_sha256(plain_start / "weights.safetensors")
    assert manifest.snapshot_digest == file_sha256(finished / "snapshot" / "snapshot.json")
    assert manifest.round_digest == file_sha256(finished / "round.json")
    scores = Report.read(finished / "report").evaluation.scores_after
    assert scores is not None
    assert manifest.evaluation["mean_iou"] == scores.mean_iou


def test_the_report_links_to_the_release(finished: Path) -> None:
    link = Report.read(finished / "report").release
    assert link is not None
    assert link.manifest_sha256 == file_sha256(finished / "report" / link.manifest)
    page = (finished / "report" / "report.html").read_text()
    assert re.findall(r"""(?:src|href)="(?!data:)([^"]*)""", page) == ["../release/manifest.json"]


@pytest.mark.parametrize("start", ["release", "network"])
def test_a_rectified_start_does_not_have_its_prior_applied_again(
    start: str, day: Path, dusk: Path, finished: Path, tmp_path: Path
) -> None:
    """The second round rectifies from the source's prior anew, not from the target's that the first one reached."""
    source = np.array(Report.read(finished / "report").prior.output_prior_before)
    report = Report.read(adapt(small.small_round(finished / start, day, dusk, tmp_path / "out", CONFIG), small.ignore))
    moved = source * np.exp(report.prior.log_ratio)
    assert report.network.output_prior == pytest.approx(moved / moved.sum())


def test_a_start_that_follows_the_source_hands_its_prior_on(
    day: Path, dusk: Path, finished: Path, tmp_path: Path
) -> None:
    record = AdaptationRecord.read(finished / "network")
    follows_source = record.model_copy(update={"output_prior_is": "the source's prior"})
    start = tmp_path / "start"
    start.mkdir()
    for name in ("network.json", "weights.safetensors"):
        (start / name).write_bytes((finished / "network" / name).read_bytes())
    (start / "adaptation.json").write_text(follows_source.model_dump_json())
    report = Report.read(adapt(small.small_round(start, day, dusk, tmp_path / "out", CONFIG), small.ignore))
    assert report.prior.output_prior_before == pytest.approx(record.output_prior)


def test_an_adapted_network_tells_any_export_the_same(finished: Path) -> None:
    statistics, manifest = SourceStatistics.of_training(finished / "network"), read_manifest(finished / "release")
    assert statistics.output_prior == manifest.output_prior
    assert statistics.output_prior_is == manifest.output_prior_is
    assert statistics.parent_sha256 == manifest.parent_sha256
    assert statistics.recipe == manifest.recipe
