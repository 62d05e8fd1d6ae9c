"""One way to choose regions, round after round: asked, labelled at the desk, learnt from, scored."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from adaptation.control.labeling.asking import DOUBLE_SHARE
from adaptation.control.rounds.captured_snapshot import copy_captured
from adaptation.control.rounds.laid_out_frames import lay_out
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_frame
from adaptation.learning.evaluation.evaluate import confusion_over, open_labeller
from adaptation.learning.evaluation.scores import score
from adaptation.learning.rounds.region_requests import full_size_logits
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.work import Round
from adaptation.learning.workers.pick_regions import pick
from benchmarks.annotation.people import label_all
from benchmarks.gate.city import TARGET, City, crop_settings
from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import CapturedFrame, FrameMetadata, encode_members, join_shard
from exchange.images.labels import encode_gray_png
from exchange.jobs.picking_order import PickingOrder
from exchange.jobs.recipes import AskedLabelsConfig, RoundConfig, SelfTrainingConfig, full
from exchange.jobs.round_files import ASKED_FOLDER, TARGET_FOLDER
from exchange.label_space import IGNORE_ID
from exchange.regions.batches import create_batch, keep_frame, read_batches
from exchange.regions.labels import region_labels
from exchange.regions.tasks import RegionBatch, RegionTask, new_batch_id, tasks_of
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import ShardName

Choice = Literal["acquisition", "random"]
"""As the learner picks regions, or anywhere."""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class AfterRound(BaseModel):
    """What an arm has after a round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean_iou: float
    """Of dusk drives that nothing was trained on, all 19 classes; a class that they lack counts nowhere."""
    iou: dict[str, float | None]
    clicks: int
    regions: int
    labelled_pixels: int
    """In frames that are learnt from."""
    right: float
    """Share of these pixels whose label is true."""
    corrected_pixels: int
    """Of these: the label is true, and the network that asked had said otherwise."""
    agreement: float | None


@dataclass(frozen=True)
class Arm:
    city: City
    choice: Choice
    folder: Path
    seed: int
    clicks: int
    mistakes: float
    iterations: int

    def run(self, start: Path, rounds: int, on_round: Callable[[], None]) -> list[AfterRound]:
        """Rounds that were finished before are read."""
        root = open_root(str(self.folder / "root"))
        truth = _capture(root, self.city.target.frames())
        network, results = start, []
        for number in range(1, rounds + 1):
            folder = self.folder / f"round-{number}"
            kept = folder / "result.json"
            if not kept.exists():
                folder.mkdir(exist_ok=True)
                self._ask(root, network, number)
                label_all(root, TARGET, truth, self.mistakes, self.seed)
                self._learn(root, network, folder, number)
                kept.write_text(self._score(root, folder / "out" / "network", truth).model_dump_json())
            network = folder / "out" / "network"
            results.append(AfterRound.model_validate(json.loads(kept.read_text())))
            on_round()
        return results

    def _ask(self, root: StorageRoot, network: Path, number: int) -> None:
        if len(batches := read_batches(root, TARGET)) >= number:
            return
        labeller = open_labeller(network, self.city.size_hw, torch.device("cpu"))
        asked: dict[str, tuple[RegionTask, ...]] = {}
        for task in tasks_of(batches):
            asked[task.frame_sha256] = (*asked.get(task.frame_sha256, ()), task)
        seed = None if self.choice == "acquisition" else 100 * self.seed + number
        order = PickingOrder(
            release=None,
            version=number,
            clicks=self.clicks,
            random_seed=seed,
            double_share=DOUBLE_SHARE,
            asked_before=asked,
        )
        frames = {_sha256(frame): frame for frame in _captured(self.city.target.frames())}
        picked = pick(frames, lambda frame: full_size_logits(labeller, decode_rgb(frame)), order)
        for sha256, frame in picked.frames.items():
            keep_frame(root, TARGET, sha256, frame)
        at = BEGIN + timedelta(days=number)
        batch = RegionBatch(
            id=new_batch_id(at, f"{number:06x}"),
            domain=TARGET,
            asked_by="benchmark",
            asked_at=at,
            clicks=self.clicks,
            random_seed=seed,
            phase="open",
            tasks=picked.tasks,
        )
        create_batch(root, batch)

    def _learn(self, root: StorageRoot, start: Path, folder: Path, number: int) -> None:
        round_id = f"{number:016x}"
        if not (folder / TARGET_FOLDER).exists():
            lay_out(root, round_id, copy_captured(root, TARGET, round_id), folder)
        round_ = Round(
            recipe(self.city.size_hw, self.iterations),
            start,
            [self.city.source],
            folder / TARGET_FOLDER,
            folder / "out",
            seed=1000 * self.seed + number,
            asked=folder / ASKED_FOLDER if (folder / ASKED_FOLDER).exists() else None,
            frame_size=self.city.size_hw,
            export=False,
        )
        adapt(round_, lambda what, done, total, numbers: None)

    def _score(self, root: StorageRoot, network: Path, truth: Mapping[str, NDArray[np.uint8]]) -> AfterRound:
        batches = read_batches(root, TARGET)
        tasks = list(tasks_of(batches))
        agreed = [task.agreed for task in tasks if task.agreed is not None]
        labelled, right, corrected = 0, 0, 0
        for found in region_labels(root, TARGET, batches):
            if found.tasks[0].is_held_out:
                continue
            is_right_HW = found.labels_HW == truth[found.frame_sha256]
            labelled += int((found.labels_HW != IGNORE_ID).sum())
            right += int((is_right_HW & (found.labels_HW != IGNORE_ID)).sum())
            for task in found.tasks:
                box = task.box
                inside = is_right_HW[box.top : box.bottom, box.left : box.right]
                if task.label != task.predicted:
                    corrected += int(inside[task.segment_hw].sum())
        scores = dusk_scores(network, self.city)
        return AfterRound(
            mean_iou=scores[0],
            iou=scores[1],
            clicks=sum(len(task.opinions) for task in tasks),
            regions=len(tasks),
            labelled_pixels=labelled,
            right=right / max(labelled, 1),
            corrected_pixels=corrected,
            agreement=sum(agreed) / len(agreed) if agreed else None,
        )


def dusk_scores(network: Path, city: City) -> tuple[float, dict[str, float | None]]:
    """Return mIoU, and IoU by class. Raises DataError where no pixel of the held-out frames is labelled."""
    labeller = open_labeller(network, city.size_hw, torch.device("cpu"))
    frames = city.target_held_out.frames()
    scored = score(confusion_over(labeller, frames, lambda done: None), "19", len(frames))
    if scored.mean_iou is None:
        raise DataError(f"{city.target_held_out.folder} has no labelled pixel to score: render the city anew")
    return scored.mean_iou, scored.iou


def recipe(size_hw: tuple[int, int], iterations: int) -> RoundConfig:
    """RIPU's losses beside a mean teacher; the source keeps its daylight, so that dusk is learnt from dusk alone.

    The few labelled pixels of a crop weigh a fifth of the source: at the authors' weight, for labels in every frame,
    what nobody was asked about is forgotten.
    """
    crops = crop_settings(size_hw, wide=False)
    student = SelfTrainingConfig(
        teacher_warm_start=True,
        teacher_decay=0.99,
        frozen_statistics=True,
        feature_distance_weight=0.0,
        asked_pixel_weight=1.0,
        asked_labels=AskedLabelsConfig(cross_entropy_weight=0.2),
        ships="teacher",
    )
    return full().model_copy(
        update={
            "recipe": "annotation_benchmark",
            "crops": crops,
            "detail_hw": crops.crop_hw,
            "batch_size": 2,
            "warmup_iterations": 5,
            "measured_frames": 8,
            "rectified_share": 0.0,
            "self_training": student,
            "budget": iterations,
            "budget_in": "iterations",
        }
    )


def _capture(root: StorageRoot, frames: tuple[LabelledFrame, ...]) -> dict[str, NDArray[np.uint8]]:
    """Leaves the frames as a gateway captures them, once; returns their truth."""
    key = ShardName(TARGET, "gw-a", BEGIN, len(frames)).key
    captured = list(_captured(frames))
    if root.read_if_any(key) is None:
        root.create(key, join_shard(map(encode_members, captured)))
    return {_sha256(frame): read_frame(found)[1] for frame, found in zip(captured, frames, strict=True)}


def _captured(frames: tuple[LabelledFrame, ...]) -> list[CapturedFrame]:
    captured = []
    for number, frame in enumerate(frames):
        image_HW3, _ = read_frame(frame)
        nothing = encode_gray_png(np.zeros(image_HW3.shape[:2], np.uint8))
        metadata = FrameMetadata(
            key=f"dusk-{number}",
            domain=TARGET,
            gateway="gw-a",
            vehicle="car",
            drive=f"drive-{number // 4}",
            captured_at=BEGIN,
            model_version=1,
            prior_id="none",
            image="rgb",
            size_hw=(image_HW3.shape[0], image_HW3.shape[1]),
            mean_confidence=0.0,
            class_fractions=(0.0,) * 19,
            presence=(0.0,) * 19,
            mean_probability=(0.0,) * 19,
            kept_for="uniform",
        )
        captured.append(CapturedFrame(metadata, image_HW3.tobytes(), nothing, nothing))
    return captured


def _sha256(frame: CapturedFrame) -> str:
    return hashlib.sha256(frame.image).hexdigest()
