"""What must hold after every run, each by its name."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from adaptation.control.rounds.round_state import RoundBook
from benchmarks.faults.answers import BORN_WITH, fake_labels, gray_labels, wrong_answers
from benchmarks.faults.story import Told
from exchange.fleet.frames import read_shard
from exchange.plan.plan_changes import named_versions
from exchange.plan.serving_plan import read_plan
from exchange.registry import collected_versions, fetch_release, read_ledger
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError, StorageRoot
from exchange.storage.locations import FRAMES, RELEASES, release_file
from exchange.storage.records import RecordError

TAKES_OVER_WITHIN_S = 30.0
_REFUSALS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


def plan_points_at_complete_releases(told: Told) -> Iterator[str]:
    root = told.deployment.root
    stored = read_plan(root)
    if stored is None:
        yield "there is no plan"
    for version in named_versions(stored.plan if stored else None):
        try:
            fetch_release(root, version, told.deployment.folder / "checked")
        except (ReleaseError, RecordError, StorageError) as error:
            yield f"version {version}: {error}"
    beats = told.deployment.heartbeats()
    for version in named_versions(stored.plan if stored else None):
        for beat in beats:
            if version not in beat.versions or not beat.versions[version].loaded:
                yield f"gateway {beat.gateway} has not loaded version {version}"


def ledger_is_whole(told: Told) -> Iterator[str]:
    root = told.deployment.root
    entries = read_ledger(root)
    collected = collected_versions(root)
    for round_id, count in Counter(entry.round_id for entry in entries if entry.round_id).items():
        if count > 1:
            yield f"round {round_id} is published {count} times"
    for entry in entries:
        if entry.version not in collected:
            try:
                fetch_release(root, entry.version, told.deployment.folder / "checked")
            except (ReleaseError, RecordError, StorageError) as error:
                yield f"entry {entry.version} points at nothing: {error}"
    decided = {entry.version for entry in entries}
    named = filter(None, (release_file(info.key) for info in root.list_objects(RELEASES)))
    for version, name in named:
        if name == "manifest.json" and version not in decided and not _is_void(root, version):
            yield f"release {version} has a manifest and no entry: nobody finished its publication"


def _is_void(root: StorageRoot, version: int) -> bool:
    found = root.read_if_any(f"{RELEASES}/ledger/{version}.json")
    return found is not None and bool(json.loads(found.data).get("void"))


def shards_are_whole(told: Told) -> Iterator[str]:
    root, seen = told.deployment.root, Counter[str]()
    for info in root.list_objects(FRAMES):
        try:
            frames = list(read_shard(root.read(info.key).data, info.key))
        except RecordError as error:
            yield str(error)
            continue
        seen.update(frame.metadata.key for frame in frames)
    for key, count in seen.items():
        if count > 1:
            yield f"frame {key} is in {count} shards"


def round_resumes_or_fails(told: Told) -> Iterator[str]:
    root = told.deployment.root
    states = [state for state in RoundBook(root).all() if state.id == told.round_id]
    if told.round_id and not states and not told.strike.damaged:
        yield f"round {told.round_id} is gone"
    for state in states:
        if not state.phase.is_final:
            yield f"round {state.id} ends as {state.phase}"
        elif not state.reason:
            yield f"round {state.id} is {state.phase} without a reason"
        published = [entry.version for entry in read_ledger(root) if entry.round_id == state.id]
        if state.version is not None and published != [state.version]:
            yield f"round {state.id} is version {state.version}, the ledger has {published}"
        if state.phase == "promoted" and not published:
            yield f"round {state.id} is promoted and was never published"


def answers_are_right(told: Told) -> Iterator[str]:
    deployment = told.deployment
    releases = {BORN_WITH: deployment.starter} | _published_copies(told)  # it need not be published for revision 0
    labels_of = fake_labels(releases) if deployment.plan.engine == "fake" else gray_labels(releases)
    yield from wrong_answers(deployment.fleet.answers, deployment.watch.plans, releases, labels_of)


def _published_copies(told: Told) -> dict[int, Path]:
    root, folder = told.deployment.root, told.deployment.folder / "checked"
    versions = {entry.version for entry in read_ledger(root)} - collected_versions(root)
    return {version: fetch_release(root, version, folder) for version in versions}


def requests_have_an_outcome(told: Told) -> Iterator[str]:
    fleet = told.deployment.fleet
    outcomes = len(fleet.answers) + fleet.refusals.total() + len(fleet.without_status)
    if outcomes != fleet.sent:
        yield f"{fleet.sent} frames were sent, {outcomes} came back"
    yield from fleet.without_status
    for status, count in fleet.refusals.items():
        if status not in _REFUSALS:
            yield f"{count} frames ended with {status}"
    if not fleet.answers:
        yield "no frame was answered at all"


def one_learner(told: Told) -> Iterator[str]:
    epochs, learner = told.deployment.watch.epochs, told.deployment.learner
    for died_at in learner.died_at:
        if not any(died_at < at <= died_at + TAKES_OVER_WITHIN_S for at in epochs.values()):
            later = [round(at - died_at) for at in epochs.values() if at > died_at]
            yield f"nobody took over within {TAKES_OVER_WITHIN_S:.0f} s, but after {later}"


def ends_when_told(told: Told) -> Iterator[str]:
    for name, status in told.status_of_end.items():
        if status != 0:
            yield f"{name} ended with {status}"


INVARIANTS: dict[str, Callable[[Told], Iterator[str]]] = {
    "plan is complete": plan_points_at_complete_releases,
    "ledger is whole": ledger_is_whole,
    "shards are whole": shards_are_whole,
    "round resumes or fails": round_resumes_or_fails,
    "answers are right": answers_are_right,
    "requests have an outcome": requests_have_an_outcome,
    "one learner": one_learner,
    "orders are done": lambda _: iter(()),
    "recovers": lambda _: iter(()),
    "ends when told": ends_when_told,
}


def violations(told: Told) -> dict[str, list[str]]:
    """What does not hold, by the invariant; those that were seen to fail on the way included."""
    found = {name: list(told.failures.get(name, ())) for name in INVARIANTS}
    for name, check in INVARIANTS.items():
        try:
            found[name] += check(told)
        except (RecordError, ReleaseError, StorageError) as error:
            found[name].append(f"cannot be checked: {error}")
    return {name: what for name, what in found.items() if what}
