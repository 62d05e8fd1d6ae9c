"""`roadshift export` and `roadshift parity`."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from adaptation.cli.terminal import fail, say
from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_frame
from adaptation.learning.evaluation.evaluate import DEFAULT_FRAME_SIZE, parse_size, parse_size_if, spread
from adaptation.learning.export.adaptation_record import ADAPTATION_FILE, AdaptationRecord
from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.export.calibration import CALIBRATION_FRAMES, fit_labelled
from adaptation.learning.export.export_onnx import export_onnx
from adaptation.learning.export.parity import FrameAndValid, Parity, measure_parity
from adaptation.learning.export.release import ExportSettings, ParityError, SourceStatistics, export_release
from adaptation.learning.export.source_presence import SOURCE_PRESENCE_FRAMES
from adaptation.learning.export.street_frames import street_frames
from adaptation.learning.networks.checkpoints import CheckpointError, load_network_config
from adaptation.learning.networks.frame_sizes import with_crops
from adaptation.learning.training.record import RECORD_NAME
from exchange.images.frame_fitting import fit_frame
from exchange.label_space import CLASS_NAMES
from exchange.networks import whole_frame_windows
from exchange.plain_words import counted
from exchange.registry.releases import Engine, Precision, ReleaseError, verify_release

_ERRORS = (CheckpointError, DataError, ReleaseError, TensorRTError, ValueError)

Data = Annotated[
    list[Path] | None,
    typer.Option("--data", help="Labelled frames to compare on; else four that ship, of the simulated city."),
]
Split = Annotated[str | None, typer.Option(help="A split's name, or all; val by default.")]
Limit = Annotated[int, typer.Option(min=1, help="Compare on this many frames, evenly spread.")]


def export(
    network: Annotated[Path, typer.Argument(help="A network's folder.")],
    out: Annotated[Path, typer.Option(help="The release's folder; it must not exist.")],
    engine: Annotated[str, typer.Option(help=", ".join(get_args(Engine)))] = "openvino",
    precision: Annotated[str, typer.Option(help=", ".join(get_args(Precision)))] = "fp32",
    frame_size: Annotated[
        str | None,
        typer.Option(help="ROWSxCOLUMNS of the engine's frames; those of its round by default, or 512x1024."),
    ] = None,
    outer_crop: Annotated[str | None, typer.Option(help="Outer windows, every half of that; else the frame.")] = None,
    detail_crop: Annotated[str | None, typer.Option(help="Detail windows, every half of that.")] = None,
    half_weights: Annotated[bool, typer.Option(help="Round the weights to float16: half the space.")] = False,
    onnx: Annotated[
        Path | None,
        typer.Option(help="Write the graph in float32 to this file, too, compared in onnxruntime; TensorRT reads it."),
    ] = None,
    data: Data = None,
    split: Split = None,
    limit: Limit = 8,
) -> None:
    """Build a release: weights, engine and manifest. Nothing is written unless engine and reference agree.

    An export that is killed leaves `.NAME.partial` beside the release; the next one to the same name removes it.
    """
    if engine not in get_args(Engine):
        fail(f"there is no engine {engine}: choose one of {', '.join(get_args(Engine))}")
    if precision not in get_args(Precision):
        fail(f"there is no precision {precision}: choose one of {', '.join(get_args(Precision))}")
    try:
        load_network_config(network)
        adapted = AdaptationRecord.read(network) if (network / ADAPTATION_FILE).exists() else None
        size = parse_size(frame_size) if frame_size else adapted.frame_size if adapted else DEFAULT_FRAME_SIZE
        windows = with_crops(whole_frame_windows(size), parse_size_if(outer_crop), parse_size_if(detail_crop))
        settings = ExportSettings(engine, precision, size, windows, half_weights)  # type: ignore[arg-type]  # checked
        labelled = _labelled(data, split)
        if onnx is not None:
            _show(export_onnx(network, onnx, settings, _frames(labelled, size, limit), _say_progress), onnx)
        statistics, frames = _statistics(network, labelled), _frames(labelled, size, limit)
        held_out = (fit_labelled(frame, size) for frame in spread(labelled, CALIBRATION_FRAMES))
        source = (fit_frame(read_frame(frame)[0], size) for frame in spread(labelled, SOURCE_PRESENCE_FRAMES))
        _, parity = export_release(network, out, settings, statistics, frames, _say_progress, held_out, source)
    except ParityError as error:
        Console().print(parity_table(error.parity))
        fail(str(error))
    except _ERRORS as error:
        fail(str(error))
    _show(parity, out)


def parity(
    release: Annotated[Path, typer.Argument(help="A release's folder.")],
    data: Data = None,
    split: Split = None,
    limit: Limit = 8,
) -> None:
    """Compare a release's engine with the torch reference, overall and class by class."""
    try:
        manifest = verify_release(release)
        frames = _frames(_labelled(data, split), manifest.frame_size, limit)
        measured = measure_parity(release, manifest, frames, _say_progress)
    except _ERRORS as error:
        fail(str(error))
    Console().print(parity_table(measured))
    if not measured.passes:
        fail(f"{release} differs from its weights in {', '.join(measured.failures)}: do not serve it; export it again")


def parity_table(parity: Parity) -> Table:
    table = Table("class", "IoU with the reference %", "reference pixels")
    for column in table.columns[1:]:
        column.justify = "right"
    pixels = parity.confusion_KK.sum(axis=1)
    for name, iou, count, judged in zip(CLASS_NAMES, parity.class_iou, pixels, parity.judged, strict=True):
        if not math.isnan(iou):
            table.add_row(name, f"{100 * iou:.3f}", f"{count:,}" if judged else f"{count:,} (not judged)")
    table.add_section()
    table.add_row("equal labels", f"{100 * parity.agreement:.4f}", f"{int(pixels.sum()):,}")
    table.add_row("largest logit error", "-" if parity.logit_error is None else f"{parity.logit_error:.2g}", "")
    table.add_row("largest confidence error", f"{parity.confidence_error} of 255", "")
    table.add_row("largest statistics error", f"{parity.statistics_error:.2g}", "")
    table.caption = f"{counted(parity.frames, 'frame')}, {parity.precision}: {'passes' if parity.passes else 'FAILS'}"
    return table


def _show(parity: Parity, written: Path) -> None:
    Console().print(parity_table(parity))
    say(f"{written} is written")


def _statistics(network: Path, labelled: list[LabelledFrame]) -> SourceStatistics:
    """From the network's own record, or where it has none from the labels."""
    recorded = any((network / name).exists() for name in (ADAPTATION_FILE, RECORD_NAME))
    if recorded or not labelled:
        return SourceStatistics.of_training(network)
    return SourceStatistics.of_labels(np.stack([_class_counts(frame) for frame in labelled]))


def _labelled(folders: list[Path] | None, split: str | None) -> list[LabelledFrame]:
    choices = choose_data(folders, "val", splits=[split] if split else None) if folders else []
    return [frame for choice in choices for frame in choice.frames()]


def _class_counts(frame: LabelledFrame) -> np.ndarray:
    return count_classes(read_frame(frame)[1])


def _frames(labelled: list[LabelledFrame], size: tuple[int, int], limit: int) -> Iterator[FrameAndValid]:
    if not labelled:
        yield from street_frames(size, limit)
    for frame in spread(labelled, limit):
        yield fit_frame(read_frame(frame)[0], size)


def _say_progress(done: int) -> None:
    say(f"compared on {done} frames", end="\r")
