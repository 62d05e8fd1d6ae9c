"""A release from outside enters the ledger: checked file by file, and its engine against the torch reference."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from adaptation.learning.data.labelled_frames import read_image
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.export.parity import FrameAndValid, Parity, measure_parity
from adaptation.learning.export.street_frames import street_frames
from adaptation.learning.networks.checkpoints import CheckpointError
from adaptation.learning.rounds.snapshot import list_target
from exchange.images.frame_fitting import fit_frame
from exchange.registry import LedgerEntry, publish
from exchange.registry.audit import AuditEntry, audited
from exchange.registry.releases import ReleaseError, verify_release
from exchange.storage import StorageRoot

PARITY_FRAMES = 8


class ParityFailed(ReleaseError):
    """The engine computes something else than its weights say."""

    def __init__(self, release: Path, parity: Parity) -> None:
        super().__init__(f"{release} does not compute what its weights say: nothing was added; export it again")
        self.parity = parity


def add_release(
    root: StorageRoot,
    release: Path,
    *,
    who: str,
    why: str = "",
    parent: int | None = None,
    frames: Path | None = None,
    on_frame: Callable[[int], None] = lambda _: None,
) -> tuple[LedgerEntry, Parity]:
    """Publishes a local release whose engine agrees with its weights.

    Args:
        parent: the version that it was learned from; none for a release that begins a line of its own.
        frames: images, or a data set, to compare on; the package's street frames where there are none.

    Raises:
        ParityFailed: it does not.
        ReleaseError: the folder is no sound release, its engine does not load here, or the parent is unknown.
        DataError: there are no frames in that folder.
        RecordError, StorageError: the root cannot be read or written.
    """
    manifest = verify_release(release)
    with loading():
        parity = measure_parity(release, manifest, parity_frames(frames, manifest.frame_size), on_frame)
    if not parity.passes:
        raise ParityFailed(release, parity)
    details: dict[str, JsonValue] = {
        "release": str(release),
        "parity": parity.agreement,
        "parity frames": parity.frames,
    }
    with audited(root, AuditEntry(who=who, what="add", why=why, details=details)):
        return publish(root, release, by=who, origin="added", parent=parent), parity


def parity_frames(folder: Path | None, frame_size: tuple[int, int]) -> Iterator[FrameAndValid]:
    """A few of a folder's images, evenly spread, in an engine's size; without a folder the package's street frames."""
    if folder is None:
        yield from street_frames(frame_size)
        return
    for image, _, _ in spread(list_target(folder, "all"), PARITY_FRAMES):
        yield fit_frame(read_image(image), frame_size)


@contextmanager
def loading() -> Iterator[None]:
    """Whatever hinders an engine to load, as one error."""
    try:
        yield
    except (CheckpointError, TensorRTError) as error:
        raise ReleaseError(str(error)) from error
