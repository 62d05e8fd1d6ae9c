"""What people are asked to label, how far they are, and whether they agree."""

from dataclasses import dataclass

from adaptation.annotation.desk import LabelDesk
from adaptation.annotation.progress import LabelProgress, TaskSummary

MOST_SHOWN = 200


@dataclass(frozen=True)
class LabelsView:
    domains: tuple[LabelProgress, ...]
    """In which regions were asked for."""
    queue: tuple[TaskSummary, ...]
    """Of the chosen domain: first those that are open, in the order in which they are asked."""
    queued: int


def labels_view(desk: LabelDesk, domain: str | None) -> LabelsView:
    """Raises RecordError or StorageError."""
    domains = desk.domains()
    queue = desk.queue(domain) if domain in domains else []
    ordered = sorted(queue, key=lambda task: task.state in ("labelled", "skipped"))
    return LabelsView(tuple(map(desk.progress, domains)), tuple(ordered[:MOST_SHOWN]), len(queue))
