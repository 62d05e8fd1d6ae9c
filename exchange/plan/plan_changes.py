"""What may be done to the serving plan: pure functions from one content to the next, and the one way to write them.

A domain is listed in the plan as soon as it has a prior of its own. So a listed domain that is served like the default
(the same version, the same candidate) follows whatever is done to the default, and keeps its prior; one that has a
version of its own does not.
"""

from collections.abc import Callable, Iterator

from exchange.plan.lease import Lease
from exchange.plan.serving_plan import Candidate, DomainPlan, PlanContent, ServingPlan, change_plan
from exchange.registry import require_present
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageRoot
from exchange.storage.locations import MAX_DOMAINS

DEFAULT = "default"
"""Another name for None, wherever a domain is asked for."""


class PlanRefused(Exception):
    """A change that makes no sense for the plan as it is; the message says what to do."""


def apply_change(
    root: StorageRoot, lease: Lease, change: Callable[[PlanContent | None], PlanContent | None]
) -> ServingPlan | None:
    """Writes what `change` makes of the present plan, if every version that it newly names is there to be fetched.

    Raises:
        PlanRefused: by `change`, or because a version is unknown or collected.
        LeaseLost, RecordError, StorageError: as `change_plan`.
    """

    def checked(plan: ServingPlan | None) -> PlanContent | None:
        present = None if plan is None else PlanContent(plan.default, plan.domains)
        wanted = change(present)
        for version in sorted(named_versions(wanted) - named_versions(present)):
            try:
                require_present(root, version)
            except ReleaseError as error:
                raise PlanRefused(str(error)) from None
        return wanted

    with lease.writing:
        return change_plan(root, lease, checked)


def with_candidate(
    content: PlanContent | None, version: int, *, domain: str | None, share: float, shadow_share: float
) -> PlanContent:
    """A version on trial, or another share for the one that is."""
    content, plan = _present(content, domain)
    if plan.serving == version:
        raise PlanRefused(f"release {version} is served in {_named(domain)} already: it cannot be a candidate")
    if plan.candidate is not None and plan.candidate.version != version:
        raise PlanRefused(
            f"release {plan.candidate.version} is the candidate in {_named(domain)}: promote or drop it first"
        )
    tried = plan.candidate or Candidate(version=version)
    candidate = tried.with_values(share=share, shadow_share=shadow_share)
    return _with(content, domain, plan.serving, plan.previous, candidate)


def candidate_dropped(content: PlanContent | None, *, domain: str | None) -> PlanContent:
    content, plan = _present(content, domain)
    if plan.candidate is None:
        raise PlanRefused(f"there is no candidate in {_named(domain)}")
    return _with(content, domain, plan.serving, plan.previous, None)


def promoted(content: PlanContent | None, version: int, *, domain: str | None) -> PlanContent:
    """Serves a version, which was the candidate or not; what was served becomes the previous one."""
    if content is not None and _present(content, domain)[1].serving == version:
        raise PlanRefused(f"release {version} is served in {_named(domain)} already")
    return served_with(content, version, domain=domain)


def rolled_back(content: PlanContent | None, *, domain: str | None) -> PlanContent:
    """Serves the previous version again, and no candidate."""
    content, plan = _present(content, domain)
    if plan.previous is None:
        raise PlanRefused(f"{_named(domain)} has no previous release: roadshift reset goes back to the anchor")
    return served_with(content, plan.previous, domain=domain)


def served_with(content: PlanContent | None, version: int, *, domain: str | None) -> PlanContent:
    """The first plan, or a return to the anchor: serves a version whatever was before, and no candidate."""
    if content is None:
        if _key(domain) is not None:
            raise PlanRefused(f"there is no plan yet: the first release is for all domains, not {_named(domain)}")
        return PlanContent(DomainPlan(serving=version), {})
    content, plan = _present(content, domain)
    previous = plan.previous if plan.serving == version else plan.serving
    return _with(content, domain, version, previous, None)


def named_versions(content: PlanContent | ServingPlan | None) -> set[int]:
    """Every version that the plan serves, may go back to, or tries."""
    return set() if content is None else {version for plan in _plans(content) for version in versions_of(plan)}


def versions_of(plan: DomainPlan) -> set[int]:
    candidate = plan.candidate.version if plan.candidate else None
    return {version for version in (plan.serving, plan.previous, candidate) if version is not None}


def _plans(content: PlanContent | ServingPlan) -> Iterator[DomainPlan]:
    yield content.default
    yield from content.domains.values()


def _present(content: PlanContent | None, domain: str | None) -> tuple[PlanContent, DomainPlan]:
    """The content, and the part of it that serves the domain."""
    if content is None:
        raise PlanRefused("there is no plan yet: roadshift release promote gives the first one")
    return content, content.domains.get(_key(domain) or "", content.default)


def _with(
    content: PlanContent, domain: str | None, serving: int, previous: int | None, candidate: Candidate | None
) -> PlanContent:
    """The content with a domain served so; with None, all those that are served like the default."""
    wanted = {"serving": serving, "previous": previous, "candidate": candidate}
    key = _key(domain)
    if key is not None:
        plan = content.domains.get(key, content.default).model_copy(update=wanted)
        if len(domains := {**content.domains, key: plan}) > MAX_DOMAINS:
            raise PlanRefused(f"the plan has {MAX_DOMAINS} domains already: promote for all, without --domain")
        return PlanContent(content.default, domains)
    domains = {
        name: plan.model_copy(update=wanted) if follows_default(content, name) else plan
        for name, plan in content.domains.items()
    }
    return PlanContent(content.default.model_copy(update=wanted), domains)


def follows_default(content: PlanContent | ServingPlan, domain: str) -> bool:
    """Whether a domain is served like the default, its prior aside."""
    plan = content.domains.get(domain, content.default)
    return (plan.serving, _candidate(plan)) == (content.default.serving, _candidate(content.default))


def _candidate(plan: DomainPlan) -> int | None:
    return plan.candidate.version if plan.candidate else None


def _key(domain: str | None) -> str | None:
    return None if domain == DEFAULT else domain


def _named(domain: str | None) -> str:
    return "the default" if _key(domain) is None else f"domain {domain}"
