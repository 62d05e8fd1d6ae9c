"""A domain's prior: how often each class is seen at the source and here, how sure that is, and how it came about."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from adaptation.console.views.reading import WINDOW, Reading
from exchange.fleet.presence import PresenceRows
from exchange.label_space import CLASS_NAMES
from exchange.plan.estimate import WINDOW_S
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.priors import LiveEstimate, read_prior, read_priors
from exchange.plan.serving_plan import DomainPlan
from exchange.registry.releases import Manifest
from exchange.storage import StorageRoot

BINS = 36
_FEWEST_IN_A_BIN = 4


@dataclass(frozen=True)
class ClassPrior:
    train_id: int
    name: str
    source: float | None
    """Share of source frames in which the release sees the class; None where it was not measured."""
    estimated: float
    low: float
    high: float
    log_ratio: float
    """That the estimate asks for."""
    served: float
    """That the plan gives to the gateways."""


@dataclass(frozen=True)
class PriorView:
    domains: tuple[str, ...]
    domain: str
    version: int | None
    """That serves the domain; None while there is no plan."""
    prior_id: str
    frozen: bool
    since: datetime | None
    """Frames that were captured earlier do not count: the prior was reset."""
    estimated_at: datetime | None
    frames: int
    effective_frames: int
    classes: tuple[ClassPrior, ...]
    """Empty while there is no estimate."""
    times: tuple[datetime, ...]
    """Ends of equal stretches of time."""
    seen: tuple[tuple[float | None, ...], ...]
    """For each class, the share of frames that held it in each stretch; None where too few were served."""


def newest_estimated_domain(root: StorageRoot) -> str:
    """The domain whose prior was estimated last; the default where none was. Raises RecordError or StorageError."""
    estimated = [(e.estimated_at, record.domain) for record in read_priors(root) for e in record.estimates.values()]
    return max(estimated)[1] if estimated else DEFAULT


def prior_view(reading: Reading, domain: str) -> PriorView:
    """Of the default, where there is no such domain. Raises RecordError, ReleaseError or StorageError."""
    plan = reading.plan()
    domains = reading.domains(plan)
    domain = domain if domain in domains else DEFAULT
    record = read_prior(reading.root, domain)
    served = None if plan is None else plan.of(domain)
    version = None if served is None else served.serving
    estimate = None if version is None else record.estimates.get(version)
    manifest = None if version is None else reading.manifest(version)
    now = datetime.now(UTC)
    rows = reading.rows(domain, WINDOW)
    chosen = rows[rows.version_N == (version or 0)]
    return PriorView(
        domains=tuple(domains),
        domain=domain,
        version=version,
        prior_id="none" if served is None else served.prior_id,
        frozen=record.frozen,
        since=record.since,
        estimated_at=None if estimate is None else estimate.estimated_at,
        frames=0 if estimate is None else estimate.frames,
        effective_frames=0 if estimate is None else round(estimate.effective_frames),
        classes=() if estimate is None or served is None or manifest is None else _classes(estimate, served, manifest),
        times=tuple(now - WINDOW + (i + 1) * WINDOW / BINS for i in range(BINS)),
        seen=() if manifest is None else seen_over_time(chosen, manifest, now),
    )


def _classes(estimate: LiveEstimate, served: DomainPlan, manifest: Manifest) -> tuple[ClassPrior, ...]:
    in_plan = served.log_prior_ratio.get(served.serving, (0.0,) * len(CLASS_NAMES))
    return tuple(
        ClassPrior(
            train_id=k,
            name=name,
            source=None if manifest.source_presence is None else manifest.source_presence[k],
            estimated=estimate.share[k],
            low=estimate.low[k],
            high=estimate.high[k],
            log_ratio=estimate.log_ratio[k],
            served=in_plan[k],
        )
        for k, name in enumerate(CLASS_NAMES)
    )


def seen_over_time(rows: PresenceRows, manifest: Manifest, now: datetime) -> tuple[tuple[float | None, ...], ...]:
    """For each class, in each of `BINS` equal stretches that end now: the share of frames that held it."""
    place_N = ((rows.captured_s_N - (now - WINDOW).timestamp()) / WINDOW_S * BINS).astype(int)
    inside_N = (place_N >= 0) & (place_N < BINS)
    seen_NK = rows.presence_NK[inside_N] > np.array(manifest.source_pixel_frequency)
    frames_B = np.bincount(place_N[inside_N], minlength=BINS)
    held_BK = np.zeros((BINS, len(CLASS_NAMES)))
    np.add.at(held_BK, place_N[inside_N], seen_NK)
    return tuple(
        tuple(
            round(held / frames, 3) if frames >= _FEWEST_IN_A_BIN else None
            for held, frames in zip(held_B.tolist(), frames_B.tolist(), strict=True)
        )
        for held_B in held_BK.T
    )
