"""Changes of the serving plan: each gives a plan that makes sense, or a refusal that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.plan.lease import Lease
from exchange.plan.plan_changes import (
    PlanRefused,
    apply_change,
    candidate_dropped,
    follows_default,
    named_versions,
    promoted,
    rolled_back,
    served_with,
    with_candidate,
)
from exchange.plan.serving_plan import Candidate, DomainPlan, PlanContent, read_plan
from exchange.registry import mark_collected, publish
from exchange.storage import StorageRoot
from tests.clocks import LONG_S
from tests.releases import make_release

RATIO = (0.5,) * 19
FIRST = PlanContent(DomainPlan(serving=1), {})
DUSK = DomainPlan(serving=1, prior_id="dusk-7", log_prior_ratio={1: RATIO})
ON_TRIAL = with_candidate(FIRST, 2, domain=None, share=0.1, shadow_share=0.5)


def test_a_release_comes_by_candidate_promotion_and_goes_by_rollback() -> None:
    assert served_with(None, 1, domain=None) == FIRST
    assert ON_TRIAL.default.candidate == Candidate(version=2, share=0.1, shadow_share=0.5)
    more = with_candidate(ON_TRIAL, 2, domain=None, share=0.5, shadow_share=0)
    assert more.default.candidate == Candidate(version=2, share=0.5)
    served = promoted(more, 2, domain=None)
    assert served.default == DomainPlan(serving=2, previous=1)
    assert rolled_back(served, domain=None).default == DomainPlan(serving=1, previous=2)
    assert candidate_dropped(more, domain=None) == FIRST


def test_a_domain_listed_for_its_prior_follows_the_default_and_keeps_the_prior() -> None:
    listed = PlanContent(DomainPlan(serving=1), {"sim-dusk": DUSK})
    served = promoted(with_candidate(listed, 2, domain=None, share=0.1, shadow_share=0), 2, domain="default")
    assert served.domains["sim-dusk"] == DUSK.model_copy(update={"serving": 2, "previous": 1})
    assert follows_default(served, "sim-dusk")
    assert rolled_back(served, domain=None).domains["sim-dusk"] == DUSK.model_copy(update={"previous": 2})


def test_a_domain_with_its_own_version_keeps_it() -> None:
    own = promoted(FIRST, 2, domain="sim-dusk")
    assert (own.default.serving, own.domains["sim-dusk"]) == (1, DomainPlan(serving=2, previous=1))
    later = promoted(own, 3, domain=None)
    assert (later.default.serving, later.domains["sim-dusk"].serving) == (3, 2)
    assert not follows_default(later, "sim-dusk")
    assert served_with(later, 1, domain="sim-dusk").domains["sim-dusk"] == DomainPlan(serving=1, previous=2)


def test_a_domain_that_tries_a_candidate_of_its_own_goes_its_own_way() -> None:
    trying = with_candidate(FIRST, 2, domain="sim-dusk", share=0.1, shadow_share=0)
    assert promoted(trying, 3, domain=None).domains == trying.domains


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: promoted(FIRST, 1, domain=None), "release 1 is served in the default already"),
        (lambda: rolled_back(FIRST, domain="sim-fog"), "domain sim-fog has no previous release: roadshift reset"),
        (lambda: rolled_back(None, domain=None), "there is no plan yet: roadshift release promote"),
        (lambda: candidate_dropped(FIRST, domain=None), "there is no candidate in the default"),
        (
            lambda: with_candidate(FIRST, 1, domain=None, share=0, shadow_share=0),
            "release 1 is served in the default already",
        ),
        (
            lambda: with_candidate(ON_TRIAL, 3, domain=None, share=0, shadow_share=0),
            "release 2 is the candidate in the default: promote or drop it first",
        ),
        (lambda: served_with(None, 1, domain="sim-fog"), "the first release is for all domains, not domain sim-fog"),
        (
            lambda: promoted(PlanContent(FIRST.default, {f"d{n}": DUSK for n in range(64)}), 2, domain="one-more"),
            "64 domains already",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(change: Callable[[], PlanContent], message: str) -> None:
    with pytest.raises(PlanRefused, match=message):
        change()


STEPS = {
    "candidate": lambda content, version, domain: with_candidate(
        content, version, domain=domain, share=0.1, shadow_share=0
    ),
    "drop": lambda content, _, domain: candidate_dropped(content, domain=domain),
    "promote": lambda content, version, domain: promoted(content, version, domain=domain),
    "roll back": lambda content, _, domain: rolled_back(content, domain=domain),
    "reset": lambda content, version, domain: served_with(content, version, domain=domain),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(list(STEPS)), st.integers(1, 4), st.sampled_from([None, "dusk", "fog"])), max_size=30
    )
)
def test_no_sequence_of_changes_leads_to_a_senseless_plan(steps: list[tuple[str, int, str | None]]) -> None:
    content = FIRST
    for name, version, domain in steps:
        try:
            content = STEPS[name](content, version, domain)
        except PlanRefused:
            continue
        for plan in (content.default, *content.domains.values()):
            assert plan.previous != plan.serving
            assert plan.candidate is None or plan.candidate.version != plan.serving
    assert named_versions(content) <= {1, 2, 3, 4}


def test_a_plan_names_only_releases_that_are_there(root: StorageRoot, tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    lease = Lease.acquire(root, "learner", lasts_s=LONG_S)
    with pytest.raises(PlanRefused, match="has no release 1"):
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
    assert read_plan(root) is None
    for _ in range(2):
        publish(root, release, by="learner", origin="added")
    apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
    mark_collected(root, 2, "gc")
    with pytest.raises(PlanRefused, match="release 2 was collected on"):
        apply_change(root, lease, lambda content: promoted(content, 2, domain="sim-dusk"))
    stored = read_plan(root)
    assert stored is not None
    assert (stored.plan.revision, named_versions(stored.plan)) == (1, {1})
