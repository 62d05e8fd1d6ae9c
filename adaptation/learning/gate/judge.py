"""The gate's judgement: from plain numbers and limits to a verdict, without looking at anything else.

Refuses by default: a part that was not measured, or that gave no number, is a refusal; only regions that people
labelled may be absent, where the limits say so.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.gate.measurements import (
    EngineMeasurements,
    GateMeasurements,
    LabelledScores,
    PresenceShares,
    TargetMeasurements,
)
from exchange.jobs.limits import GateLimits
from exchange.jobs.verdict import Check, Verdict
from exchange.label_space import CLASS_NAMES

Array = NDArray[np.float64]


def judge(measurements: GateMeasurements, limits: GateLimits) -> Verdict:
    """Pure; the same numbers give the same verdict."""
    checks = tuple(_checks(measurements, limits))
    return Verdict(checks=checks, passed=bool(checks) and all(check.passed for check in checks))


def _checks(measured: GateMeasurements, limits: GateLimits) -> Iterator[Check]:
    for part, why in measured.trouble.items():
        yield Check.missing(f"{part} measured", "at least", 1, f"The {part} could not be measured: {why}.")
    if measured.sources:
        for scores in measured.sources:
            yield from _source_checks(scores, limits)
    else:
        yield Check.missing("source mIoU lost", "at most", limits.source_iou_lost, _absent("labelled source frames"))
    yield from _sentinel_checks(measured.sentinel, limits)
    if measured.target is None:
        yield Check.missing("estimated accuracy lost", "at most", limits.accuracy_lost, _absent("target frames"))
    else:
        yield from _target_checks(measured.target, limits)
        yield from _prior_checks(measured.target.presence, limits)
    if measured.engine is None:
        yield Check.missing("engine parity", "at least", 1, _absent("a comparison of the engine with its weights"))
    else:
        yield from _engine_checks(measured.engine, limits)


def _source_checks(scores: LabelledScores, limits: GateLimits) -> Iterator[Check]:
    name, kept_name = f"source mIoU lost, {scores.data}", f"worst source class kept, {scores.data}"
    if not _is_labelled(scores, limits):
        why = _absent(f"classes with {limits.fewest_labelled_pixels} labelled pixels")
        yield Check.missing(name, "at most", limits.source_iou_lost, why)
        yield Check.missing(kept_name, "at least", limits.source_class_kept, why)
        return
    before, after = _mean_iou(scores, limits)
    yield Check.of(
        name,
        before - after,
        "at most",
        limits.source_iou_lost,
        f"On {scores.frames} labelled source frames the candidate scores {_percent(after)}, the incumbent"
        f" {_percent(before)}: what is known already must not be forgotten.",
    )
    its_K, ours_K = scores.iou("incumbent"), scores.iou("candidate")
    known_K = (scores.labelled >= limits.fewest_labelled_pixels) & (np.nan_to_num(its_K) >= limits.known_class_iou)
    if not known_K.any():
        yield Check.missing(kept_name, "at least", limits.source_class_kept, _absent("known classes"))
        return
    kept_K = np.where(known_K, ours_K / np.where(known_K, its_K, 1), np.inf)
    worst = int(kept_K.argmin())
    yield Check.of(
        kept_name,
        float(kept_K[worst]),
        "at least",
        limits.source_class_kept,
        f"{_name(worst)} went from {_percent(its_K[worst])} to {_percent(ours_K[worst])} IoU on the source:"
        " no single class may be given up for the mean.",
    )


def _sentinel_checks(scores: LabelledScores | None, limits: GateLimits) -> Iterator[Check]:
    name = "labelled target mIoU lost"
    if scores is None or not _is_labelled(scores, limits):
        if limits.sentinel_required:
            yield Check.missing(name, "at most", limits.sentinel_iou_lost, _absent("labelled target regions"))
        return
    before, after = _mean_iou(scores, limits)
    yield Check.of(
        name,
        before - after,
        "at most",
        limits.sentinel_iou_lost,
        f"Where people labelled the target ({int(scores.labelled.sum()):,} pixels) the candidate scores"
        f" {_percent(after)}, the incumbent {_percent(before)}: the only check by the truth itself.",
    )


def _target_checks(target: TargetMeasurements, limits: GateLimits) -> Iterator[Check]:
    before, after = target.estimated_accuracy
    yield Check.of(
        "estimated accuracy lost",
        before - after,
        "at most",
        limits.accuracy_lost,
        f"Without labels, {_percent(after)} of the candidate's target pixels are estimated to be right, and"
        f" {_percent(before)} of the incumbent's (its own confidence says {_percent(target.candidate_atc)}).",
    )
    yield Check.of(
        "agreement with the incumbent",
        target.agreement,
        "at least",
        limits.agreement,
        f"Both label {_percent(target.agreement)} of the target's pixels alike: a candidate that is this different is"
        " no refinement of what serves well now.",
    )
    yield from _sure_checks(target, limits)
    before_classes, after_classes = (
        _effective_classes(np.array(share)) for share in (target.incumbent_share, target.candidate_share)
    )
    yield Check.of(
        "effective classes kept",
        after_classes / before_classes,
        "at least",
        limits.classes_kept,
        f"The candidate's labels spread over {after_classes:.1f} classes, the incumbent's over {before_classes:.1f}:"
        " a network that collapses says less and less.",
    )


def _sure_checks(target: TargetMeasurements, limits: GateLimits) -> Iterator[Check]:
    sure_K, kept_K = np.array(target.sure), np.array(target.kept)
    sure = float(sure_K.sum())
    if sure:
        yield Check.of(
            "sure pixels kept",
            float(kept_K.sum()) / sure,
            "at least",
            limits.sure_kept,
            f"{target.judge.capitalize()} is sure of {_percent(sure)} of the pixels, in every view of a frame:"
            " there a candidate has little to correct and much to break.",
        )
    else:
        why = _absent(f"pixels of which {target.judge} is sure")
        yield Check.missing("sure pixels kept", "at least", limits.sure_kept, why)
    judged_K = sure_K >= limits.sure_class_share
    if not judged_K.any():
        why = _absent(f"classes of which {target.judge} is sure in {_percent(limits.sure_class_share)} of the pixels")
        yield Check.missing("worst sure class kept", "at least", limits.sure_class_kept, why)
        return
    share_K = np.where(judged_K, kept_K / np.where(judged_K, sure_K, 1), np.inf)
    worst = int(share_K.argmin())
    yield Check.of(
        "worst sure class kept",
        float(share_K[worst]),
        "at least",
        limits.sure_class_kept,
        f"Of the pixels that are surely {_name(worst)} the candidate labels {_percent(share_K[worst])} so:"
        " a class that vanishes where it was plain to see has been talked away.",
    )


def _prior_checks(presence: PresenceShares | None, limits: GateLimits) -> Iterator[Check]:
    if presence is None:
        why = _absent("a prior of the target (it takes 32 frames)")
        yield Check.missing("worst class below the prior", "at most", limits.presence_below, why)
        return
    low_K, high_K, ours_K = (np.array(values) for values in (presence.low, presence.high, presence.candidate))
    below_K, off_K = low_K - ours_K, np.maximum(np.maximum(low_K - ours_K, ours_K - high_K), 0)
    worst = int(below_K.argmax())
    yield Check.of(
        "worst class below the prior",
        max(float(below_K[worst]), 0.0),
        "at most",
        limits.presence_below,
        f"{_name(worst)} is in {_percent(ours_K[worst])} of the frames to the candidate, in"
        f" {_percent(low_K[worst])} to {_percent(high_K[worst])} by the prior: classes do not leave a place by"
        " training.",
    )
    farthest = int(off_K.argmax())
    yield Check.of(
        "mean distance to the prior",
        float(off_K.mean()),
        "at most",
        limits.presence_off,
        f"How far the shares of frames lie outside the prior's intervals, over all classes; farthest is"
        f" {_name(farthest)} with {_percent(off_K[farthest])}.",
    )


def _engine_checks(engine: EngineMeasurements, limits: GateLimits) -> Iterator[Check]:
    worst = ""
    if engine.parity_worst_class is not None and engine.parity_worst_iou is not None:
        worst = f"; worst class {engine.parity_worst_class} with an IoU of {_percent(engine.parity_worst_iou)}"
    check = Check.of(
        "engine parity",
        engine.parity_agreement,
        "at least",
        engine.least_agreement,
        f"The engine gives {_percent(engine.parity_agreement)} of the labels that its weights give in torch{worst}:"
        " what is served must be what was trained.",
    )
    yield check.model_copy(update={"passed": check.passed and engine.parity_passes})
    yield Check.of(
        "latency ratio",
        engine.candidate_s / engine.incumbent_s,
        "at most",
        limits.latency_ratio,
        f"A frame takes {1e3 * engine.candidate_s:.0f} ms, the incumbent's {1e3 * engine.incumbent_s:.0f} ms: a slower"
        " release serves fewer vehicles.",
    )


def _is_labelled(scores: LabelledScores, limits: GateLimits) -> bool:
    """Return whether some class has pixels enough."""
    return bool((scores.labelled >= limits.fewest_labelled_pixels).any())


def _mean_iou(scores: LabelledScores, limits: GateLimits) -> tuple[float, float]:
    """Of incumbent and candidate, over the classes with pixels enough."""
    fewest = limits.fewest_labelled_pixels
    return scores.mean_iou("incumbent", fewest), scores.mean_iou("candidate", fewest)


def _effective_classes(share_K: Array) -> float:
    """exp of the entropy: K where all are alike, 1 where there is one alone."""
    shown_K = share_K[share_K > 0]
    return float(np.exp(-(shown_K * np.log(shown_K)).sum()))


def _absent(what: str) -> str:
    return f"Not measured: there were no {what}. What is not known is not promoted."


def _name(k: int) -> str:
    return CLASS_NAMES[k].capitalize()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
