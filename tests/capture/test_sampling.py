"""Which frames are kept: a fair sample, the least sure ones, and those with rare classes."""

import numpy as np

from server.capture.sampling import LOW_CONFIDENCE_SLOTS, RARE_CLASS_SLOTS, UNIFORM_SLOTS, DomainSample

COMMON = np.zeros(19, np.float32)
COMMON[0] = 1.0
WITH_TRAIN = COMMON.copy()
WITH_TRAIN[16] = 0.01


def test_every_frame_of_an_interval_is_kept_with_the_same_probability() -> None:
    frames, trials = 100, 500
    times_kept = np.zeros(frames)
    for trial in range(trials):
        sample, uniform = DomainSample(trial), set()
        for number in range(frames):
            kept = sample.offer(f"{number}", 1.0, COMMON)
            if kept is not None:
                uniform.discard(kept.evicted)
                uniform.add(f"{number}")
        assert len(uniform) == UNIFORM_SLOTS
        times_kept[[int(key) for key in uniform]] += 1
    expected = trials * UNIFORM_SLOTS / frames
    deviation = np.sqrt(expected * (1 - UNIFORM_SLOTS / frames))
    assert (abs(times_kept - expected) < 5 * deviation).all()
    assert abs(times_kept[:50].sum() / times_kept.sum() - 0.5) < 0.02


def test_the_least_sure_frames_take_the_places_for_low_confidence() -> None:
    sample = DomainSample(0)
    confidences = np.random.default_rng(0).uniform(0.5, 1, 500)
    places: dict[str, float] = {}
    uniform = set()
    for number, confidence in enumerate(confidences):
        kept = sample.offer(f"{number}", float(confidence), COMMON)
        if kept is not None and kept.kept_for == "low confidence":
            places.pop(kept.evicted or "", None)
            places[f"{number}"] = confidence
        elif kept is not None:
            uniform.add(number)
    others = [confidence for number, confidence in enumerate(confidences) if number not in uniform]
    assert sorted(places.values()) == sorted(others)[:LOW_CONFIDENCE_SLOTS]


def test_frames_with_a_rare_class_are_kept_and_common_ones_are_not() -> None:
    sample = DomainSample(0)
    for number in range(1000):
        sample.offer(f"{number}", 1.0, COMMON)
    kept = [sample.offer(f"train {number}", 1.0, WITH_TRAIN) for number in range(RARE_CLASS_SLOTS)]
    assert all(found is not None for found in kept)
    assert [found.kept_for for found in kept if found].count("rare class") >= RARE_CLASS_SLOTS - 1


def test_a_new_interval_begins_with_empty_places() -> None:
    sample = DomainSample(0)
    for number in range(100):
        sample.offer(f"{number}", 1.0, COMMON)
    sample.begin_interval()
    kept = [sample.offer(f"new {number}", 1.0, COMMON) for number in range(UNIFORM_SLOTS)]
    assert [(found.kept_for, found.evicted) for found in kept if found] == [("uniform", None)] * UNIFORM_SLOTS
