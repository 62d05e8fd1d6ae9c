"""What people read where a value is refused: never the validation library's own words."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from exchange.label_space import NUM_CLASSES
from exchange.plain_words import counted, refusal_of
from exchange.plan.serving_plan import DomainPlan
from exchange.regions.tasks import Label
from exchange.storage.locations import DomainName


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(default=1, ge=1, le=9)
    share: float = Field(default=0.5, gt=0, lt=1)
    kind: Literal["day", "dusk"] = "day"
    name: str = Field(default="", max_length=3)
    on: bool = False
    label: Label = 0
    many: tuple[int, ...] = Field(default=(), max_length=2)


class Whole(BaseModel):
    part: Part


REFUSED = [
    ({"part": {"count": 0}}, "part.count: 0 is too small: give 1 or more"),
    ({"part": {"count": 10}}, "part.count: 10 is too large: give 9 or less"),
    ({"part": {"count": "x"}}, "part.count: 'x' is no whole number"),
    ({"part": {"count": 1.5}}, "part.count: 1.5 is no whole number"),
    ({"part": {"share": 1}}, "part.share: 1 is too large: give less than 1"),
    ({"part": {"share": []}}, "part.share: [] is no number"),
    ({"part": {"kind": "fog"}}, "part.kind: 'fog' is not known: give 'day' or 'dusk'"),
    ({"part": {"name": "long"}}, "part.name: it is longer than 3 letters"),
    ({"part": {"on": "perhaps"}}, "part.on: 'perhaps' is neither true nor false"),
    ({"part": {"label": 19}}, "part.label: 19 is too large: give less than 19"),
    ({"part": {"many": [1, 2, 3]}}, "part.many: it has more than 2 entries"),
    ({"part": {"nmae": 1}}, "part.nmae: nothing of this name is known: leave it out, or look at how it is spelled"),
    ({"part": 3}, "part: give an object with named values"),
    ({}, "part: it is missing: give it"),
]


@pytest.mark.parametrize(("values", "told"), REFUSED)
def test_what_is_wrong_and_what_to_give_instead(values: object, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Whole.model_validate(values)
    assert refusal_of(refused.value) == told


def test_text_that_is_no_json_and_text_of_another_form() -> None:
    with pytest.raises(ValidationError) as no_json:
        Whole.model_validate_json("{")
    assert refusal_of(no_json.value).startswith("this is no whole JSON (")
    with pytest.raises(ValidationError) as no_domain:
        TypeAdapter(DomainName).validate_python("No Domain" * 100)
    told = refusal_of(no_domain.value)
    assert "does not fit: give what matches ^[a-z0-9]" in told
    assert len(told) < 200


def test_what_a_check_of_ours_says_stays_as_it_is() -> None:
    with pytest.raises(ValidationError) as refused:
        DomainPlan(serving=1, log_prior_ratio={1: (1.0, 2.0)})
    assert refusal_of(refused.value) == (
        f"log_prior_ratio.1: 2 values, or some that are not finite, where {NUM_CLASSES} numbers belong"
    )


def test_one_is_not_many() -> None:
    assert [counted(count, "answer") for count in (0, 1, 2)] == ["0 answers", "1 answer", "2 answers"]
    assert [counted(count, "person", "people") for count in (1, 2)] == ["1 person", "2 people"]
