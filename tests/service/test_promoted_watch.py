"""After a promotion: what fails, is slow or has collapsed is rolled back, once, by whichever learner there is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adaptation.control.releases.deciding import Order, promote, roll_back
from adaptation.control.rollout.promoted_watch import PromotedWatch
from adaptation.control.settings import RolloutSettings
from exchange.fleet.gateways import Heartbeat, VersionHealth
from exchange.plan.lease import Lease, holding
from exchange.plan.plan_changes import apply_change, served_with
from exchange.plan.priors import LiveEstimate, change_prior
from exchange.plan.serving_plan import read_plan
from exchange.registry import publish
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from tests.service.learner_rig import healthy

STARTED = datetime.now(UTC)
ALL_CLASSES, TWO_CLASSES = (0.9,) * 19, (0.9,) * 2 + (0.0,) * 17


@pytest.fixture
def lease(root: StorageRoot, hollow: Path) -> Iterator[Lease]:
    """Of a root where release 1 is served, and 2 and 3 are there."""
    for _ in range(3):
        publish(root, hollow, by="test", origin="added")
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
        yield lease


class Watched:
    """A learner's watch, and one gateway's heartbeats as a test says."""

    def __init__(self, root: StorageRoot, lease: Lease, watch_s: float = 600.0) -> None:
        self._root = root
        self._versions: dict[int, VersionHealth] = {}
        self._watch = PromotedWatch(root, lease, RolloutSettings(watch_s=watch_s), lambda: [self._beat()])

    def _beat(self) -> Heartbeat:
        return Heartbeat(
            gateway="gw-a", started_at=STARTED, written_at=datetime.now(UTC), plan_revision=1, versions=self._versions,
            free_bytes=1, presence_dropped=0, capture_dropped=0, erasures_applied=0,
        )  # fmt: skip

    def served_after(self, domain: str = "sim-dusk", **health: VersionHealth) -> int:
        """The version that serves after the gateway has told this: v1=..., v2=..."""
        self._versions = {int(name[1:]): told for name, told in health.items()}
        self._watch.tick()
        stored = read_plan(self._root)
        assert stored is not None
        return stored.plan.of(domain).serving


@pytest.mark.parametrize("domain", [None, "sim-dusk"])
def test_a_release_that_fails_is_rolled_back_and_not_exchanged_again(
    root: StorageRoot, lease: Lease, domain: str | None
) -> None:
    promote(root, lease, 2, Order("somebody", domain))
    watched = Watched(root, lease)
    assert watched.served_after(v1=healthy(), v2=healthy(errors=60)) == 2  # from when it was a candidate
    assert watched.served_after(v1=healthy(), v2=healthy(requests=140, errors=62)) == 2
    assert watched.served_after(v1=healthy(), v2=healthy(requests=150, errors=70)) == 1
    last = read_audit(root)[-1]
    assert (last.who, last.what, last.version, last.domain) == ("learner", "rollback", 1, domain)
    assert last.why == "after its promotion: gateway gw-a: 10 errors in 50 frames"
    assert watched.served_after(v1=healthy(requests=300, errors=200), v2=healthy()) == 1


def test_another_learner_watches_on(root: StorageRoot, lease: Lease) -> None:
    promote(root, lease, 2, Order("somebody"))
    Watched(root, lease).served_after(v2=healthy())
    other = Watched(root, lease)
    assert other.served_after(v2=healthy()) == 2
    assert other.served_after(v2=healthy(requests=120, errors=20)) == 1


def test_what_is_no_promotion_or_too_long_ago_is_not_watched(root: StorageRoot, lease: Lease) -> None:
    promote(root, lease, 2, Order("somebody"))
    promote(root, lease, 3, Order("somebody"))
    late = Watched(root, lease, watch_s=0.0)
    late.served_after(v3=healthy())
    assert late.served_after(v3=healthy(requests=120, errors=20)) == 3
    roll_back(root, lease, Order("somebody"))
    watched = Watched(root, lease)
    watched.served_after(v2=healthy())
    assert watched.served_after(v2=healthy(requests=120, errors=20)) == 2


def test_a_much_slower_one_is_rolled_back(root: StorageRoot, lease: Lease) -> None:
    promote(root, lease, 2, Order("somebody", "sim-dusk"))
    watched = Watched(root, lease)
    watched.served_after(v1=healthy(engine_p99_s=0.1), v2=healthy(engine_p99_s=0.9))
    told = {"v1": healthy(engine_p99_s=0.1), "v2": healthy(requests=120, engine_p99_s=0.29)}
    assert watched.served_after(**told) == 2
    told["v2"] = healthy(requests=120, engine_p99_s=0.31)
    assert watched.served_after(**told) == 1
    assert "the engine's p99 is 310 ms with it, 100 ms without" in read_audit(root)[-1].why


def estimate(root: StorageRoot, version: int, share: tuple[float, ...], frames: int = 100) -> None:
    told = LiveEstimate(
        estimated_at=datetime.now(UTC), frames=frames, effective_frames=frames, resampled="drives",
        share=share, low=share, high=share, log_ratio=(0.0,) * 19,
    )  # fmt: skip
    change_prior(
        root, "sim-dusk", lambda record: record.model_copy(update={"estimates": {**record.estimates, version: told}})
    )


@pytest.mark.parametrize("domain", [None, "sim-dusk"])
def test_one_that_sees_no_classes_any_more_is_rolled_back(root: StorageRoot, lease: Lease, domain: str | None) -> None:
    estimate(root, 1, ALL_CLASSES)
    estimate(root, 2, TWO_CLASSES)  # before its promotion, as a candidate with few frames
    promote(root, lease, 2, Order("somebody", domain))
    watched = Watched(root, lease)
    assert watched.served_after(v2=healthy()) == 2
    estimate(root, 2, TWO_CLASSES, frames=31)
    assert watched.served_after(v2=healthy()) == 2
    estimate(root, 2, (0.9,) * 10 + (0.0,) * 9)
    assert watched.served_after(v2=healthy()) == 2
    estimate(root, 2, TWO_CLASSES)
    assert watched.served_after(v2=healthy()) == 1
    assert read_audit(root)[-1].why == "after its promotion: collapse in sim-dusk: 17 of 19 common classes are gone"
