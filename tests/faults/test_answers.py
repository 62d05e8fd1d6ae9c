"""Who is accused of a wrong answer, and who is not, where some plans were not seen."""

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.faults.answers import LAG_S, wrong_answers
from benchmarks.faults.fleet import Answer
from exchange.plan.serving_plan import NO_PRIOR_ID, DomainPlan, ServingPlan

START = datetime(2026, 1, 1, tzinfo=UTC)


def _plan(revision: int, serving: int, after_s: float) -> ServingPlan:
    return ServingPlan(
        revision=revision,
        written_at=START + timedelta(seconds=after_s),
        lease_epoch=1,
        default=DomainPlan(serving=serving),
        domains={},
    )


def _answer(version: int, after_s: float) -> Answer:
    at = START.timestamp() + after_s
    return Answer(at, at + 0.1, "", version, NO_PRIOR_ID, 3, frozenset({3}))


def _accused(answer: Answer, *plans: ServingPlan) -> bool:
    labels_of = lambda version, color_class, ratio_K: {frozenset({color_class})}  # noqa: E731
    return bool(list(wrong_answers([answer], {plan.revision: plan for plan in plans}, {1, 2, 3}, labels_of)))


SEEN = (_plan(1, 1, 0), _plan(2, 2, 100), _plan(5, 1, 200))


@pytest.mark.parametrize(
    ("version", "after_s", "accused"),
    [
        (1, 50, False),  # as revision 1 says
        (2, 50, True),  # before revision 2 was written
        (1, 100 + LAG_S - 1, False),  # the gateway may not have followed yet
        (1, 100 + LAG_S - 1e-3, False),
        (3, 150, False),  # after revision 2 others were written that nobody saw
        (3, 99, True),  # before them
        (3, 200 + LAG_S - 1, False),
        (3, 200 + LAG_S + 1, True),  # all gateways follow revision 5 by then
        (2, 300, True),
    ],
)
def test_an_answer_is_accused_where_every_plan_that_it_may_have_followed_was_seen(
    version: int, after_s: float, *, accused: bool
) -> None:
    assert _accused(_answer(version, after_s), *SEEN) is accused


def test_the_labels_must_be_the_versions() -> None:
    answer = _answer(1, 50)
    wrong = Answer(answer.sent_at, answer.ended_at, "", 1, NO_PRIOR_ID, 3, frozenset({4}))
    assert _accused(wrong, *SEEN)
