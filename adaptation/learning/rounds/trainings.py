"""The steps of a round that train, and the one that measures their pace first."""

import math
from pathlib import Path

import numpy as np

from adaptation.learning.networks.checkpoints import load_network_config, save_network
from adaptation.learning.rounds.budget import Budget, seconds_per_step, write_budget
from adaptation.learning.rounds.distillation import Distillation
from adaptation.learning.rounds.label_training import LabelTraining, write_followed
from adaptation.learning.rounds.learning import close, learn
from adaptation.learning.rounds.prototypes import open_self_labeler
from adaptation.learning.rounds.rectification import HeadRectification
from adaptation.learning.rounds.self_training import SelfTraining
from adaptation.learning.rounds.work import DISTILLATION, LABEL_TRAINING, RECTIFICATION, SELF_TRAINING, Work
from exchange.jobs.recipes import DistillationConfig, PseudoLabelConfig, SelfTrainingConfig

_PLANNED_SHARE = 0.9
"""Of the time that labelling frames leaves."""
_LONG = 1_000_000


def plan(work: Work, folder: Path) -> None:
    """Writes the budget: iterations as asked, or as many as the minutes hold at the pace of a few steps."""
    config = work.config
    if config.budget_in == "iterations":
        if work.processes.is_first:
            write_budget(folder, int(config.budget), config)
        return
    pace_s, labelled_share = 0.0, 0.0
    if config.pseudo_labels is not None:
        # On the source's crops alone: the target's labels are not made yet.
        labelled_share = config.pseudo_labels.share
        training, draw = _on_labels(work, config.pseudo_labels, _LONG), work.source_crops(LABEL_TRAINING)
        pace_s += labelled_share * seconds_per_step(lambda i: training.step(draw(i), i))
    if config.rectified_share > 0:
        head, draw = _head(work, _LONG), work.source_crops(RECTIFICATION)
        pace_s += config.rectified_share * seconds_per_step(lambda i: head.step(draw(i), i))
    if config.self_training is not None:
        # Without self-labels, which cost little and whose prototypes are not measured yet.
        learner = _student(work, config.self_training, work.round.start, None, _LONG)
        draw_both = work.both_crops(SELF_TRAINING)
        pace_s += (1 - config.rectified_share - labelled_share) * seconds_per_step(
            lambda i: learner.step(draw_both(i), i)
        )
    left_s = _PLANNED_SHARE * (60 * config.budget - _labelling_s(work))
    if work.processes.is_first:
        write_budget(folder, max(1, int(left_s / pace_s)), config, pace_s)


def _labelling_s(work: Work) -> float:
    """What labelling frames takes in the whole round: two domains before, prototypes, the target after."""
    settings, frames = work.config.self_training, work.prior.frames
    prototypes = settings.self_labeling.prototype_frames if settings and settings.self_labeling else 0
    labelled = 0
    if (pseudo := work.config.pseudo_labels) is not None:
        views = (1 + (pseudo.statistics == "both")) * (1 + pseudo.mirrored)
        read = 0 if pseudo.statistics == "start" else pseudo.statistics_frames
        enlarged = sum(scale**2 for scale in pseudo.scales)
        labelled = round(views * enlarged * len(work.pseudo_labelled_frames)) + read
    return work.prior.labelling_s / frames * (3 * frames + min(prototypes, frames) + labelled)


def rectify(work: Work, folder: Path, budget: Budget) -> None:
    """Retrains the head; the folder then holds the network."""
    iterations = budget.rectification_iterations
    learner = _head(work, iterations)
    draw, progress = work.source_crops(RECTIFICATION), work.progress("rectifying the head")
    history = learn(learner, draw, iterations, folder, progress, _checkpoint_every_s(work))
    if work.processes.is_first:
        save_network(folder, work.start.config, learner.network.state_dict())
        close(folder, history)


def self_train(
    work: Work, folder: Path, settings: SelfTrainingConfig, network: Path, prototypes: Path | None, budget: Budget
) -> None:
    """Trains student and teacher from a network; the folder then holds both."""
    iterations = budget.self_training_iterations
    learner = _student(work, settings, network, prototypes, iterations)
    draw, progress = work.both_crops(SELF_TRAINING), work.progress("self-training")
    history = learn(learner, draw, iterations, folder, progress, _checkpoint_every_s(work))
    if work.processes.is_first:
        save_network(folder / "student", work.start.config, learner.student.state_dict())
        save_network(folder / "teacher", work.start.config, learner.teacher.network.state_dict())
        close(folder, history)


def learn_labels(work: Work, folder: Path, settings: PseudoLabelConfig, labels: Path, budget: Budget) -> None:
    """Trains on the source's labels and the target's pseudo-labels; the folder then holds the averaged network."""
    iterations = budget.label_iterations
    learner = _on_labels(work, settings, iterations)
    draw, progress = work.labelled_crops(LABEL_TRAINING, labels), work.progress("learning the pseudo-labels")
    history = learn(learner, draw, iterations, folder, progress, _checkpoint_every_s(work))
    if work.processes.is_first:
        save_network(folder, work.start.config, learner.result())
        write_followed(folder, learner.presence_C.tolist())
        close(folder, history)


def distil(work: Work, folder: Path, settings: DistillationConfig, teacher: Path, student: Path) -> None:
    """Trains the small network by the adapted one's labels; the folder then holds it."""
    learner = Distillation(
        work.config,
        settings,
        work.network(teacher),
        work.network(student),
        work.seed(DISTILLATION),
        work.processes,
    )
    draw, progress = work.target_crops(DISTILLATION), work.progress("teaching the small network")
    history = learn(learner, draw, settings.iterations, folder, progress, _checkpoint_every_s(work))
    if work.processes.is_first:
        save_network(folder, load_network_config(student), learner.student.state_dict())
        close(folder, history)


def _checkpoint_every_s(work: Work) -> float:
    """The processes' states are one; the first writes it."""
    return work.round.checkpoint_every_s if work.processes.is_first else math.inf


def _head(work: Work, iterations: int) -> HeadRectification:
    network = work.network(work.round.start)
    return HeadRectification(
        work.config, network, work.log_ratio(), iterations, work.seed(RECTIFICATION), work.processes
    )


def _on_labels(work: Work, settings: PseudoLabelConfig, iterations: int) -> LabelTraining:
    network, seed = work.network(work.round.start), work.seed(LABEL_TRAINING)
    frequency_C = np.array(work.prior.source_pixel_frequency)
    return LabelTraining(work.config, settings, network, frequency_C, iterations, seed, work.processes)


def _student(
    work: Work, settings: SelfTrainingConfig, network: Path, prototypes: Path | None, iterations: int
) -> SelfTraining:
    labeler = None
    if settings.self_labeling is not None and prototypes is not None:
        labeler = open_self_labeler(prototypes, settings.self_labeling, work.device)
    return SelfTraining(
        work.config,
        settings,
        work.network(network),
        work.log_ratio() if work.config.rectified_share > 0 else None,
        labeler,
        iterations,
        work.seed(SELF_TRAINING),
        people_labelled=work.round.asked is not None,
        processes=work.processes,
    )
