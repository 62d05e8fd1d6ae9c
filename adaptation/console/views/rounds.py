"""Rounds: which there were, how far one is, what it learnt and what the gate made of it."""

from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser

from adaptation.console.views.reading import Reading
from adaptation.control.rounds.captured_snapshot import captured_since
from adaptation.control.rounds.round_runner import FEWEST_FRAMES
from adaptation.control.rounds.round_state import (
    Phase,
    Progress,
    Request,
    RoundState,
    read_progress,
    read_round,
    round_key,
)
from exchange.jobs.round_files import PAGE_FILE, VERDICT_FILE
from exchange.jobs.verdict import Check, Verdict
from exchange.plain_words import counted
from exchange.storage import StorageRoot
from exchange.storage.locations import ROUNDS

MOST_SHOWN = 40
PATH = (Phase.QUEUED, Phase.SNAPSHOT, Phase.LEARNING, Phase.PUBLISHING, Phase.ROLLOUT, Phase.PROMOTED)
"""Of a round that ends well."""


@dataclass(frozen=True)
class RoundLine:
    id: str
    domain: str
    recipe: str
    phase: Phase
    created_at: datetime
    requested_by: str
    trigger: str
    reason: str
    version: int | None


@dataclass(frozen=True)
class RoundsView:
    rounds: tuple[RoundLine, ...]
    """The newest first."""
    captured: tuple[tuple[str, int], ...]
    """Domains with the frames that there are to learn from."""
    recipes: tuple[str, ...]
    """The learner's default first."""


@dataclass(frozen=True)
class Curve:
    """What a training told of itself: for each of its numbers, pairs of iteration and value."""

    step: str
    series: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


@dataclass(frozen=True)
class GateRow:
    name: str
    value: str
    limit: str
    passed: bool
    meaning: str


@dataclass(frozen=True)
class RoundDetail:
    line: RoundLine
    minutes: float | None
    force: bool
    start_version: int | None
    frames: int
    cancelled_by: str | None
    step: str
    done: int
    total: int
    note: str
    """Why it stands still, or what its candidate waits for."""
    worked_s: int
    curves: tuple[Curve, ...]
    gate: tuple[GateRow, ...]
    gate_passed: bool | None
    """None before the gate has spoken."""
    events: tuple[tuple[datetime, str], ...]
    has_report: bool


def rounds_view(reading: Reading) -> RoundsView:
    """Raises RecordError or StorageError."""
    plan, settings = reading.plan(), reading.learner.settings
    captured = {name: captured_since(reading.root, name, None) for name in reading.domains(plan)}
    others = sorted(set(settings.recipes()) - {settings.recipe})
    return RoundsView(
        rounds=tuple(map(_line, reading.book.all()[: -MOST_SHOWN - 1 : -1])),
        captured=tuple(captured.items()),
        recipes=(settings.recipe, *others),
    )


def effect_of_start(view: RoundsView, asked: Request) -> str:
    """What a round would do that is about to be asked for."""
    frames = dict(view.captured).get(asked.domain, 0)
    minutes = "as long as the recipe says" if asked.minutes is None else f"for {asked.minutes:g} minutes"
    gate = "whatever the gate says" if asked.force else "if the gate lets it pass"
    effect = (
        f"{asked.domain}: the learner's machine learns by the recipe {asked.recipe}, {minutes}, from what was kept by"
        f" chance of {frames:,} captured frames and what people labelled; what comes out is tried by the gateways"
        f" {gate}, and served if they find no fault"
    )
    if frames < FEWEST_FRAMES:
        needs = f"a round needs {FEWEST_FRAMES}, and fails unless more come first"
        effect = f"{asked.domain}: there are {frames} captured frames; {needs}"
    before = sum(not line.phase.is_final for line in view.rounds)
    return f"{effect}. It waits for {counted(before, 'round')} before it." if before else f"{effect}."


def round_detail(reading: Reading, round_id: str) -> RoundDetail:
    """Raises NoSuchRound; RecordError or StorageError."""
    root, page = reading.root, round_key(round_id, PAGE_FILE)
    state = read_round(root, round_id)
    progress = read_progress(root, round_id) or Progress(step="", done=0, total=0)
    found = root.read_if_any(round_key(round_id, VERDICT_FILE))
    verdict = None if found is None else Verdict.decode(found.data, VERDICT_FILE)
    waiting = reading.learner.rollouts.waiting(state.request.domain) if state.phase is Phase.ROLLOUT else ""
    return RoundDetail(
        line=_line(state),
        minutes=state.request.minutes,
        force=state.request.force,
        start_version=state.start_version,
        frames=state.frames,
        cancelled_by=state.cancelled_by,
        step=progress.step,
        done=progress.done,
        total=progress.total,
        note=waiting or (progress.paused if state.phase is Phase.LEARNING else ""),
        worked_s=int(progress.worked_s),
        curves=curves_of(progress),
        gate=() if verdict is None else tuple(map(gate_row, verdict.checks)),
        gate_passed=None if verdict is None else verdict.passed,
        events=tuple((event.at, event.text) for event in state.events),
        has_report=any(info.key == page for info in root.list_objects(f"{ROUNDS}/{round_id}")),
    )


def curves_of(progress: Progress) -> tuple[Curve, ...]:
    """By step, in their order; of each number those points that have it."""
    steps = list(dict.fromkeys(point.step for point in progress.curve))
    return tuple(_curve(step, progress) for step in steps)


def _curve(step: str, progress: Progress) -> Curve:
    points = [point for point in progress.curve if point.step == step]
    names = list(dict.fromkeys(name for point in points for name in point.numbers))
    return Curve(
        step,
        tuple((name, tuple((p.done, p.numbers[name]) for p in points if name in p.numbers)) for name in names),
    )


def gate_row(check: Check) -> GateRow:
    value = "not measured" if check.value is None else f"{check.value:.4g}"
    return GateRow(check.name, value, f"{check.bound} {check.threshold:.4g}", check.passed, check.explanation)


@dataclass(frozen=True)
class ReportPictures:
    """One frame of a round's report, as data URLs by what they show: frame, before, after, perhaps truth."""

    name: str
    shown: tuple[tuple[str, str], ...]

    def __getitem__(self, what: str) -> str | None:
        return dict(self.shown).get(what)


def read_page(root: StorageRoot, round_id: str) -> bytes | None:
    """A round's report for people; None before there is one, or where an erasure took it. Raises StorageError."""
    found = root.read_if_any(round_key(round_id, PAGE_FILE))
    return None if found is None else found.data


def pictures_of(page: bytes) -> tuple[ReportPictures, ...]:
    """The frames of a report with their labels before and after."""
    finder = _PictureFinder()
    finder.feed(page.decode())
    return tuple(ReportPictures(name, tuple(shown)) for name, shown in finder.rows)


class _PictureFinder(HTMLParser):
    """Rows of figures as `adaptation.learning.rounds.report_page` writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, list[tuple[str, str]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "div" and found.get("class") == "frames":
            self.rows.append((found.get("title", ""), []))
        elif tag == "img" and self.rows and found.get("src", "").startswith("data:image/"):
            self.rows[-1][1].append((found.get("alt", ""), found["src"]))


def _line(state: RoundState) -> RoundLine:
    return RoundLine(
        id=state.id,
        domain=state.request.domain,
        recipe=state.request.recipe,
        phase=state.phase,
        created_at=state.created_at,
        requested_by=state.requested_by,
        trigger=state.request.trigger,
        reason=state.reason,
        version=state.version,
    )
