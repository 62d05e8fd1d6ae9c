"""The learner's commands: they read options, call one function, and show what it gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import TaskID
from torch import Tensor

from adaptation.cli.terminal import fail, progress_bars, say
from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.data.layouts import LAYOUTS
from adaptation.learning.evaluation.evaluate import confusion_over, open_labeller, parse_size_if, spread
from adaptation.learning.evaluation.scores import score
from adaptation.learning.evaluation.table import scores_table
from adaptation.learning.networks import official_checkpoints
from adaptation.learning.networks.checkpoints import CheckpointError
from adaptation.learning.rounds.learning import Numbers
from adaptation.learning.rounds.report import PAGE_FILE, Report
from adaptation.learning.rounds.run import adapt as run_round
from adaptation.learning.rounds.steps import RoundError
from adaptation.learning.rounds.work import Round
from adaptation.learning.training import recipes
from adaptation.learning.training.errors import TrainingError
from adaptation.learning.training.processes import Processes, join_processes, leave_processes
from adaptation.learning.training.source_data import SourceData, open_source_data
from adaptation.learning.training.start import start_sha256, starting_network
from adaptation.learning.training.train import Run, SourceTraining, check_out, train
from exchange.jobs.recipes import RECIPES as ROUND_RECIPES
from exchange.jobs.recipes import RoundConfig
from exchange.label_space import NUM_CLASSES, SCORED_CLASSES
from exchange.net.request_values import FEWEST_MINUTES, MOST_MINUTES
from exchange.plain_words import counted
from exchange.registry.releases import ReleaseError

_PER_DATA = "Once for all, or once for each --data."

Data = Annotated[list[Path], typer.Option("--data", help="A data set's top folder; may be given several times.")]
Layouts = Annotated[
    list[str] | None, typer.Option("--layout", help=f"{', '.join(LAYOUTS)}; detected by default. {_PER_DATA}")
]
Splits = Annotated[
    list[str] | None,
    typer.Option("--split", help=f"A split's name, or all; by default train to train, val to evaluate. {_PER_DATA}"),
]
SequenceNames = Annotated[
    list[str] | None, typer.Option("--sequences", help=f"Drives or cities to keep, with commas, or all. {_PER_DATA}")
]
OuterCrop = Annotated[
    str | None, typer.Option(help="ROWSxCOLUMNS of outer windows, every half of that; else one over the frame.")
]
DetailCrop = Annotated[str | None, typer.Option(help="ROWSxCOLUMNS of detail windows, every half of that.")]


def train_source(
    data: Data,
    out: Annotated[Path, typer.Option(help="Where the network and training.json go; a cut-off training goes on.")],
    iterations: Annotated[int, typer.Option(min=1)],
    recipe: Annotated[str, typer.Option(help=", ".join(recipes.RECIPES))] = "starter",
    layout: Layouts = None,
    split: Splits = None,
    sequences: SequenceNames = None,
    weight: Annotated[list[float] | None, typer.Option(help=f"Share of the crops. {_PER_DATA}")] = None,
    start: Annotated[Path | None, typer.Option(help="A network's folder, or encoder weights, to start from.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0)] = 3.0,
    cache_gib: Annotated[float, typer.Option(min=0, help="Memory for decoded frames.")] = 4.0,
    loader_threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Train a network on labelled source data.

    Runs in one process, or in several under torchrun; on a GPU where there is one. On a CPU that others use, too, set
    OMP_NUM_THREADS to the cores that are free: threads that wait for each other cost most of the time.
    """
    if recipe not in recipes.RECIPES:
        fail(f"there is no recipe {recipe}: choose one of {', '.join(recipes.RECIPES)}")
    config = recipes.RECIPES[recipe]()
    if batch_size is not None:
        config = config.model_copy(update={"batch_size": batch_size})
    try:
        check_out(out)
        digest = None if start is None else start_sha256(start)
        run = Run(config, iterations, seed, out, checkpoint_minutes * 60.0, loader_threads, digest)
        network = starting_network(config, seed, start)
        choices = choose_data(data, "train", layouts=layout, splits=split, sequences=sequences, weights=weight)
        processes = join_processes()
        source = _open(choices, run, int(cache_gib * 2**30), processes)
        training = SourceTraining(run, network, source, processes)
        _train_with_progress(training)
    except (DataError, TrainingError, CheckpointError, ValueError) as error:
        fail(str(error))
    finally:
        leave_processes()


def evaluate(
    network: Annotated[Path, typer.Argument(help="A network's or a release's folder.")],
    data: Data,
    classes: Annotated[str, typer.Option(help=", ".join(SCORED_CLASSES))] = "19",
    layout: Layouts = None,
    split: Splits = None,
    sequences: SequenceNames = None,
    frame_size: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS; a release's own, or 512x1024.")] = None,
    outer_crop: OuterCrop = None,
    detail_crop: DetailCrop = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the scores are written too.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score this many frames, evenly spread.")] = None,
) -> None:
    """Score a network on labelled frames, class by class."""
    if classes not in SCORED_CLASSES:
        fail(f"there is no class subset {classes}: choose one of {', '.join(SCORED_CLASSES)}")
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        fail(f"--json {json_file} cannot be written: name a file in a folder that exists")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        size, outer, detail = map(parse_size_if, (frame_size, outer_crop, detail_crop))
        labeller = open_labeller(network, size, device, outer_crop=outer, detail_crop=detail)
        choices = choose_data(data, "val", layouts=layout, splits=split, sequences=sequences)
        frames = spread([frame for choice in choices for frame in choice.frames()], limit)
        with progress_bars() as progress:
            task = progress.add_task("evaluating", total=len(frames))
            confusion = confusion_over(labeller, frames, lambda done: progress.update(task, completed=done))
    except (DataError, CheckpointError, ReleaseError, ValueError) as error:
        fail(str(error))
    scores = score(confusion, classes, len(frames))
    if json_file is not None:
        json_file.write_text(scores.model_dump_json(indent=2) + "\n")
    if scores.mean_iou is None:
        fail(
            f"nothing to score: {', '.join(map(str, data))} has no labelled pixel of the {classes} classes in"
            f" {counted(len(frames), 'frame')} (public test labels are void): name another --split, --data or --classes"
        )
    Console().print(scores_table(scores))


def adapt(
    source: Annotated[list[Path], typer.Option(help="A labelled data set's top folder; may be given several times.")],
    target: Annotated[Path, typer.Option(help="A folder of frames; a data set's labels there only score the result.")],
    out: Annotated[Path, typer.Option(help="Where every step leaves its result; a round that was cut off goes on.")],
    recipe: Annotated[str, typer.Option(help=", ".join(ROUND_RECIPES))] = "cpu_quick",
    release: Annotated[Path | None, typer.Option(help="The release to start from.")] = None,
    network: Annotated[Path | None, typer.Option(help="Or the network's folder to start from.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Train-id PNGs that people labelled, 255 where not asked.")
    ] = None,
    student: Annotated[
        Path | None, typer.Option(help="The small network's folder that the adapted one teaches, and that ships.")
    ] = None,
    source_split: Annotated[list[str] | None, typer.Option(help="A split's name, or all; train by default.")] = None,
    source_sequences: Annotated[list[str] | None, typer.Option(help="Drives to keep, with commas, or all.")] = None,
    target_split: Annotated[str, typer.Option(help="Of a target that is a data set with splits.")] = "train",
    minutes: Annotated[float | None, typer.Option(help="Budget of the whole round.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Budget of the training.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    frame_size: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS; a release's own, or 512x1024.")] = None,
    classes: Annotated[str, typer.Option(help=f"What is scored: {', '.join(SCORED_CLASSES)}")] = "19",
    export: Annotated[bool, typer.Option(help="Build a release of the adapted network.")] = True,
) -> None:
    """Adapt a network to where the fleet drives: one round, from a folder of frames to a release and a report.

    Runs in one process, or in several under torchrun; on a GPU where there is one.
    """
    if classes not in SCORED_CLASSES:
        fail(f"there is no class subset {classes}: choose one of {', '.join(SCORED_CLASSES)}")
    start = release or network
    if start is None or (release and network):
        fail("give --release or --network, one of the two")
    config = _round_config(recipe, minutes, iterations)
    try:
        round_ = Round(
            config,
            start,
            choose_data(source, "train", splits=source_split, sequences=source_sequences),
            target,
            out,
            seed=seed,
            target_split=target_split,
            asked=labels,
            student=student,
            frame_size=parse_size_if(frame_size),
            classes=classes,
            export=export,
        )
        processes = join_processes()
        report = _adapt_with_progress(round_, processes)
    except (DataError, CheckpointError, ReleaseError, RoundError, ValueError) as error:
        fail(str(error))
    finally:
        leave_processes()
    if not processes.is_first:
        return
    evaluation = Report.read(report).evaluation
    if evaluation.scores_after is not None:
        Console().print(scores_table(evaluation.scores_after))
    result = out / ("release" if export else "network")
    say(f"{result} holds the adapted {result.name}, {report / PAGE_FILE} the report")


def _round_config(recipe: str, minutes: float | None, iterations: int | None) -> RoundConfig:
    if recipe not in ROUND_RECIPES:
        fail(f"there is no recipe {recipe}: choose one of {', '.join(ROUND_RECIPES)}")
    if minutes is not None and (iterations is not None or not FEWEST_MINUTES <= minutes <= MOST_MINUTES):
        fail(f"give a budget in --minutes (from {FEWEST_MINUTES} to {MOST_MINUTES}) or in --iterations, one of the two")
    config = ROUND_RECIPES[recipe]()
    if minutes is not None:
        return config.with_budget(minutes, "minutes")
    return config if iterations is None else config.with_budget(iterations, "iterations")


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="An official HRDA or DAFormer checkpoint.")],
    out: Annotated[Path, typer.Option(help="Where the network goes.")],
    teacher: Annotated[bool, typer.Option("--teacher", help="Take the averaged model, not the student.")] = False,
) -> None:
    """Read an official HRDA or DAFormer checkpoint."""
    try:
        read = official_checkpoints.import_checkpoint(file, out, teacher=teacher)
    except ValueError as error:
        fail(str(error))
    what = "teacher" if read.teacher else "student"
    when = "an unknown iteration" if read.iteration is None else f"iteration {read.iteration}"
    names = "unnamed" if read.classes is None else ", ".join(read.classes)
    say(f"{file}: {what} of {when}, layout {read.layout}")
    sizes = "".join(f", {name} {size}" for name, size in read.config.dims.items())
    say(f"network: {read.config.encoder} with head {read.config.head}, detail branch {read.config.detail}{sizes}")
    say(f"classes ({read.config.num_classes}): {names}")
    if read.reordered:
        say("the file had them in another order: its outputs are brought into that of Cityscapes' train ids")
    if read.classes is None and read.config.num_classes == NUM_CLASSES:
        say("its outputs are taken for Cityscapes' classes in the order of their train ids")
    if read.config.num_classes != NUM_CLASSES:
        say(f"it is kept, but not of use here: evaluate, export and adapt take networks of {NUM_CLASSES} classes alone")
    if not read.verified:
        say("unverified: no reference outputs of the authors were at hand for this kind of checkpoint")
    say(f"{out} holds the network")


def _open(choices: Sequence[DataChoice], run: Run, cache_bytes: int, processes: Processes) -> SourceData:
    with progress_bars(hidden=not processes.is_first) as progress:
        task = progress.add_task("counting classes", total=None)
        return open_source_data(
            choices,
            run.config,
            seed=run.seed,
            cache_bytes=cache_bytes,
            threads=max(2, run.loader_threads),
            on_frame=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _adapt_with_progress(round_: Round, processes: Processes) -> Path:
    with progress_bars(hidden=not processes.is_first) as progress:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, numbers: Numbers) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            notes = "".join(
                f", {name} {numbers[name]:.3f}" for name in ("loss", "estimated accuracy") if name in numbers
            )
            progress.update(tasks[what], completed=done, description=what + notes)

        return run_round(round_, show, processes)


def _train_with_progress(training: SourceTraining) -> None:
    with progress_bars(hidden=not training.processes.is_first) as progress:
        task = progress.add_task("training", total=training.run.iterations)
        mean: float | None = None

        def show(done: int, loss: Tensor) -> None:
            nonlocal mean
            if mean is None or done % 10 == 1:
                mean = float(loss) if mean is None else 0.8 * mean + 0.2 * float(loss)
            progress.update(task, completed=done, description=f"training, loss {mean:.3f}")

        train(training, show)
    if training.processes.is_first:
        say(f"{training.run.out} holds the network and training.json")
