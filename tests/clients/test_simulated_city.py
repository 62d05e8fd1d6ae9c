"""The simulated city: exact repetition, sensible scenes, frozen domains, refusals."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.simulation.city import DOMAINS, SimulatedDrive
from exchange.label_space import CLASS_NAMES, IGNORE_ID, NUM_CLASSES, TRAIN_ID

SMALL_HW = (128, 256)
FROZEN = Path(__file__).parent / "simulated_city_frozen.npz"
FROZEN_SEED, FROZEN_FRAME, FROZEN_HW = 5, 31, (128, 256)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_frame_has_the_promised_form(domain: str) -> None:
    frame = SimulatedDrive(domain, 1, SMALL_HW, frames_per_s=4.0).frame(6)
    assert frame.image_HW3.shape == (*SMALL_HW, 3)
    assert frame.image_HW3.dtype == np.uint8
    assert frame.labels_HW.shape == SMALL_HW
    assert frame.labels_HW.dtype == np.uint8
    assert (frame.time_s, frame.index) == (1.5, 6)
    labels = set(np.unique(frame.labels_HW).tolist())
    assert labels <= {*range(NUM_CLASSES), IGNORE_ID}
    assert {TRAIN_ID["road"], TRAIN_ID["sky"]} <= labels


@pytest.mark.parametrize("domain", DOMAINS)
def test_frames_do_not_depend_on_the_frames_before(domain: str) -> None:
    onward, backward = SimulatedDrive(domain, 3, SMALL_HW), SimulatedDrive(domain, 3, SMALL_HW)
    first = [onward.frame(index) for index in (0, 7, 60)]
    again = [backward.frame(index) for index in (60, 7, 0)][::-1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image_HW3, other.image_HW3)
        np.testing.assert_array_equal(one.labels_HW, other.labels_HW)


def test_successive_frames_resemble_each_other_and_other_seeds_are_other_streets() -> None:
    drive, other = SimulatedDrive("sim-day", 0, SMALL_HW, frames_per_s=20.0), SimulatedDrive("sim-day", 1, SMALL_HW)
    now, soon, later = (drive.frame(index).labels_HW for index in (80, 81, 320))

    def agreement(one: np.ndarray, two: np.ndarray) -> float:
        return float((one == two).mean())

    assert agreement(now, soon) > 0.88
    assert agreement(now, later) < agreement(now, soon) - 0.05
    assert agreement(now, other.frame(20).labels_HW) < agreement(now, soon) - 0.05


def _class_shares(domain: str) -> np.ndarray:
    counts = np.zeros(256)
    for seed in range(4):
        drive = SimulatedDrive(domain, seed, SMALL_HW, frames_per_s=0.4)
        for index in range(8):
            counts += np.bincount(drive.frame(index).labels_HW.ravel(), minlength=256)
    return counts[:NUM_CLASSES] / counts.sum()


def test_domains_draw_all_classes_but_train_and_differ_in_how_often() -> None:
    shares = {domain: _class_shares(domain) for domain in DOMAINS}
    for domain in DOMAINS:
        assert np.flatnonzero(shares[domain] == 0).tolist() == [CLASS_NAMES.index("train")]
    day = shares.pop("sim-day")
    assert min(share for k, share in enumerate(day) if k != TRAIN_ID["train"]) > 0.002
    for domain, target in shares.items():
        distance = 0.5 * float(np.abs(target - day).sum())
        assert distance > 0.05, f"{domain} has almost the class frequencies of sim-day"


def test_each_domain_looks_its_part() -> None:
    """By day the sky outshines the road, dusk is dark, and colours fade in rain and more in fog."""
    frames = {domain: SimulatedDrive(domain, 2, SMALL_HW).frame(10) for domain in DOMAINS}
    day = frames["sim-day"]
    brightness = day.image_HW3.mean(axis=2)
    assert brightness[day.labels_HW == TRAIN_ID["sky"]].mean() > brightness[day.labels_HW == TRAIN_ID["road"]].mean()
    assert frames["sim-dusk"].image_HW3.mean() < 0.75 * day.image_HW3.mean()
    colorfulness = {domain: float(np.ptp(frame.image_HW3, axis=2).mean()) for domain, frame in frames.items()}
    assert colorfulness["sim-fog"] < 0.75 * colorfulness["sim-day"]
    assert colorfulness["sim-rain"] < 0.9 * colorfulness["sim-day"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_stay_as_they_were_frozen(domain: str) -> None:
    """Labels pixel by pixel but for rounding at edges; colours by the means of 16 x 16 blocks."""
    frame = SimulatedDrive(domain, FROZEN_SEED, FROZEN_HW).frame(FROZEN_FRAME)
    with np.load(FROZEN) as frozen:
        labels, means = frozen[f"{domain}/labels"], frozen[f"{domain}/means"]
    assert (frame.labels_HW == labels).mean() > 0.999
    blocks = cv2.resize(frame.image_HW3, (FROZEN_HW[1] // 16, FROZEN_HW[0] // 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(blocks.astype(float), means.astype(float), atol=2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sim-snow", 0), "unknown domain 'sim-snow': choose one of sim-day"),
        (("sim-day", -1), "seed must not be negative"),
        (("sim-day", 0, (100, 256)), "multiples of 8, not 100x256"),
        (("sim-day", 0, (32, 256)), "at least 64x64"),
        (("sim-day", 0, SMALL_HW, 0.0), "frames_per_s must be positive"),
    ],
)
def test_what_cannot_be_driven_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedDrive(*arguments)


def test_frames_count_from_zero() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        SimulatedDrive("sim-day", 0, SMALL_HW).frame(-1)
