"""The root's serving plan as this gateway needs it: which versions, and how frames are routed by it."""

import numpy as np
from numpy.typing import NDArray

import exchange.plan.serving_plan
from exchange.label_space import NUM_CLASSES
from exchange.plan.serving_plan import NO_PRIOR_ID
from server.routing import CandidatePlan, DomainPlan


def serving_versions(plan: exchange.plan.serving_plan.ServingPlan) -> list[int]:
    """Those that answer frames but for the candidates', each once."""
    return list(dict.fromkeys(domain.serving for domain in (plan.default, *plan.domains.values())))


def named_versions(plan: exchange.plan.serving_plan.ServingPlan) -> list[int]:
    """Every version of the plan once, in the order in which they are needed."""
    domains = (plan.default, *plan.domains.values())
    previous = [domain.previous for domain in domains if domain.previous is not None]
    candidates = [domain.candidate.version for domain in domains if domain.candidate is not None]
    return list(dict.fromkeys([*serving_versions(plan), *previous, *candidates]))


def routed(plan: exchange.plan.serving_plan.DomainPlan) -> DomainPlan:
    """As frames are routed by it."""
    candidate = plan.candidate
    return DomainPlan(
        plan.serving,
        *_prior(plan, plan.serving),
        candidate=None
        if candidate is None
        else CandidatePlan(
            candidate.version, candidate.share, candidate.shadow_share, *_prior(plan, candidate.version)
        ),
    )


def _prior(plan: exchange.plan.serving_plan.DomainPlan, version: int) -> tuple[str, NDArray[np.float32]]:
    """The prior's id and ratio for a version; none where the plan has no ratio for it."""
    ratio = plan.log_prior_ratio.get(version)
    if ratio is None:
        return NO_PRIOR_ID, np.zeros(NUM_CLASSES, np.float32)
    return plan.prior_id, np.array(ratio, dtype=np.float32)
