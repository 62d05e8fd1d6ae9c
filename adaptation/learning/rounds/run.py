"""A whole round: snapshot, prior, budget, rectification, self-training or pseudo-labels, network, evaluation, release,
report.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_image
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.export.adaptation_record import ADAPTATION_FILE, AdaptationRecord
from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.export.calibration import CALIBRATION_FRAMES, fit_labelled
from adaptation.learning.export.release import ExportSettings, ParityError, SourceStatistics, export_release
from adaptation.learning.export.source_presence import SOURCE_PRESENCE_FRAMES
from adaptation.learning.networks.checkpoints import WEIGHTS_FILE, load_network, load_network_config, save_network
from adaptation.learning.rounds.budget import Budget
from adaptation.learning.rounds.evaluation import Evaluation, evaluate_round
from adaptation.learning.rounds.label_training import read_followed
from adaptation.learning.rounds.prior import NamedImage, measure_prior
from adaptation.learning.rounds.prototypes import measure_prototypes
from adaptation.learning.rounds.pseudo_labels import make_pseudo_labels
from adaptation.learning.rounds.report import write_report
from adaptation.learning.rounds.snapshot import SNAPSHOT_FILE, freeze, source_frames
from adaptation.learning.rounds.start import open_start
from adaptation.learning.rounds.steps import ROUND_FILE, RoundError, claimed, step
from adaptation.learning.rounds.trainings import distil, learn_labels, plan, rectify, self_train
from adaptation.learning.rounds.work import OnProgress, Round, Work
from adaptation.learning.training.processes import Processes
from exchange.images.frame_fitting import fit_frame
from exchange.jobs.recipes import PseudoLabelConfig, RoundConfig, SelfLabelingConfig
from exchange.registry.releases import OutputPriorIs, file_sha256

_COMPARED_FRAMES = 4
State = Mapping[str, Tensor]


def adapt(round_: Round, on_progress: OnProgress, processes: Processes | None = None) -> Path:
    """Runs a round, or goes on with it where it was cut off; returns the folder of its report.

    Every step leaves a folder under `out`, and reads what it needs from those before it. A resumed round gives the
    same weights to the bit as an uninterrupted one (same seed, number of processes and threads, and machine).

    Args:
        processes: those that torchrun started, which share the trainings and meet in `out`; by default this one alone.

    Raises:
        DataError: frames or labels that are missing or damaged.
        CheckpointError, ReleaseError, ValueError: a start that cannot be opened at this frame size.
        RoundError: `out` holds another round or is at work, the source changed since it began, a loss is not finite,
            or no engine can be built that agrees with the network (which is kept).
    """
    if processes is None:
        processes = Processes(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    processes.share_of(range(round_.config.batch_size))
    if (round_.config.distillation is None) != (round_.student is None):
        raise ValueError(f"recipe {round_.config.recipe} teaches no small network, or lacks one: see --student")
    start = open_start(round_.start, round_.frame_size, processes.device)
    work = Work(round_, start, on_progress, processes)
    with claimed(round_.out, _identity(work)) if processes.is_first else nullcontext():
        return _take_steps(work, round_.out)


def _take_steps(work: Work, out: Path) -> Path:
    settings = work.config.self_training

    def alone(name: str, do: Callable[[Path], None]) -> Path:
        return step(out, name, do, work.processes)

    def together(name: str, do: Callable[[Path], None]) -> Path:
        return step(out, name, do, work.processes, together=True)

    alone("snapshot", lambda folder: _freeze(work, folder))
    alone("prior", lambda folder: _measure_prior(work, folder))
    budget = Budget.read(together("budget", lambda folder: plan(work, folder)))
    trained = work.round.start
    if budget.rectification_iterations:
        trained = together("rectification", lambda folder: rectify(work, folder, budget))
    if (pseudo := work.config.pseudo_labels) is not None:
        labels = alone("pseudo_labels", lambda folder: _make_pseudo_labels(work, folder, pseudo))
        trained = together("label_training", lambda folder: learn_labels(work, folder, pseudo, labels, budget))
    if settings is not None:
        before, prototypes = trained, None
        if (prototyped := settings.self_labeling) is not None:
            prototypes = alone("prototypes", lambda folder: _measure_prototypes(work, folder, before, prototyped))
        both = together("self_training", lambda folder: self_train(work, folder, settings, before, prototypes, budget))
        trained = both / settings.ships
    if (distillation := work.config.distillation) is not None and (small := work.round.student) is not None:
        large = trained
        trained = together("distillation", lambda folder: distil(work, folder, distillation, large, small))
    network = alone("network", lambda folder: _ship(work, folder, trained, budget))
    evaluation = alone("evaluation", lambda folder: _evaluate(work, folder, network))
    if work.round.export and work.processes.is_first and not (out / "release").exists():
        shutil.rmtree(out / "report", ignore_errors=True)  # a report of before does not link to it
        _release(work, out / "release", network, Evaluation.read(evaluation))
    return alone("report", lambda folder: write_report(folder, out))


def _identity(work: Work) -> dict[str, str]:
    """What must be equal for a round to be gone on with."""
    round_, start = work.round, work.start
    sources = (f"{c.folder.resolve()} {c.layout} {c.split} {','.join(c.sequences)}" for c in round_.sources)
    return {
        "recipe": round_.config.model_dump_json(),
        "start": start.sha256,
        "source": "; ".join(sources),
        "target": f"{round_.target.resolve()} {round_.target_split}",
        "labels folder": str(round_.asked and round_.asked.resolve()),
        "frame size": "{}x{}".format(*start.labeller.frame_size),
        "student": "-" if round_.student is None else file_sha256(round_.student / WEIGHTS_FILE),
        "seed": str(round_.seed),
        "number of processes": str(work.processes.count),
        "scored classes": round_.classes,
    }


def _freeze(work: Work, folder: Path) -> None:
    round_ = work.round
    counter = work.counter("copying frames")
    freeze(folder, round_.sources, round_.target, round_.target_split, round_.asked, counter)


def _measure_prior(work: Work, folder: Path) -> None:
    opened = source_frames(work.snapshot, work.round.sources)
    source = [frame.image for frames, _ in opened for frame in frames]
    measure_prior(
        folder,
        work.labeller(work.round.start),
        work.config.estimator,
        [NamedImage(frame.name, work.snapshot / frame.image, frame.drive) for frame in work.measured_frames],
        spread(source, work.config.measured_frames),
        np.concatenate([counts for _, counts in opened]),
        work.start.source_prior,
        work.round.seed,
        work.counter("measuring the prior"),
    )


def _measure_prototypes(work: Work, folder: Path, network: Path, settings: SelfLabelingConfig) -> None:
    frames = spread(work.measured_frames, settings.prototype_frames)
    images = [work.snapshot / frame.image for frame in frames]
    measure_prototypes(folder, work.labeller(network), images, work.counter("measuring prototypes"))


def _make_pseudo_labels(work: Work, folder: Path, settings: PseudoLabelConfig) -> None:
    make_pseudo_labels(
        folder,
        work.labeller(work.round.start),
        work.snapshot,
        work.pseudo_labelled_frames,
        settings,
        work.counter("labelling the target"),
    )


def _output_prior(work: Work, budget: Budget) -> tuple[list[float], OutputPriorIs]:
    if work.config.pseudo_labels is not None and work.config.self_training is None:
        return read_followed(work.round.out / "label_training"), "both domains' prior, learnt"
    if budget.rectification_iterations > 0:
        return work.prior.output_prior_rectified, "the target's prior, applied once"
    return work.prior.output_prior_before, "the source's prior"


def _ship(work: Work, folder: Path, trained: Path, budget: Budget) -> None:
    output_prior, output_prior_is = _output_prior(work, budget)
    record = AdaptationRecord(
        recipe=work.config.recipe,
        ships=_ships(work.config),
        seed=work.round.seed,
        iterations=_iterations(work.config, budget),
        parent_sha256=work.start.sha256,
        round_sha256=file_sha256(work.round.out / ROUND_FILE),
        snapshot_sha256=file_sha256(work.snapshot / SNAPSHOT_FILE),
        frame_size=work.start.labeller.frame_size,
        output_prior=output_prior,
        output_prior_is=output_prior_is,
        source_pixel_frequency=work.prior.source_pixel_frequency,
    )
    state = load_network(trained).state_dict()
    if work.config.interpolation < 1:
        start = load_network(work.round.start, work.start.config).state_dict()
        state = interpolated(start, state, work.config.interpolation)
    save_network(folder, load_network_config(trained), state)
    (folder / ADAPTATION_FILE).write_text(record.model_dump_json(indent=2) + "\n")


def interpolated(start: State, trained: State, share: float) -> dict[str, Tensor]:
    """Return the weights at that share of the way from the start's to the trained ones; counters are the latter's."""
    return {
        name: start[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }


def _iterations(config: RoundConfig, budget: Budget) -> int:
    distilled = config.distillation.iterations if config.distillation else 0
    trained = budget.rectification_iterations + budget.label_iterations + budget.self_training_iterations
    return trained + distilled


def _ships(config: RoundConfig) -> str:
    if config.distillation is not None:
        return "small network"
    if config.self_training is not None:
        return config.self_training.ships
    return "averaged weights" if config.pseudo_labels is not None else "rectified head"


def _evaluate(work: Work, folder: Path, network: Path) -> None:
    evaluate_round(
        folder,
        work.labeller(network),
        work.snapshot,
        work.measured_frames,
        work.round.out / "prior" / "labels",
        work.prior.mean_confidence,
        work.round.classes,
        work.counter("evaluating"),
    )


def _release(work: Work, out: Path, network: Path, evaluation: Evaluation) -> None:
    """Builds the release, whole or not at all, once its engine agrees with torch on some of the target's frames."""
    labeller = work.start.labeller
    settings = ExportSettings(work.start.engine, work.start.precision, labeller.frame_size, labeller.windows)
    compared = spread(work.measured_frames, _COMPARED_FRAMES)
    frames = (fit_frame(read_image(work.snapshot / frame.image), labeller.frame_size) for frame in compared)
    counter = work.counter("comparing the engine with torch")
    statistics = SourceStatistics.of_training(network, evaluation.figures())
    try:
        export_release(
            network,
            out,
            settings,
            statistics,
            frames,
            lambda done: counter(done, len(compared)),
            (fit_labelled(frame, labeller.frame_size) for frame in _held_out(work.round.sources)),
            (fit_frame(read_image(frame.image), labeller.frame_size) for frame in _seen(work.round.sources)),
        )
    except (ParityError, TensorRTError) as error:
        raise RoundError(
            f"{error}; {network} holds the adapted network: build it another way by roadshift export, and repeat this"
            " command with --no-export for the report"
        ) from error


def _held_out(sources: Sequence[DataChoice]) -> list[LabelledFrame]:
    """Of the sources that have a split beside the one that is trained on; the gate calibrates where none has."""
    frames: list[LabelledFrame] = []
    for choice in sources:
        if choice.split is not None and choice.split != "val":
            with suppress(DataError):
                frames += replace(choice, split="val", sequences=()).frames()
    return spread(frames, CALIBRATION_FRAMES)


def _seen(sources: Sequence[DataChoice]) -> list[LabelledFrame]:
    """Of the frames that the round learns from, whose prior its outputs follow."""
    return spread([frame for choice in sources for frame in choice.frames()], SOURCE_PRESENCE_FRAMES)
