"""Records keep what they do not know; what people write may hold nothing that is not known."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from adaptation.learning.rounds.region_requests import RegionBudget
from exchange.jobs.limits import GateLimits
from exchange.jobs.recipes import RoundConfig
from exchange.plan.serving_plan import DomainPlan, ServingPlan
from exchange.registry.pins import Pins
from tests.rounds.small_round import CONFIG

PLAN = (
    b'{"format": 1, "revision": 1, "written_at": "2026-01-01T00:00:00Z", "lease_epoch": 1, "later": [1, {"a": null}],'
    b' "default": {"serving": 1, "later": "d", "candidate": {"version": 2, "later": true}}}'
)


def test_fields_of_a_newer_minor_are_written_back_at_every_level() -> None:
    plan = ServingPlan.decode(PLAN, "plan")
    changed = plan.with_values(revision=2, default=plan.default.model_copy(update={"previous": 3}))
    encoded = json.loads(changed.encode())
    assert (encoded["revision"], encoded["later"]) == (2, [1, {"a": None}])
    assert (encoded["default"]["previous"], encoded["default"]["later"]) == (3, "d")
    assert encoded["default"]["candidate"]["later"] is True
    assert ServingPlan.decode(changed.encode(), "plan") == changed


def test_records_that_differ_in_what_is_not_known_differ() -> None:
    known, more = DomainPlan(serving=1), DomainPlan.model_validate({"serving": 1, "later": 1})
    assert known != more
    assert Pins.decode(b'{"pinned": [1], "later": 1}', "pins") == Pins.decode(b'{"later": 1, "pinned": [1]}', "pins")


def test_a_change_is_validated_and_names_only_known_fields() -> None:
    plan = ServingPlan.decode(PLAN, "plan")
    with pytest.raises(ValidationError):
        plan.with_values(revision=0)
    with pytest.raises(TypeError, match="ServingPlan has no later"):
        plan.with_values(later=1)


def test_a_field_may_have_the_name_of_a_property_or_method() -> None:
    plan = ServingPlan.decode(PLAN.replace(b'"later": [', b'"of": ['), "plan")
    assert plan.of("anywhere").serving == 1
    assert json.loads(plan.encode())["of"] == [1, {"a": None}]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (GateLimits, GateLimits().model_dump(mode="json")),
        (RoundConfig, CONFIG.model_dump(mode="json")),
        (RegionBudget, RegionBudget(pixel_share=0.1).model_dump(mode="json")),
    ],
)
def test_a_typing_error_in_what_people_write_is_told(kind: type[BaseModel], values: dict[str, object]) -> None:
    kind.model_validate(values)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        kind.model_validate(values | {"sead": 1})
