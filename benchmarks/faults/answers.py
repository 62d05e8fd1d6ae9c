"""Whether each answer is one that the plan allowed when it was given, with that version's labels."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.faults.fleet import Answer
from exchange.label_space import NUM_CLASSES
from exchange.serving_plan import NO_PRIOR_ID, DomainPlan, ServingPlan
from server.segmenter import FakeSegmenter, class_shift_of

BORN_WITH = 1
"""The version that the fake has from its start; it shifts no class."""
LAG_S = 20.0
"""So long a gateway may serve a plan that another has followed: while it loads, or its storage is away."""


def wrong_answers(
    answers: Sequence[Answer], plans: Mapping[int, ServingPlan], releases: Mapping[int, Path]
) -> Iterator[str]:
    """One line for each kind of wrong answer.

    Args:
        plans: by revision; where one is missing, what it allowed is not known, and nobody is accused for it.
        releases: by version.
    """
    shifts = {version: class_shift_of(folder) for version, folder in releases.items()} | {BORN_WITH: 0}
    told: dict[str, int] = {}
    for answer in answers:
        if why := _wrong(answer, plans, shifts):
            told[why] = told.get(why, 0) + 1
    for why, count in told.items():
        yield f"{count} answers: {why}"


def _wrong(answer: Answer, plans: Mapping[int, ServingPlan], shifts: Mapping[int, int]) -> str:
    if answer.version not in shifts:
        return f"version {answer.version} was never published"
    allowed = list(_allowed(answer, plans))
    first_at = min((plan.written_at.timestamp() for plan in plans.values()), default=answer.sent_at)
    if (answer.version, answer.prior_id) == (BORN_WITH, NO_PRIOR_ID) and answer.sent_at <= first_at + LAG_S:
        allowed.append(DomainPlan(serving=BORN_WITH))  # revision 0
    if not allowed:
        if _some_are_missing(answer, plans):
            return ""
        return f"version {answer.version} with prior {answer.prior_id} in {answer.domain or 'default'}: in no plan"
    expected = {_label(answer, plan, shifts[answer.version]) for plan in allowed}
    if len(answer.labels) != 1 or not answer.labels <= expected:
        return f"version {answer.version} labelled a frame of one class {sorted(answer.labels)}, not {expected}"
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
    around = _in_force(answer, plans)
    return bool(around) and len(around) < max(around) - min(around) + 1


def _label(answer: Answer, plan: DomainPlan, class_shift: int) -> int:
    """What the fake says of a frame that is all of one class's colour."""
    logits_K = np.zeros(NUM_CLASSES)
    logits_K[answer.color_class] = FakeSegmenter.LOGIT
    if answer.version in plan.log_prior_ratio:
        logits_K += np.array(plan.log_prior_ratio[answer.version], np.float32)
    return (int(logits_K.argmax()) + class_shift) % NUM_CLASSES
