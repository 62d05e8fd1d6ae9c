"""Which version and prior a domain gets."""

import numpy as np
import pytest

from server.errors import InvalidRequest
from server.routing import DomainPlan, Router, ServingPlan


def test_revision_0_serves_everyone_by_one_release_without_adjustment() -> None:
    router = Router(ServingPlan.single_release(3))
    route = router.route("zurich-night")
    assert (route.domain, route.version, route.prior_id) == ("default", 3, "none")
    assert not route.log_prior_ratio_K.any()
    assert router.route("").domain == "default"


def test_a_listed_domain_is_served_by_its_own_plan_and_others_by_the_default() -> None:
    dusk = DomainPlan(serving=2, prior_id="dusk-7", log_prior_ratio_K=np.full(19, 0.5, dtype=np.float32))
    router = Router(ServingPlan(revision=5, default=DomainPlan(serving=1), domains={"sim-dusk": dusk}))
    assert router.route("sim-dusk").version == 2
    assert router.route("sim-dusk").prior_id == "dusk-7"
    assert router.route("sim-dusk").log_prior_ratio_K[0] == 0.5
    assert (router.route("sim-day").domain, router.route("sim-day").version) == ("default", 1)
    assert router.plan.serving_versions == {1, 2}


def test_a_new_plan_holds_from_the_next_frame_on() -> None:
    router = Router(ServingPlan.single_release(1))
    router.plan = ServingPlan.single_release(2, domains=("sim-day",))
    assert (router.route("sim-day").domain, router.route("sim-day").version) == ("sim-day", 2)


@pytest.mark.parametrize("name", ["a", "0", "zurich-night", "a" * 63, "a--b-"])
def test_domain_names_that_are_valid(name: str) -> None:
    assert Router(ServingPlan.single_release(1, domains=(name,))).route(name).domain == name


@pytest.mark.parametrize("name", ["-a", "Zurich", "a_b", "a b", "a" * 64, "ä", "a\n", "../a", "a/b", "\x00"])
def test_domain_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a domain name: send lower-case letters"):
        Router(ServingPlan.single_release(1)).route(name)
