"""A dozen runs of the fault benchmark, some at once: real processes, each run broken in another way."""

from pathlib import Path

import pytest

from benchmarks.faults.__main__ import run_all
from benchmarks.faults.fault_plans import FAILPOINTS, STAGES, draw

AT_ONCE = 6
FAULTS = {
    3: "failpoint: gc.after-file",
    8: "kill: learner",
    11: "kill: worker",
    12: "kill: gateway",
    22: "failpoint: reset.after-audit",
    25: "failpoint: spool.after-shard",
    32: "truncated: gateway's spool",
    35: "full disk: gateway",
    42: "truncated: gateway's release",
    55: "failpoint: rollout.audited-promote",
    60: "failpoint: publish.after-file:3",
    78: "storage: away",
}
"""By seed: of each kind, on a disk."""


def test_the_same_seed_is_the_same_fault_and_all_come_up() -> None:
    plans = [draw(seed, ("disk", "s3")) for seed in range(200)]
    assert plans == [draw(seed, ("disk", "s3")) for seed in range(200)]
    assert {plan.what for plan in plans if plan.kind == "failpoint"} == set(FAILPOINTS)
    assert {plan.at for plan in plans} == set(STAGES)


@pytest.mark.timeout(600)
def test_nothing_is_lost(tmp_path: Path) -> None:
    plans = [draw(seed, ("disk",)) for seed in FAULTS]
    outcomes = {outcome.plan.seed: outcome for outcome in run_all(plans, tmp_path, AT_ONCE)}
    assert {seed: outcome.plan.fault for seed, outcome in outcomes.items()} == FAULTS
    broken = {seed: outcome.violations for seed, outcome in outcomes.items() if outcome.violations}
    assert not broken
    assert all(outcome.struck for outcome in outcomes.values())
