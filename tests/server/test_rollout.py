"""A gateway comes to serve what the plan says, as far as its engine can, and serves on whatever happens to the root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from exchange.plan.serving_plan import Candidate, DomainPlan
from exchange.registry.releases import read_manifest
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import SERVING_PLAN
from server.rollout import rollout as rollout_module
from server.rollout.candidates import Candidates
from server.rollout.local_releases import LocalReleases
from server.rollout.plan_follower import PlanFollower, present_plan
from server.rollout.rollout import Rollout
from server.rollout.version_counts import VersionCounts
from server.routing import Router, ServingPlan
from server.segmenter import FakeBehavior, FakeSegmenter
from tests.gateways import eventually
from tests.plans import publish_releases, write_plan
from tests.releases import make_release

RATIO = tuple(0.1 * k - 0.9 for k in range(19))
DUSK = DomainPlan(serving=1, prior_id="dusk-7", log_prior_ratio={1: RATIO})


@dataclass
class Following:
    router: Router
    segmenter: FakeSegmenter
    follower: PlanFollower
    troubles: dict[int, str]


@asynccontextmanager
async def following(
    root: StorageRoot,
    folder: Path,
    segmenter: FakeSegmenter | None = None,
    *,
    unpublished: Path | None = None,
    grace_s: float = 30.0,
) -> AsyncIterator[Following]:
    """A gateway that was started with version 1, without its frames."""
    segmenter = segmenter or FakeSegmenter()
    router = Router(ServingPlan.single_release(1, domains=("sim-rain",)))
    counts, troubles, releases = VersionCounts(), {}, LocalReleases(folder / "releases", root, root)
    candidates = Candidates(segmenter, counts)
    rollout = Rollout(
        releases=releases,
        segmenter=segmenter,
        router=router,
        candidates=candidates,
        counts=counts,
        troubles=troubles,
        unpublished=None if unpublished is None else read_manifest(unpublished),
        grace_s=grace_s,
    )
    follower = PlanFollower(root, releases, router, rollout, candidates)
    await follower.start()
    try:
        yield Following(router, segmenter, follower, troubles)
    finally:
        await follower.stop()


async def test_a_plan_that_is_there_holds_from_the_first_frame_on(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 2)
    write_plan(root, DomainPlan(serving=2, previous=1), sim_dusk=DUSK)
    async with following(root, tmp_path) as gateway:
        router = gateway.router
        assert (router.plan.revision, router.route("").version) == (1, 2)
        route = router.route("sim-dusk")
        assert (route.domain, route.version, route.prior_id) == ("sim-dusk", 1, "dusk-7")
        np.testing.assert_allclose(route.log_prior_ratio_K, RATIO, rtol=1e-6)
        assert not router.route("elsewhere").log_prior_ratio_K.any()
        assert router.route("sim-rain").domain == "sim-rain"  # to be counted apart, though the plan does not list it


async def test_a_new_prior_is_applied(root: StorageRoot, tmp_path: Path) -> None:
    async with following(root, tmp_path) as gateway:
        router = gateway.router
        assert router.plan.revision == 0
        for revision in (1, 2):
            plan = DUSK.model_copy(update={"prior_id": f"dusk-{revision}"})
            write_plan(root, DomainPlan(serving=1), sim_dusk=plan)
            await eventually(lambda revision=revision: router.plan.revision == revision)
            assert router.route("sim-dusk").prior_id == f"dusk-{revision}"


async def test_each_version_gets_the_ratio_that_the_plan_has_for_it(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 2)
    candidate = Candidate(version=2, share=1.0)
    write_plan(root, DUSK.model_copy(update={"log_prior_ratio": {2: RATIO}, "candidate": candidate}))
    async with following(root, tmp_path) as gateway:
        route = gateway.router.route("")
        assert (route.version, route.prior_id) == (2, "dusk-7")
        np.testing.assert_allclose(route.log_prior_ratio_K, RATIO, rtol=1e-6)
        assert route.instead is not None
        assert (route.instead.version, route.instead.prior_id) == (1, "none")
        assert not route.instead.log_prior_ratio_K.any()


async def test_a_promotion_waits_for_its_version_and_a_rollback_for_nothing(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 3)
    write_plan(root, DomainPlan(serving=1))
    async with following(root, tmp_path) as gateway:
        router = gateway.router
        write_plan(root, DomainPlan(serving=2, previous=1))
        await eventually(lambda: router.route("").version == 2)
        assert router.plan.revision == 2
        gateway.segmenter.behaviors[3] = FakeBehavior(load_s=60.0)
        write_plan(root, DomainPlan(serving=3, previous=2))
        await asyncio.sleep(1.0)
        assert (router.plan.revision, router.route("").version) == (2, 2)
        write_plan(root, DomainPlan(serving=1, previous=2))
        await eventually(lambda: router.route("").version == 1)
        assert router.plan.revision == 4


async def test_a_version_that_does_not_load_holds_up_no_other_domain(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 3)
    segmenter = FakeSegmenter()
    segmenter.behaviors[2] = FakeBehavior(load_failure="too big for this machine")
    async with following(root, tmp_path, segmenter) as gateway:
        write_plan(root, DomainPlan(serving=3), sim_dusk=DUSK.model_copy(update={"serving": 2}))
        await eventually(lambda: gateway.router.route("").version == 3)
        assert gateway.router.route("sim-dusk").version == 1  # on as it was
        assert gateway.router.plan.revision == 0  # not applied whole
        await eventually(lambda: gateway.troubles == {2: "too big for this machine"})
        write_plan(root, DomainPlan(serving=1, previous=3), sim_dusk=DUSK.model_copy(update={"serving": 2}))
        await eventually(lambda: gateway.router.route("").version == 1)
        write_plan(root, DomainPlan(serving=1, previous=3))
        await eventually(lambda: gateway.router.plan.revision == 3 and not gateway.troubles)


async def test_a_version_that_the_ledger_does_not_have_is_told(root: StorageRoot, tmp_path: Path) -> None:
    async with following(root, tmp_path) as gateway:
        write_plan(root, DomainPlan(serving=1, candidate=Candidate(version=9, share=0.5)))
        await eventually(lambda: 9 in gateway.troubles)
        assert "has no release 9" in gateway.troubles[9]
        assert gateway.router.plan.revision == 1


async def test_a_load_is_not_tried_again_at_once(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 2)
    segmenter = FakeSegmenter()
    segmenter.behaviors[2] = FakeBehavior(load_failure="broken", load_s=0.01)
    async with following(root, tmp_path, segmenter) as gateway:
        write_plan(root, DomainPlan(serving=1, candidate=Candidate(version=2)))
        await eventually(lambda: 2 in gateway.troubles)
        segmenter.behaviors[2].load_failure = ""
        await asyncio.sleep(1.5)
        assert 2 not in segmenter.versions
        await eventually(lambda: 2 in segmenter.versions, rollout_module.FIRST_PAUSE_S + 5.0)
        assert not gateway.troubles


async def test_versions_that_nobody_needs_any_more_go_after_a_grace(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 3)
    write_plan(root, DomainPlan(serving=2, previous=1))
    async with following(root, tmp_path, grace_s=0.5) as gateway:
        write_plan(root, DomainPlan(serving=3, previous=2))
        await eventually(lambda: gateway.router.route("").version == 3)
        assert 1 in gateway.segmenter.versions
        await eventually(lambda: sorted(gateway.segmenter.versions) == [2, 3])
        await eventually(lambda: sorted(path.name for path in (tmp_path / "releases").glob("[0-9]*")) == ["2", "3"])


async def test_the_release_of_the_start_is_not_taken_for_another_one_of_its_number(
    root: StorageRoot, tmp_path: Path
) -> None:
    publish_releases(root, 2)
    mine = make_release(tmp_path / "mine", weights=b"not the published ones")
    write_plan(root, DomainPlan(serving=1))
    async with following(root, tmp_path, unpublished=mine, grace_s=0.1) as gateway:
        assert "start this gateway anew" in gateway.troubles[1]
        assert gateway.router.plan.revision == 0
        write_plan(
            root, DomainPlan(serving=2, previous=1)
        )  # now nobody needs it, and the published one takes its place
        await eventually(lambda: gateway.router.route("").version == 2)
        await eventually(lambda: (tmp_path / "releases" / "1").exists(), rollout_module.FIRST_PAUSE_S + 10.0)
        await eventually(lambda: not gateway.troubles and 1 in gateway.segmenter.versions)


async def test_the_release_of_the_start_is_the_published_one_where_its_files_are(
    root: StorageRoot, tmp_path: Path
) -> None:
    publish_releases(root, 1)
    same = make_release(tmp_path / "same", weights=b"weights of 1")
    write_plan(root, DUSK)
    async with following(root, tmp_path, unpublished=same) as gateway:
        assert (gateway.router.plan.revision, gateway.router.route("").prior_id) == (1, "dusk-7")
        assert not (tmp_path / "releases" / "1").exists()  # nothing had to be fetched


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"format": 2}'])
async def test_a_plan_that_is_not_understood_changes_nothing(root: StorageRoot, tmp_path: Path, damaged: bytes) -> None:
    write_plan(root, DUSK)
    async with following(root, tmp_path) as gateway:
        root.write(SERVING_PLAN, damaged)
        await gateway.follower.look()
        assert gateway.router.route("").prior_id == "dusk-7"


async def test_an_older_plan_is_not_applied(root: StorageRoot, tmp_path: Path) -> None:
    write_plan(root, DUSK)
    older = root.read(SERVING_PLAN).data
    async with following(root, tmp_path) as gateway:
        write_plan(root, DomainPlan(serving=1))
        await gateway.follower.look()
        root.write(SERVING_PLAN, older)
        await gateway.follower.look()
        assert (gateway.router.plan.revision, gateway.router.route("").prior_id) == (2, "none")


async def test_the_last_plan_is_served_on_while_the_root_is_away_and_by_a_gateway_that_starts_then(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "root"
    root = open_root(str(folder), patience_s=0.1)
    publish_releases(root, 2)
    write_plan(root, DUSK.model_copy(update={"serving": 2, "log_prior_ratio": {2: RATIO}}))
    async with following(root, tmp_path) as gateway:
        last = tmp_path / "releases" / "last_plan.json"
        await eventually(lambda: "dusk-7" in last.read_text())
        folder.rename(tmp_path / "away")
        folder.touch()  # neither a folder nor nothing
        await gateway.follower.look()
        assert (gateway.router.plan.revision, gateway.router.route("").prior_id) == (1, "dusk-7")
    async with following(root, tmp_path) as gateway:
        route = gateway.router.route("")
        assert (route.version, route.prior_id) == (2, "dusk-7")
        folder.unlink()
        (tmp_path / "away").rename(folder)
        write_plan(root, DUSK.model_copy(update={"prior_id": "dusk-8"}))
        await eventually(lambda: gateway.router.route("").prior_id == "dusk-8")


async def test_a_damaged_copy_is_fetched_anew(root: StorageRoot, tmp_path: Path) -> None:
    publish_releases(root, 2)
    write_plan(root, DomainPlan(serving=2))
    async with following(root, tmp_path):
        pass
    weights = tmp_path / "releases" / "2" / "weights.safetensors"
    weights.write_bytes(b"bit rot")
    async with following(root, tmp_path) as gateway:
        assert gateway.router.route("").version == 2
    assert weights.read_bytes() == b"weights of 2"


async def test_what_was_kept_of_another_root_is_forgotten(tmp_path: Path) -> None:
    one, other = (open_root(str(tmp_path / name)) for name in ("one", "other"))
    publish_releases(one, 2)
    write_plan(one, DomainPlan(serving=2))
    async with following(one, tmp_path):
        await eventually(lambda: LocalReleases(tmp_path / "releases", one, one).last_plan() is not None)
    releases = LocalReleases(tmp_path / "releases", other, other)
    assert present_plan(other, releases) is None
    assert list((tmp_path / "releases").glob("[0-9]*")) == []
