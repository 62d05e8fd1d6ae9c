"""Gateways take a new prior from the plan within 2 s, without a swap, and serve on whatever happens to the root."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from exchange.lease import holding
from exchange.locations import SERVING_PLAN
from exchange.serving_plan import DomainPlan, PlanContent, change_plan
from exchange.storage import StorageRoot, open_root
from server.plan_follower import PlanFollower
from server.routing import Router, ServingPlan
from server.segmenter import FakeSegmenter
from tests.gateways import eventually

RATIO = tuple(0.1 * k - 0.9 for k in range(19))
DUSK = DomainPlan(serving=1, prior_id="dusk-7", log_prior_ratio={1: RATIO})


def write_plan(root: StorageRoot, default: DomainPlan, **domains: DomainPlan) -> None:
    listed = {name.replace("_", "-"): plan for name, plan in domains.items()}
    with holding(root, "test") as lease:
        change_plan(root, lease, lambda _: PlanContent(default, listed))


@asynccontextmanager
async def following(root: StorageRoot, segmenter: FakeSegmenter | None = None) -> AsyncIterator[Router]:
    router = Router(ServingPlan.single_release(1, domains=("sim-rain",)))
    follower = PlanFollower(root, router, segmenter or FakeSegmenter())
    await follower.start()
    try:
        yield router
    finally:
        await follower.stop()


async def test_a_plan_that_is_there_holds_from_the_first_frame_on(root: StorageRoot) -> None:
    write_plan(root, DomainPlan(serving=1), sim_dusk=DUSK)
    async with following(root) as router:
        route = router.route("sim-dusk")
        assert (route.domain, route.version, route.prior_id) == ("sim-dusk", 1, "dusk-7")
        np.testing.assert_allclose(route.log_prior_ratio_K, RATIO, rtol=1e-6)
        assert not router.route("elsewhere").log_prior_ratio_K.any()
        assert router.route("sim-rain").domain == "sim-rain"  # to be counted apart, though the plan does not list it


async def test_a_new_prior_is_applied_within_two_seconds(root: StorageRoot) -> None:
    async with following(root) as router:
        assert router.plan.revision == 0
        for revision in (1, 2):
            plan = DUSK.model_copy(update={"prior_id": f"dusk-{revision}"})
            write_plan(root, DomainPlan(serving=1), sim_dusk=plan)
            written_s = time.monotonic()
            await eventually(lambda revision=revision: router.plan.revision == revision)
            assert time.monotonic() - written_s < 2.0
            assert router.route("sim-dusk").prior_id == f"dusk-{revision}"


async def test_a_ratio_for_another_version_is_not_applied(root: StorageRoot) -> None:
    write_plan(root, DUSK.model_copy(update={"log_prior_ratio": {2: RATIO}}))
    async with following(root) as router:
        route = router.route("")
        assert (route.version, route.prior_id) == (1, "none")
        assert not route.log_prior_ratio_K.any()


async def test_a_plan_with_a_version_that_is_not_loaded_waits_for_it(root: StorageRoot) -> None:
    segmenter = FakeSegmenter()
    async with following(root, segmenter) as router:
        write_plan(root, DomainPlan(serving=2))
        follower = PlanFollower(root, router, segmenter)
        await follower.look()
        assert router.route("").version == 1
        segmenter.versions[2] = segmenter.versions[1]
        await follower.look()
        assert (router.route("").version, router.plan.revision) == (2, 1)


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"format": 2}'])
async def test_a_plan_that_is_not_understood_changes_nothing(root: StorageRoot, damaged: bytes) -> None:
    write_plan(root, DUSK)
    async with following(root) as router:
        root.write(SERVING_PLAN, damaged)
        follower = PlanFollower(root, router, FakeSegmenter())
        await follower.look()
        assert router.route("").prior_id == "dusk-7"


async def test_an_older_plan_is_not_applied(root: StorageRoot) -> None:
    write_plan(root, DUSK)
    older = root.read(SERVING_PLAN).data
    async with following(root) as router:
        follower = PlanFollower(root, router, FakeSegmenter())
        write_plan(root, DomainPlan(serving=1))
        await follower.look()
        root.write(SERVING_PLAN, older)
        await follower.look()
        assert (router.plan.revision, router.route("").prior_id) == (2, "none")


async def test_the_last_plan_is_served_on_while_the_root_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    root = open_root(str(folder), patience_s=0.1)
    write_plan(root, DUSK)
    async with following(root) as router:
        folder.rename(tmp_path / "away")
        folder.touch()  # neither a folder nor nothing
        follower = PlanFollower(root, router, FakeSegmenter())
        await follower.look()
        assert (router.plan.revision, router.route("").prior_id) == (1, "dusk-7")
        folder.unlink()
        (tmp_path / "away").rename(folder)
        write_plan(root, DUSK.model_copy(update={"prior_id": "dusk-8"}))
        await eventually(lambda: router.route("").prior_id == "dusk-8")
