"""Counts over the target's frames: what candidate, incumbent and judge say of the same cells."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.export.calibration import fit_labels
from adaptation.learning.export.engine_logits import Reading
from adaptation.learning.gate.contestants import Contestant
from adaptation.learning.gate.judging_views import Opinion
from adaptation.learning.gate.measurements import PresenceShares, TargetMeasurements
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.label_space import NUM_CLASSES
from exchange.plan.estimate import SourceView, estimate
from exchange.plan.priors import LiveEstimate

Array = NDArray[np.float64]


class TargetTally:
    """Grows frame by frame; every frame counts alike."""

    def __init__(self, candidate: Contestant, incumbent: Contestant) -> None:
        self._candidate, self._incumbent = candidate, incumbent
        self._rows: list[PresenceRow] = []
        """Of the incumbent."""
        self._presence: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._sums: dict[str, Array] = {}

    def add(self, drive: str, candidate: Reading, incumbent: Reading, opinion: Opinion) -> None:
        self._rows.append(_row(drive, incumbent))
        self._presence.append((candidate.outputs.presence_K, incumbent.outputs.presence_K))
        cells = tuple(opinion.label_HW.shape)
        ours_KHW, its_KHW = self._candidate.probabilities(candidate), self._incumbent.probabilities(incumbent)
        our_label_HW, its_label_HW = (_on_cells(p_KHW.argmax(dim=0), cells) for p_KHW in (ours_KHW, its_KHW))
        self._add("candidate share", _shares(our_label_HW))
        self._add("incumbent share", _shares(its_label_HW))
        self._add("agreement", (our_label_HW == its_label_HW).float().mean())
        self._add("candidate atc", _above(ours_KHW, self._candidate.calibration.atc_threshold))
        self._add("incumbent atc", _above(its_KHW, self._incumbent.calibration.atc_threshold))
        self._add("candidate believed", _believed(opinion, our_label_HW))
        self._add("incumbent believed", _believed(opinion, its_label_HW))
        kept_HW = opinion.is_sure_HW & (our_label_HW == opinion.label_HW)
        self._add("sure", _shares(opinion.label_HW, opinion.is_sure_HW))
        self._add("kept", _shares(opinion.label_HW, kept_HW))

    def measurements(self, judge_is_anchor: bool, prior: LiveEstimate | None) -> TargetMeasurements:
        """Raises ValueError where no frame was added."""
        frames = len(self._rows)
        if frames == 0:
            raise ValueError("no target frame: give a folder of frames")
        mean = {name: sums / frames for name, sums in self._sums.items()}
        return TargetMeasurements(
            frames=frames,
            judge="the anchor" if judge_is_anchor else "the incumbent",
            incumbent_share=_tuple(mean["incumbent share"]),
            candidate_share=_tuple(mean["candidate share"]),
            agreement=float(mean["agreement"]),
            sure=_tuple(mean["sure"]),
            kept=_tuple(mean["kept"]),
            incumbent_atc=float(mean["incumbent atc"]),
            candidate_atc=float(mean["candidate atc"]),
            incumbent_believed=float(mean["incumbent believed"]),
            candidate_believed=float(mean["candidate believed"]),
            presence=self._presence_shares(prior),
        )

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value.double().numpy()

    def _presence_shares(self, prior: LiveEstimate | None) -> PresenceShares | None:
        """Of a prior that is at hand, or of one by the incumbent's view of these frames."""
        source = SourceView.of(self._incumbent.manifest)
        candidate_NK, incumbent_NK = (np.stack(column) for column in zip(*self._presence, strict=True))
        prior = prior or estimate(PresenceRows.of(self._rows), source)
        if prior is None:
            return None
        known_K = source.thresholds_K > 0
        return PresenceShares(
            low=_tuple(np.where(known_K, prior.low, 0)),
            high=_tuple(np.where(known_K, prior.high, 1)),
            incumbent=_tuple((incumbent_NK > source.thresholds_K).mean(axis=0)),
            candidate=_tuple((candidate_NK > source.thresholds_K).mean(axis=0)),
        )


def _row(drive: str, reading: Reading) -> PresenceRow:
    outputs = reading.outputs
    confidence = float(outputs.confidence_HW.mean()) / 255
    return PresenceRow(0.0, drive, 1, outputs.presence_K, outputs.mean_probability_K, confidence)


def _on_cells(label_HW: Tensor, cells: tuple[int, ...]) -> Tensor:
    """Of networks with frames of different sizes, on the judge's cells."""
    if label_HW.shape == cells:
        return label_HW
    return torch.from_numpy(fit_labels(label_HW.numpy().astype(np.uint8), (cells[0], cells[1]))).long()


def _shares(label_HW: Tensor, counted_HW: Tensor | None = None) -> Tensor:
    """Of all cells, by class; only where they are counted."""
    counted = label_HW.flatten() if counted_HW is None else label_HW[counted_HW]
    return torch.bincount(counted, minlength=NUM_CLASSES) / label_HW.numel()


def _above(probability_KHW: Tensor, threshold: float) -> Tensor:
    return (probability_KHW.amax(dim=0) > threshold).float().mean()


def _believed(opinion: Opinion, label_HW: Tensor) -> Tensor:
    return opinion.probability_KHW.gather(0, label_HW[None]).mean()


def _tuple(values_K: Array) -> tuple[float, ...]:
    return tuple(np.asarray(values_K, dtype=np.float64).tolist())
