"""Which version and which prior a frame's domain is served with, and which frames are a candidate's."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES
from exchange.plan.serving_plan import NO_PRIOR_ID
from server.errors import InvalidRequest

DEFAULT_DOMAIN = "default"
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def _no_adjustment() -> NDArray[np.float32]:
    return np.zeros(NUM_CLASSES, dtype=np.float32)


@dataclass(frozen=True)
class CandidatePlan:
    """A version on trial in one domain. It need not be ready: its frames are then the serving version's."""

    version: int
    share: float
    """Of the drives are answered by it."""
    shadow_share: float = 0.0
    """Of the frames that the serving version answered are also labelled by it, for comparison alone."""
    prior_id: str = NO_PRIOR_ID
    log_prior_ratio_K: NDArray[np.float32] = field(default_factory=_no_adjustment)

    def answers(self, vehicle: str, drive: str) -> bool:
        """Whether this drive is among its share: the same everywhere, and still so when the share grows."""
        named = f"{self.version}\0{vehicle}\0{drive}".encode()
        place = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())
        return place < self.share * 2**64


@dataclass(frozen=True)
class DomainPlan:
    """What one domain is served with."""

    serving: int
    prior_id: str = NO_PRIOR_ID
    log_prior_ratio_K: NDArray[np.float32] = field(default_factory=_no_adjustment)
    candidate: CandidatePlan | None = None


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

    def of(self, domain: str) -> DomainPlan:
        return self.domains.get(domain, self.default)

    @property
    def plans(self) -> tuple[DomainPlan, ...]:
        return self.default, *self.domains.values()

    @property
    def serving_versions(self) -> frozenset[int]:
        return frozenset(plan.serving for plan in self.plans)


@dataclass(frozen=True)
class Route:
    """One frame's way: the domain it counts as, the version and the prior."""

    domain: str
    version: int
    prior_id: str
    log_prior_ratio_K: NDArray[np.float32]
    instead: "Route | None" = None
    """The serving version's way, where this one is a candidate's, which may fail."""

    def with_prior(self, prior_id: str, log_prior_ratio_K: NDArray[np.float32]) -> "Route":
        """The same way with another prior, whoever answers in the end."""
        instead = None if self.instead is None else self.instead.with_prior(prior_id, log_prior_ratio_K)
        return replace(self, prior_id=prior_id, log_prior_ratio_K=log_prior_ratio_K, instead=instead)


class Router:
    """Applies the current plan; `plan` may be replaced between any two frames."""

    def __init__(self, plan: ServingPlan) -> None:
        self.plan = plan

    def route(self, domain: str, vehicle: str = "", drive: str = "") -> Route:
        """Where a frame of this domain goes; an empty or unlisted domain goes where `default` does.

        Raises:
            InvalidRequest: not a domain name.
        """
        name = check_domain(domain or DEFAULT_DOMAIN)
        listed = self.plan.domains.get(name)
        plan = listed or self.plan.default
        counted_as = name if listed else DEFAULT_DOMAIN
        serving = Route(counted_as, plan.serving, plan.prior_id, plan.log_prior_ratio_K)
        candidate = plan.candidate
        if candidate is None or not candidate.answers(vehicle, drive):
            return serving
        return Route(counted_as, candidate.version, candidate.prior_id, candidate.log_prior_ratio_K, serving)


def check_domain(name: str) -> str:
    """Returns the name.

    Raises:
        InvalidRequest: not a domain name.
    """
    if not _DOMAIN.fullmatch(name):
        raise InvalidRequest(
            f"domain {name[:64]!r} is not a domain name: send lower-case letters, digits and '-', at most 63, "
            "starting with a letter or digit, such as 'zurich-night'"
        )
    return name
