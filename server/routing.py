"""Which version and which prior a frame's domain is served with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES
from server.errors import InvalidRequest

DEFAULT_DOMAIN = "default"
NO_PRIOR_ID = "none"
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class DomainPlan:
    """What one domain is served with."""

    serving: int
    prior_id: str = NO_PRIOR_ID
    log_prior_ratio_K: NDArray[np.float32] = field(default_factory=lambda: np.zeros(NUM_CLASSES, dtype=np.float32))


@dataclass(frozen=True)
class ServingPlan:
    """What every domain is served with; a domain that is not listed gets `default`."""

    revision: int
    default: DomainPlan
    domains: Mapping[str, DomainPlan] = field(default_factory=dict)

    @classmethod
    def single_release(cls, version: int, domains: tuple[str, ...] = ()) -> "ServingPlan":
        """Revision 0: one release and no adjustment for everyone; `domains` are listed to be counted apart."""
        plan = DomainPlan(serving=version)
        return cls(revision=0, default=plan, domains={check_domain(name): plan for name in domains})

    @property
    def serving_versions(self) -> frozenset[int]:
        return frozenset(plan.serving for plan in (self.default, *self.domains.values()))


@dataclass(frozen=True)
class Route:
    """One frame's way: the domain it counts as, the version and the prior."""

    domain: str
    version: int
    prior_id: str
    log_prior_ratio_K: NDArray[np.float32]


class Router:
    """Applies the current plan; `plan` may be replaced between any two frames."""

    def __init__(self, plan: ServingPlan) -> None:
        self.plan = plan

    def route(self, domain: str) -> Route:
        """Where a frame of this domain goes; an empty or unlisted domain goes where `default` does.

        Raises:
            InvalidRequest: not a domain name.
        """
        name = check_domain(domain or DEFAULT_DOMAIN)
        listed = self.plan.domains.get(name)
        plan = listed or self.plan.default
        return Route(name if listed else DEFAULT_DOMAIN, plan.serving, plan.prior_id, plan.log_prior_ratio_K)


def check_domain(name: str) -> str:
    """Returns the name.

    Raises:
        InvalidRequest: not a domain name.
    """
    if not _DOMAIN.fullmatch(name):
        raise InvalidRequest(
            f"domain {name[:80]!r} is not a domain name: send lower-case letters, digits and '-', at most 63, "
            "starting with a letter or digit, such as 'zurich-night'"
        )
    return name
