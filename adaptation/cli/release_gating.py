"""The gate before a promotion: a round's own verdict, or one that is measured now."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from adaptation.cli.release_adding import loading
from adaptation.control.releases.deciding import GateRefused
from adaptation.control.rounds.captured_frames import newest_first
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import OnFrame, TargetFrame, measure
from adaptation.learning.rounds.snapshot import list_target
from exchange.fleet.captured_images import write_image
from exchange.jobs.limits import GateLimits
from exchange.jobs.verdict import Verdict
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.priors import read_prior
from exchange.plan.serving_plan import read_plan
from exchange.registry import LedgerEntry, anchor_of, fetch_release
from exchange.storage import StorageRoot
from exchange.storage.locations import ROUNDS
from exchange.storage.records import RecordError

_CAPTURED_FRAMES = 128


def verdict_of_round(root: StorageRoot, entry: LedgerEntry) -> Verdict | None:
    """What the gate said of a round's release when the round ended; None where there was none, or it is gone."""
    if entry.origin != "round" or entry.round_id is None:
        return None
    key = f"{ROUNDS}/{entry.round_id}/verdict.json"
    found = root.read_if_any(key)
    try:
        return None if found is None else Verdict.decode(found.data, key)
    except RecordError:
        return None


def measure_verdict(
    root: StorageRoot,
    version: int,
    incumbent: int,
    *,
    domain: str | None,
    source: Sequence[Path],
    target: Sequence[TargetFrame],
    cache: Path,
    on_frame: OnFrame,
) -> Verdict:
    """Measures a release beside the one that is served, and judges by the limits of every gate.

    Args:
        source: labelled data sets; their held-out split is used.
        target: frames of where the release is to serve.
        cache: for copies of the releases.

    Raises:
        DataError, ReleaseError: something needed for it is missing or damaged.
        RecordError, StorageError: the root cannot be read.
    """
    anchor = anchor_of(root, incumbent)
    with loading():
        measurements = measure(
            fetch_release(root, version, cache),
            fetch_release(root, incumbent, cache),
            choose_data(list(source), "val"),
            target,
            prior=read_prior(root, domain or DEFAULT).estimates.get(incumbent),
            anchor=None if anchor == incumbent else fetch_release(root, anchor, cache),
            on_frame=on_frame,
        )
    return judge(measurements, GateLimits())


def find_verdict(
    root: StorageRoot,
    entry: LedgerEntry,
    domain: str | None,
    source: Sequence[Path],
    target: Path | None,
    *,
    cache: Path,
    on_frame: OnFrame,
) -> Verdict | None:
    """The verdict on a release for a domain, measured where there is none; None where nothing is served yet.

    Without a target the domain's captured frames are measured on.

    Raises what `measure_verdict` raises, and GateRefused where it would have nothing to measure with.
    """
    stored = read_plan(root)
    if stored is None:
        return None
    if not source and target is None and (verdict := verdict_of_round(root, entry)) is not None:
        return verdict
    if not source:
        raise GateRefused(f"release {entry.version} has passed no gate: give --source DATA, or --force --why TEXT")
    incumbent = stored.plan.of(domain or DEFAULT).serving
    with _target_frames(root, domain or DEFAULT, target) as frames:
        return measure_verdict(
            root, entry.version, incumbent, domain=domain, source=source, target=frames, cache=cache, on_frame=on_frame
        )


@contextmanager
def _target_frames(root: StorageRoot, domain: str, folder: Path | None) -> Iterator[list[TargetFrame]]:
    """Those of a folder, or the newest that were captured by chance; copies of these are gone afterwards."""
    if folder is not None:
        yield [TargetFrame(image, drive) for image, drive, _ in list_target(folder, "all")]
        return
    left_out = LeftOutFrames()
    by_chance = (
        frame
        for shard, frames in newest_first(root, domain, left_out)
        for frame in frames
        if frame.metadata.kept_for == "uniform" and left_out.is_readable(shard, frame)
    )
    with tempfile.TemporaryDirectory() as copies:
        found = [
            TargetFrame(write_image(frame, Path(copies), frame.metadata.key), frame.metadata.drive)
            for frame in islice(by_chance, _CAPTURED_FRAMES)
        ]
        if not found:
            unreadable = f" but {len(left_out.of(domain))} that cannot be read" if left_out.of(domain) else ""
            raise GateRefused(
                f"no frame was captured in {domain}{unreadable}: give --target FRAMES, or --force --why TEXT"
            )
        yield found
