"""What a round did, for programs (report.json) and for people (report.html)."""

import json
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict

from adaptation.learning.export.adaptation_record import AdaptationRecord
from adaptation.learning.rounds.budget import Budget
from adaptation.learning.rounds.evaluation import Evaluation
from adaptation.learning.rounds.learning import HISTORY_FILE
from adaptation.learning.rounds.prior import PriorRecord
from adaptation.learning.rounds.report_page import report_page
from adaptation.learning.rounds.report_pictures import read_pictures
from adaptation.learning.rounds.steps import ROUND_FILE
from exchange.registry.releases import MANIFEST_NAME, file_sha256

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


class ReleaseLink(BaseModel):
    """Where the round's release lies, and what proves that it is this one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: str
    """Path from the report's folder."""
    manifest_sha256: str


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    round: dict[str, Any]
    """Recipe, start, data, seed and budget as they were asked for."""
    network: AdaptationRecord
    prior: PriorRecord
    budget: Budget
    histories: dict[str, list[dict[str, float]]]
    """By training: iterations, and the means of each stretch that ends there."""
    evaluation: Evaluation
    release: ReleaseLink | None
    """None where the round was asked to build none."""
    threads: int
    torch_version: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / REPORT_FILE).read_text())


def write_report(folder: Path, out: Path) -> None:
    """Gathers what the steps left in `out` and writes report.json and report.html."""
    asked = json.loads((out / ROUND_FILE).read_text())
    trainings = {
        "rectification": "rectifying the head",
        "self_training": "self-training",
        "label_training": "learning the pseudo-labels",
        "distillation": "teaching the small network",
    }
    report = Report(
        round=asked | {"recipe": json.loads(asked["recipe"])},
        network=AdaptationRecord.read(out / "network"),
        prior=PriorRecord.read(out / "prior"),
        budget=Budget.read(out / "budget"),
        histories={
            title: json.loads((out / name / HISTORY_FILE).read_text())
            for name, title in trainings.items()
            if (out / name).exists()
        },
        evaluation=Evaluation.read(out / "evaluation"),
        release=_link(out / "release" / MANIFEST_NAME),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=2) + "\n")
    pictures = read_pictures(out / "snapshot", out / "prior" / "labels", out / "evaluation" / "labels")
    page = report_page(
        report.network,
        report.prior,
        report.budget,
        report.histories,
        report.evaluation,
        report.release.manifest if report.release else None,
        pictures,
    )
    (folder / PAGE_FILE).write_text(page)


def _link(manifest: Path) -> ReleaseLink | None:
    if not manifest.exists():
        return None
    return ReleaseLink(manifest=f"../{manifest.parent.name}/{manifest.name}", manifest_sha256=file_sha256(manifest))
