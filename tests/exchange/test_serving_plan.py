"""The serving plan and its lease: one writer, revisions in a row, and nothing written by whoever lost the lease."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from exchange.plan.lease import Lease, LeaseHeld, LeaseLapsed, LeaseLost, holding
from exchange.plan.serving_plan import Candidate, DomainPlan, PlanContent, ServingPlan, change_plan, read_plan
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import LEASE, SERVING_PLAN
from exchange.storage.records import RecordError
from tests.clocks import LONG_S

RATIO = tuple(0.1 * k for k in range(19))


def serve(version: int, **domains: DomainPlan) -> Callable[[ServingPlan | None], PlanContent]:
    listed = {name.replace("_", "-"): plan for name, plan in domains.items()}
    return lambda _: PlanContent(DomainPlan(serving=version), listed)


def test_a_plan_reads_back_as_it_was_written(root: StorageRoot) -> None:
    assert read_plan(root) is None
    dusk = DomainPlan(
        serving=2, previous=1, candidate=Candidate(version=3, share=0.1), prior_id="p7", log_prior_ratio={2: RATIO}
    )
    with holding(root, "learner") as lease:
        first = change_plan(root, lease, serve(1, sim_dusk=dusk))
        assert change_plan(root, lease, serve(1, sim_dusk=dusk)) == first
        second = change_plan(root, lease, serve(2, sim_dusk=dusk))
    stored = read_plan(root)
    assert stored is not None
    assert first is not None
    assert stored.plan == second
    assert (first.revision, stored.plan.revision, stored.plan.lease_epoch) == (1, 2, 1)
    assert stored.plan.of("sim-dusk").log_prior_ratio[2] == RATIO
    assert stored.plan.of("elsewhere").serving == 2


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b'{"format": 2}',
        b'{"format": 1, "revision": 1, "written_at": "2026-01-01T00:00:00Z", "lease_epoch": 1, "domains": {}}',
    ],
)
def test_a_plan_that_is_not_understood_is_refused_whole(root: StorageRoot, damaged: bytes) -> None:
    root.write(SERVING_PLAN, damaged)
    with pytest.raises(RecordError, match=r"serving_plan\.json is no ServingPlan that this version knows"):
        read_plan(root)


@pytest.mark.parametrize(
    "wrong",
    [
        {"serving": 0},
        {"serving": 1, "log_prior_ratio": {1: RATIO[:18]}},
        {"serving": 1, "log_prior_ratio": {1: (*RATIO[:18], float("nan"))}},
        {"serving": 1, "log_prior_ratio": {1: (*RATIO[:18], 21.0)}},
        {"serving": 1, "candidate": {"version": 2, "share": 1.5}},
    ],
)
def test_a_domain_plan_without_sense_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DomainPlan.model_validate(wrong)


def test_a_renewed_lease_is_not_taken(root: StorageRoot) -> None:
    with (
        holding(root, "first learner", lasts_s=2.0),
        pytest.raises(LeaseHeld, match=r"first learner holds .*/lease\.json: stop it first"),
    ):
        Lease.acquire(root, "second learner", lasts_s=2.0)


def test_a_released_lease_is_taken_at_once(root: StorageRoot) -> None:
    with holding(root, "first", lasts_s=600.0) as first:
        assert first.epoch == 1
    assert Lease.acquire(root, "second", lasts_s=600.0).epoch == 2


def test_the_lease_of_a_killed_holder_runs_out(root_url: str, root: StorageRoot) -> None:
    code = (
        "import time\n"
        "from exchange.plan.lease import holding\n"
        "from exchange.storage import open_root\n"
        f"with holding(open_root({root_url!r}), 'first', lasts_s=1.0):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    started = time.monotonic()
    second = Lease.acquire(root, "second", lasts_s=1.0)
    assert second.epoch == 2
    assert time.monotonic() - started >= 1.0


def test_who_lost_the_lease_writes_no_more(root: StorageRoot) -> None:
    first = Lease.acquire(root, "first", lasts_s=LONG_S)
    change_plan(root, first, serve(1))
    second = Lease.acquire(root, "second", seize=True, lasts_s=LONG_S)
    change_plan(root, second, serve(2))
    with pytest.raises(LeaseLost, match="epoch 2 writes the serving plan, not 1"):
        change_plan(root, first, serve(3))
    with pytest.raises(LeaseLost, match="somebody else took the lease"):
        first.renew()
    with pytest.raises(LeaseLost):
        first.check()
    second.renew()
    stored = read_plan(root)
    assert stored is not None
    assert stored.plan.default.serving == 2


def test_a_lease_that_could_not_be_renewed_stops_its_holder_until_it_is(root: StorageRoot) -> None:
    lease = Lease.acquire(root, "first", lasts_s=0.5)
    time.sleep(0.5)
    with pytest.raises(LeaseLapsed):
        change_plan(root, lease, serve(1))
    assert read_plan(root) is None
    lease.renew()
    change_plan(root, lease, serve(1))


def test_a_lapsed_lease_that_was_taken_and_given_back_is_lost(root: StorageRoot) -> None:
    first = Lease.acquire(root, "first", lasts_s=0.05)
    Lease.acquire(root, "second", lasts_s=0.05).release()
    with pytest.raises(LeaseLost, match="somebody else took the lease"):
        first.renew()


def test_a_renewal_that_nobody_confirmed_is_the_holders_own(root: StorageRoot) -> None:
    lease = Lease.acquire(root, "first", lasts_s=LONG_S)
    found = root.read(LEASE)
    root.replace(LEASE, found.data + b"\n", found.etag)  # as if its reply had been lost for good
    lease.renew()
    lease.check()


def test_no_two_holders_ever_have_one_epoch(root_url: str) -> None:
    def seize(number: int) -> int | None:
        try:
            return Lease.acquire(open_root(root_url, 5.0), f"{number}", seize=True).epoch
        except LeaseHeld:
            return None

    with ThreadPoolExecutor(6) as pool:
        epochs = [epoch for epoch in pool.map(seize, range(12)) if epoch is not None]
    assert sorted(epochs) == list(range(1, len(epochs) + 1))


def test_a_damaged_lease_is_named(root: StorageRoot) -> None:
    root.write(LEASE, b"held")
    with pytest.raises(RecordError, match=r"lease\.json is no LeaseRecord"):
        Lease.acquire(root, "learner")
