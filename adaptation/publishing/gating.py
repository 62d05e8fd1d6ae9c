"""The gate before a promotion: a round's own verdict, or one that is measured now."""

from collections.abc import Sequence
from pathlib import Path

from adaptation.data.data_choice import choose_data
from adaptation.gate.judge import judge
from adaptation.gate.limits import GateLimits
from adaptation.gate.measure import OnFrame, TargetFrame, measure
from adaptation.gate.verdict import Verdict
from adaptation.publishing.adding import loading
from adaptation.publishing.deciding import GateRefused
from adaptation.rounds.snapshot import list_target
from exchange.ledger import LedgerEntry, anchor_of, fetch_release
from exchange.locations import ROUNDS
from exchange.plan_changes import DEFAULT
from exchange.priors import read_prior
from exchange.records import RecordError
from exchange.serving_plan import read_plan
from exchange.storage import StorageRoot


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
    target: Path,
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
            [TargetFrame(image, drive) for image, drive, _ in list_target(target, "all")],
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

    Raises what `measure_verdict` raises, and GateRefused where it would have nothing to measure with.
    """
    stored = read_plan(root)
    if stored is None:
        return None
    if not source and target is None and (verdict := verdict_of_round(root, entry)) is not None:
        return verdict
    if not source or target is None:
        raise GateRefused(
            f"release {entry.version} has passed no gate: give --source DATA and --target FRAMES, or --force --why TEXT"
        )
    incumbent = stored.plan.of(domain or DEFAULT).serving
    return measure_verdict(
        root, entry.version, incumbent, domain=domain, source=source, target=target, cache=cache, on_frame=on_frame
    )
