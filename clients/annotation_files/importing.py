"""An import with its entry in the audit, and how it is undone: its answers are those that were given at its moment."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from clients.annotation_files.answers import Import, answer_of, sort_answers, take
from clients.annotation_files.asked_frames import asked_frames
from clients.annotation_files.cityscapes import read_cityscapes
from clients.annotation_files.cvat import Shape, name_of, read_cvat
from clients.annotation_files.refusals import FileRefused, Refusal
from exchange.plain_words import counted
from exchange.regions.batches import NoSuchBatch, change_batch, read_batches
from exchange.regions.tasks import Opinion, RegionBatch
from exchange.registry.audit import AuditEntry, audited, user_at_host
from exchange.storage import StorageRoot

_MOMENT = "%Y%m%dT%H%M%S.%fZ"


class Form(StrEnum):
    """What a folder of labels is like."""

    CVAT = "cvat"
    CITYSCAPES = "cityscapes"


class Taken(NamedTuple):
    import_id: str
    answers: int
    refused: list[Refusal]
    """What somebody else answered meanwhile."""


class Meant(NamedTuple):
    """Which answers out of files are to go: those of an import, of an annotator, or of both."""

    at: datetime | None
    annotator: str

    def has(self, opinion: Opinion) -> bool:
        of_file = opinion.seconds is None
        return of_file and self.at in (None, opinion.at) and self.annotator in ("", opinion.annotator)


class Undone(NamedTuple):
    answers: int
    annotators: list[str]
    batches: list[str]

    def __str__(self) -> str:
        told = f"{counted(self.answers, 'answer')} of {', '.join(self.annotators)}"
        return f"{told} in {counted(len(self.batches), 'batch', 'batches')}"


def read_answers(root: StorageRoot, domain: str, folder: Path, form: Form, annotator: str) -> Import:
    """What a folder or file says of the regions that were asked about.

    Raises:
        FileRefused, OSError: the file. RecordError, StorageError: the root.
    """
    known = {frame.sha256: frame.regions for frame in asked_frames(root, domain, read_batches(root, domain))}
    if form is Form.CITYSCAPES:
        return sort_answers(read_cityscapes(folder, domain, known), known, annotator)
    sizes = {sha256: regions[0].task.size_hw for sha256, regions in known.items()}
    shapes = read_cvat(folder, sizes)
    said = (answer_of(each, known[each.frame_sha256]) if isinstance(each, Shape) else each for each in shapes)
    return sort_answers((each for each in said if each is not None), known, annotator)


def take_audited(root: StorageRoot, domain: str, found: Import, annotator: str, source: str) -> Taken:
    """Writes what is new in a file; `source` says where it came from. Raises RecordError, StorageError."""
    at = datetime.now(UTC)
    import_id = at.strftime(_MOMENT)
    if not found.new:
        return Taken(import_id, 0, [])
    by_class: dict[str, JsonValue] = dict(Counter(name_of(each.label) for each in found.new).most_common())
    told: dict[str, JsonValue] = {
        "import": import_id,
        "annotator": annotator,
        "answers": len(found.new),
        "refused": len(found.refused),
        "source": source,
        "classes": by_class,
        "batches": [*sorted({each.batch_id for each in found.new})],
    }
    with audited(root, AuditEntry(who=user_at_host(), what="import-labels", domain=domain, details=told)):
        taken, refused = take(root, domain, found.new, annotator, at)
    return Taken(import_id, len(taken), refused)


def moment_of(import_id: str) -> datetime:
    """Raises FileRefused where this is no import's id."""
    try:
        return datetime.strptime(import_id, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise FileRefused(
            f"{import_id[:64]!r} is no import's id: roadshift audit tells it of each import-labels"
        ) from None


def undo_audited(root: StorageRoot, domain: str, meant: Meant) -> Undone | None:
    """Takes answers out of files back, so that their regions wait again; None where there is none of them.

    Raises:
        RecordError, StorageError: a batch cannot be read or written; do it again for those that are left.
    """
    batches = read_batches(root, domain)
    found = _undone(_opinions(batches, meant))
    if not found.answers:
        return None
    told: dict[str, JsonValue] = {
        "answers": found.answers,
        "annotators": [*found.annotators],
        "batches": [*found.batches],
    }
    if meant.at is not None:
        told["import"] = meant.at.strftime(_MOMENT)
    with audited(root, AuditEntry(who=user_at_host(), what="undo-import", domain=domain, details=told)):
        gone = [each for batch_id in found.batches for each in _taken_back(root, domain, batch_id, meant)]
    return _undone(gone)


def _taken_back(root: StorageRoot, domain: str, batch_id: str, meant: Meant) -> list[tuple[str, Opinion]]:
    gone: list[tuple[str, Opinion]] = []

    def without(batch: RegionBatch) -> RegionBatch:
        gone[:] = _opinions([batch], meant)
        for task in batch.tasks:
            kept = tuple(opinion for opinion in task.opinions if not meant.has(opinion))
            if kept != task.opinions:
                batch = batch.with_task(task.model_copy(update={"opinions": kept}))
        return batch

    with suppress(NoSuchBatch):  # dropped meanwhile, with what was said in it
        change_batch(root, domain, batch_id, without)
    return gone


def _opinions(batches: list[RegionBatch], meant: Meant) -> Iterator[tuple[str, Opinion]]:
    """Those that are meant, with their batch's id."""
    for batch in batches:
        for task in batch.tasks:
            yield from ((batch.id, opinion) for opinion in task.opinions if meant.has(opinion))


def _undone(gone: "Iterator[tuple[str, Opinion]] | list[tuple[str, Opinion]]") -> Undone:
    listed = list(gone)
    return Undone(
        len(listed), sorted({opinion.annotator for _, opinion in listed}), sorted({batch_id for batch_id, _ in listed})
    )
