"""Steps of a round's trainings on fixed crops, in one process or under torchrun, and what they lead to.

python shared_round.py START OUT                              two steps of each training
python shared_round.py START OUT ROUND SOURCE TARGET ASKED    and a whole round in ROUND
"""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptation.learning.data.crop_stream import LabelledCrops
from adaptation.learning.methods.cpsl import Prototypes
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.layers import DropPath
from adaptation.learning.rounds.crops import RoundCrops, TargetCrops
from adaptation.learning.rounds.label_training import LabelTraining
from adaptation.learning.rounds.learning import Learner
from adaptation.learning.rounds.rectification import HeadRectification
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.self_labeler import SelfLabeler
from adaptation.learning.rounds.self_training import SelfTraining
from adaptation.learning.training.processes import Processes, join_processes, leave_processes
from exchange.jobs.recipes import (
    AlignmentConfig,
    AskedLabelsConfig,
    PseudoLabelConfig,
    RoundConfig,
    SelfLabelingConfig,
    SelfTrainingConfig,
)
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from tests.rounds.small_round import CONFIG, ignore, small_round

BATCH = 4
STEPS = 2
SETTINGS = SelfTrainingConfig(
    confidence=0.4,  # some pixels of each process are above, some below
    feature_distance_weight=0.5,
    self_labeling=SelfLabelingConfig(fewest_frames=1, pixels_per_image=32, queue_pixels=128),
    asked_labels=AskedLabelsConfig(),
    alignment=AlignmentConfig(adversarial_weight=0.1, hidden_channels=16),
)
ROUND_CONFIG: RoundConfig = CONFIG.model_copy(update={"self_training": SETTINGS, "budget": 6})


def crops(numbers: range, seed: int) -> RoundCrops:
    """Crops that differ in what they show, so that each quantity of the batch differs between its halves."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 2, 10, 13], size=(BATCH, 4, 4))
    coarse[BATCH // 2 :] = np.where(coarse[BATCH // 2 :] == 10, 11, coarse[BATCH // 2 :])
    labels: NDArray[np.uint8] = np.kron(coarse, np.ones((16, 16))).astype(np.uint8)
    images = rng.integers(256, size=(2, BATCH, 64, 64, 3), dtype=np.uint8)
    images[1, 0] //= 4
    asked = np.full((BATCH, 64, 64), IGNORE_ID, dtype=np.uint8)
    asked[0, 3:9, 3:9] = 11  # only the first process is asked
    part = slice(numbers.start, numbers.stop)
    target = TargetCrops(images[1, part], asked[part], np.ones((len(numbers), 64, 64), np.uint8))
    return RoundCrops(LabelledCrops(images[0, part], labels[part]), target)


def quiet_network(start: Path) -> HRDA:
    """Without dropout and stochastic depth, which draw for the batch at hand."""
    network = load_network(start)
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.probability = 0.0
    return network


def open_student(start: Path, processes: Processes) -> SelfTraining:
    generator = torch.Generator().manual_seed(0)
    network = quiet_network(start)
    channels = 16
    prototypes = Prototypes(NUM_CLASSES, channels)
    prototypes.vectors_CD.copy_(torch.randn(NUM_CLASSES, channels, generator=generator))
    prototypes.counts_C.fill_(5)
    assert SETTINGS.self_labeling is not None
    labeler = SelfLabeler(SETTINGS.self_labeling, channels)
    labeler.begin(prototypes, torch.full((NUM_CLASSES,), 1 / NUM_CLASSES, dtype=torch.float64))
    ratio_C = torch.linspace(-1, 1, NUM_CLASSES)
    return SelfTraining(
        ROUND_CONFIG, SETTINGS, network, ratio_C, labeler, 8, 5, people_labelled=True, processes=processes
    )


def open_head(start: Path, processes: Processes) -> HeadRectification:
    return HeadRectification(
        ROUND_CONFIG, quiet_network(start), torch.linspace(-1, 1, NUM_CLASSES), 8, 5, processes=processes
    )


def open_label_training(start: Path, processes: Processes) -> LabelTraining:
    frequency_C = np.full(NUM_CLASSES, 1e-3)
    return LabelTraining(ROUND_CONFIG, PseudoLabelConfig(), quiet_network(start), frequency_C, 8, 5, processes)


def digest(state: Any) -> str:
    """Of all tensors in a state, in their order."""
    found = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, Tensor):
            found.update(value.detach().contiguous().cpu().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                take(value[key])

    take(state)
    return found.hexdigest()


def take_steps(
    name: str, learner: Learner[Any], part: Callable[[RoundCrops], Any], processes: Processes, out: Path
) -> None:
    """Steps with the warm-up behind them; leaves each step's numbers and the first one's gradients and state."""
    digests, numbers = [], []
    for index in range(STEPS):
        batch = part(crops(processes.share_of(range(BATCH)), index))
        numbers.append(dict(learner.step(batch, iteration=index + 3)))
        digests.append(digest(learner.state()))
        if index == 0 and processes.is_first:
            network: nn.Module = learner.student if isinstance(learner, SelfTraining) else learner.network  # type: ignore[attr-defined]
            gradients = {key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None}
            state = {key: value for key, value in learner.state().items() if key != "optimizer"}
            torch.save({"gradients": gradients, "state": state}, out / f"{name}.pt")
    (out / f"{name}-{processes.rank}.txt").write_text("\n".join(digests))
    if processes.is_first:
        torch.save(numbers, out / f"{name}-numbers.pt")


def take_all_steps(start: Path, out: Path, processes: Processes) -> None:
    torch.set_num_threads(1)
    take_steps("student", open_student(start, processes), lambda batch: batch, processes, out)
    take_steps("head", open_head(start, processes), lambda batch: batch.source, processes, out)
    take_steps("labels", open_label_training(start, processes), lambda batch: batch.source, processes, out)


def main() -> None:
    start, out = map(Path, sys.argv[1:3])
    processes = join_processes()
    take_all_steps(start, out, processes)
    if len(sys.argv) > 3:
        round_out, source, target, asked = map(Path, sys.argv[3:7])
        round_ = small_round(start, source, target, round_out, ROUND_CONFIG)
        adapt(replace(round_, asked=asked), ignore, processes)
    leave_processes()


if __name__ == "__main__":
    main()
