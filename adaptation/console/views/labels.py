"""What people are asked to label, how far they are, and whether they agree; and what there is for one of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from adaptation.control.labeling.desk import LEASE_S, LabelDesk
from adaptation.control.labeling.progress import LabelProgress, TaskSummary
from exchange.plain_words import counted

MOST_SHOWN = 200
HOW_TO_ASK = "An operator has the learner choose regions: roadshift labels ask --domain NAME --clicks 200"
_LEASED_FOR = f"{LEASE_S / 60:.0f} minutes"


@dataclass(frozen=True)
class LabelsView:
    domains: tuple[LabelProgress, ...]
    """In which regions were asked for."""
    domain: str
    """Whose queue it is: the one that was asked for, or else the first; empty where there is none."""
    queue: tuple[TaskSummary, ...]
    """First those that are open, in the order in which they are asked."""
    queued: int


@dataclass(frozen=True)
class Outlook:
    """What there is for one annotator, in regions."""

    domains: tuple[str, ...]
    """In which regions were asked for, of those that are looked at."""
    regions: int
    free: int
    held: int
    """Leased to this annotator."""
    with_others: int
    """That this annotator could answer, if those who lease them did not."""
    for_others: int
    """That this annotator answered, and somebody else is to answer, too."""
    picking: int
    """Batches that the learner still chooses regions for."""
    failed: tuple[str, ...]
    """Why it could not."""

    @property
    def left(self) -> int:
        return self.free + self.held


def labels_view(desk: LabelDesk, domain: str) -> LabelsView:
    """Raises RecordError or StorageError."""
    domains = desk.domains()
    domain = domain if domain in domains else next(iter(domains), "")
    queue = desk.queue(domain) if domain else []
    ordered = sorted(queue, key=lambda task: task.state in ("labelled", "skipped"))
    return LabelsView(tuple(map(desk.progress, domains)), domain, tuple(ordered[:MOST_SHOWN]), len(queue))


def outlook(desk: LabelDesk, annotator: str, domain: str) -> Outlook:
    """Of one domain, or of all where none is named. Raises RecordError or StorageError."""
    domains = tuple(name for name in desk.domains() if domain in ("", name))
    tasks = [task for name in domains for task in desk.queue(name)]
    is_open = [task for task in tasks if task.state not in ("labelled", "skipped")]
    unanswered = [task for task in is_open if annotator not in task.answered_by]
    others = [task for task in unanswered if annotator not in task.leased_by]
    free = sum(len(task.answered_by) + len(task.leased_by) < task.people for task in others)
    progress = [desk.progress(name) for name in domains]
    return Outlook(
        domains=domains,
        regions=len(tasks),
        free=free,
        held=len(unanswered) - len(others),
        with_others=len(others) - free,
        for_others=len(is_open) - len(unanswered),
        picking=sum(each.picking for each in progress),
        failed=tuple(why for each in progress for why in each.failed),
    )


def still_leased(desk: LabelDesk, annotator: str, domains: Iterable[str]) -> set[str]:
    """Ids of the open regions that this annotator holds. Raises RecordError or StorageError."""
    queued = (task for name in domains for task in desk.queue(name))
    return {task.id for task in queued if task.state == "leased" and annotator in task.leased_by}


def why_none(seen: Outlook, domain: str) -> tuple[str, str]:
    """Why an annotator gets no region, and what to do."""
    if not seen.domains:
        return f"Nobody was asked for labels {f'in {domain[:64]!r}' if domain else 'yet'}.", HOW_TO_ASK
    if seen.held:
        what = f"{_regions(seen.held)} yours already, in another page or one that was closed."
        return what, f"Go on there, or wait here: after {_LEASED_FOR} without an answer they are given out again."
    if seen.with_others:
        do = f"What they do not answer within {_LEASED_FOR} comes here."
        return f"{_regions(seen.with_others)} out with others.", do
    if seen.picking:
        return "The learner is choosing regions.", "They come here by themselves, as soon as it has them."
    if seen.for_others:
        return f"{_regions(seen.for_others)} for somebody else, too.", "You have answered all that you can: thank you."
    if seen.regions:
        return f"Everything is answered: {counted(seen.regions, 'region')}.", f"Thank you. For more: {HOW_TO_ASK}"
    if seen.failed:
        return f"The learner could not choose regions: {seen.failed[-1]}", HOW_TO_ASK
    return "No region is left: their vehicles were erased.", HOW_TO_ASK


def _regions(number: int) -> str:
    return f"{counted(number, 'region')} {'is' if number == 1 else 'are'}"
