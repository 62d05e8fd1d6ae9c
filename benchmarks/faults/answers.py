"""Whether each answer is one that the plan allowed when it was given, with that version's labels."""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.fleet import Answer
from benchmarks.faults.gray_engine import logits_of
from benchmarks.faults.small_parts import shift_of
from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from exchange.plan.serving_plan import NO_PRIOR_ID, DomainPlan, ServingPlan
from server.fake_marks import mark_of
from server.segmenter import FakeSegmenter

BORN_WITH = 1
"""The version of a gateway's own release, before there is a plan; that of the fake bears no mark."""
LabelsOf = Callable[[int, int, NDArray[np.float32]], set[frozenset[int]]]
"""Each answer's labels that may be, by version, class of the frame's colour, and log prior ratio."""
_SAME_LOGIT = 1e-3
LAG_S = 20.0
"""So long a gateway may serve a plan that another has followed: while it loads, or its storage is away."""


def wrong_answers(
    answers: Sequence[Answer], plans: Mapping[int, ServingPlan], versions: Collection[int], labels_of: LabelsOf
) -> Iterator[str]:
    """One line for each kind of wrong answer.

    Args:
        plans: by revision; where one is missing, what it allowed is not known, and nobody is accused for it.
        versions: that were ever published, and `BORN_WITH`.
    """
    told: dict[str, int] = {}
    for answer in answers:
        if why := _wrong(answer, plans, versions, labels_of):
            told[why] = told.get(why, 0) + 1
    for why, count in told.items():
        yield f"{count} answers: {why}"


def _wrong(answer: Answer, plans: Mapping[int, ServingPlan], versions: Collection[int], labels_of: LabelsOf) -> str:
    if answer.version not in versions:
        return f"version {answer.version} was never published"
    allowed = list(_allowed(answer, plans))
    first_at = min((plan.written_at.timestamp() for plan in plans.values()), default=answer.sent_at)
    if (answer.version, answer.prior_id) == (BORN_WITH, NO_PRIOR_ID) and answer.sent_at <= first_at + LAG_S:
        allowed.append(DomainPlan(serving=BORN_WITH))  # revision 0
    if not allowed:
        if _some_are_missing(answer, plans):
            return ""
        of = f"version {answer.version} with prior {answer.prior_id} in {answer.domain or 'default'}"
        return f"{of}: in no plan then, of the revisions {sorted(plans)}"
    ratios = (plan.log_prior_ratio.get(answer.version, (0.0,) * NUM_CLASSES) for plan in allowed)
    expected = {
        labels
        for ratio in ratios
        for labels in labels_of(answer.version, answer.color_class, np.array(ratio, np.float32))
    }
    if answer.labels not in expected:
        either = " or ".join(sorted(str(sorted(labels)) for labels in expected))
        return f"version {answer.version} labelled a frame of one colour {sorted(answer.labels)}, not {either}"
    return ""


def _allowed(answer: Answer, plans: Mapping[int, ServingPlan]) -> Iterator[DomainPlan]:
    """What some plan in force said of the answer's domain that agrees with its version and prior."""
    for revision in _in_force(answer, plans):
        plan = plans[revision].of(answer.domain or "default")
        tried = plan.candidate is not None and plan.candidate.share > 0 and plan.candidate.version == answer.version
        prior_id = plan.prior_id if answer.version in plan.log_prior_ratio else NO_PRIOR_ID
        if (tried or plan.serving == answer.version) and prior_id == answer.prior_id:
            yield plan


def _in_force(answer: Answer, plans: Mapping[int, ServingPlan]) -> list[int]:
    revisions = sorted(plans)
    followed_at = {revision: plans[later].written_at.timestamp() for revision, later in itertools.pairwise(revisions)}
    return [
        revision
        for revision in revisions
        if plans[revision].written_at.timestamp() <= answer.ended_at
        and followed_at.get(revision, answer.sent_at) + LAG_S >= answer.sent_at
    ]


def _some_are_missing(answer: Answer, plans: Mapping[int, ServingPlan]) -> bool:
    """Whether a plan that nobody saw may have been in force: it was written between its neighbours."""
    written_at = {0: 0.0} | {revision: plan.written_at.timestamp() for revision, plan in plans.items()}
    return any(
        later > earlier + 1 and written_at[earlier] <= answer.ended_at and answer.sent_at <= written_at[later] + LAG_S
        for earlier, later in itertools.pairwise(sorted(written_at))
    )


def fake_labels(releases: Mapping[int, Path]) -> LabelsOf:
    """What the fake says of a frame that is all of one class's colour."""
    marks = {version: mark_of(folder) for version, folder in releases.items()} | {BORN_WITH: 0}

    def labels(version: int, color_class: int, ratio_K: NDArray[np.float32]) -> set[frozenset[int]]:
        logits_K = FakeSegmenter.LOGIT * np.eye(NUM_CLASSES)[color_class] + ratio_K
        label = int(logits_K.argmax())
        return {frozenset({label, (label + marks[version]) % NUM_CLASSES})}

    return labels


def gray_labels(releases: Mapping[int, Path]) -> LabelsOf:
    """What `gray_engine` says of it; either of two labels where float32 cannot tell."""
    shifts = {version: shift_of(folder) for version, folder in releases.items()}

    def labels(version: int, color_class: int, ratio_K: NDArray[np.float32]) -> set[frozenset[int]]:
        logits_K = logits_of(PALETTE_RGB[color_class], shifts[version]) + ratio_K
        return {frozenset({label}) for label in np.flatnonzero(logits_K >= logits_K.max() - _SAME_LOGIT).tolist()}

    return labels
