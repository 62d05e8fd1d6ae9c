"""What gateways' heartbeats make of a candidate."""

import pytest

from adaptation.control.rollout.rollouts import Judgement, judge
from adaptation.control.settings import RolloutSettings
from exchange.fleet.gateways import Heartbeat, VersionHealth, read_heartbeats
from exchange.plan.serving_plan import Candidate
from exchange.storage import StorageRoot
from tests.service.learner_rig import beat, healthy

SHADOW, CANARY = Candidate(version=2, shadow_share=0.2), Candidate(version=2, share=0.1)
SETTINGS = RolloutSettings()
COLLAPSED = (0.0,) * 10 + (0.9,) * 9


def gateway(root: StorageRoot, **changes: object) -> Heartbeat:
    """One that serves version 1 and tries version 2."""
    beat(root, 2, {1: healthy(engine_p99_s=0.1), 2: healthy(**{"engine_p99_s": 0.1, **changes})})
    (found,) = read_heartbeats(root)
    return found


def test_nothing_to_complain_of(root: StorageRoot) -> None:
    assert judge(1, SHADOW, [gateway(root)], SETTINGS) == Judgement()
    assert judge(1, CANARY, [gateway(root)], SETTINGS) == Judgement()


def test_a_candidate_waits_for_gateways_that_load_it_and_for_frames(root: StorageRoot) -> None:
    assert judge(1, SHADOW, [], SETTINGS).wait == "no gateway is there to try it"
    assert judge(1, SHADOW, [gateway(root, loaded=False)], SETTINGS).wait == "gateways that have not loaded it: gw-a"
    assert judge(1, SHADOW, [gateway(root, requests=0)], SETTINGS) == Judgement()
    assert judge(1, CANARY, [gateway(root, requests=3)], SETTINGS).wait == "it has answered 3 frames of 20"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"loaded": False, "trouble": "no room in /dev/shm"}, "gateway gw-a: no room in /dev/shm"),
        ({"errors": 3}, "gateway gw-a: 3 errors in 100 frames"),
        ({"engine_p99_s": 0.3}, "gateway gw-a: the engine's p99 is 300 ms with it, 100 ms without"),
        (
            {"disagreement": COLLAPSED, "shadow_frames": 8},
            "gateway gw-a: collapse: as a shadow it labels 90 % otherwise, class by class",
        ),
    ],
)
def test_a_candidate_in_trouble_goes(root: StorageRoot, changes: dict[str, object], why: str) -> None:
    assert judge(1, SHADOW, [gateway(root, **changes)], SETTINGS).drop == why


@pytest.mark.parametrize(
    "changes",
    [
        {"errors": 2},
        {"disagreement": COLLAPSED, "shadow_frames": 7},
        {"disagreement": (0.2,) * 19},
        {"disagreement": (0.1, *(1.0,) * 18), "compared": (0.982, *(0.001,) * 18), "shadow_frames": 8},
    ],
)
def test_accidents_and_improvements_are_no_trouble(root: StorageRoot, changes: dict[str, object]) -> None:
    assert judge(1, SHADOW, [gateway(root, **changes)], SETTINGS).drop == ""


def test_a_slow_first_frame_is_no_trouble(root: StorageRoot) -> None:
    few: VersionHealth = healthy(requests=1, engine_p99_s=5.0)
    beat(root, 2, {1: healthy(engine_p99_s=0.1), 2: few})
    assert judge(1, SHADOW, read_heartbeats(root), SETTINGS).drop == ""
