"""Every kind of record below a storage root, by its key; and the record objects inside of one, outermost first."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adaptation.control.learner.triggers import TriggerBook
from adaptation.control.rounds.captured_snapshot import CapturedSnapshot
from adaptation.control.rounds.round_state import RoundState
from exchange.fleet.erasures import Erasure
from exchange.fleet.gateways import Heartbeat
from exchange.jobs.progress import Progress
from exchange.jobs.verdict import Verdict
from exchange.plan.lease import LeaseRecord
from exchange.plan.priors import PriorRecord
from exchange.plan.serving_plan import ServingPlan
from exchange.regions.tasks import RegionBatch
from exchange.registry.audit import AuditEntry
from exchange.registry.entries import Collected, LedgerEntry, VoidEntry
from exchange.registry.pins import Pins
from exchange.registry.publishing import Claim
from exchange.registry.releases import Manifest
from exchange.storage.records import Record

KINDS: Mapping[str, type[Record]] = {
    "serving_plan.json": ServingPlan,
    "triggers.json": TriggerBook,
    "pins.json": Pins,
    "lease.json": LeaseRecord,
    "audit/*.json": AuditEntry,
    "erasures/*.json": Erasure,
    "gateways/*.json": Heartbeat,
    "priors/*.json": PriorRecord,
    "regions/*/batches/*.json": RegionBatch,
    "releases/*/claim.json": Claim,
    "releases/*/manifest.json": Manifest,
    "releases/ledger/*.json": LedgerEntry,
    "rounds/*/progress.json": Progress,
    "rounds/*/snapshot.json": CapturedSnapshot,
    "rounds/*/state.json": RoundState,
    "rounds/*/verdict.json": Verdict,
}
"""All that the kept roots have; `report.json` is for people, and read by nobody."""
OTHER_KINDS: tuple[type[Record], ...] = (VoidEntry, Collected)


def records_of(folder: Path) -> Iterator[tuple[str, type[Record]]]:
    """The key and kind of every record of a root, the ledger's last: they name what others hash to."""
    keys = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.json"))]
    for key in sorted(keys, key=lambda key: key.startswith("releases/ledger/")):
        kind = next((kind for pattern, kind in KINDS.items() if fnmatch(key, pattern)), None)
        if kind is not None:
            yield key, kind
        else:
            assert fnmatch(key, "rounds/*/report.json"), f"{key} is of no known kind"


def objects_in(record: BaseModel, encoded: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The class's name and the JSON object of a record and of those inside of it."""
    yield type(record).__name__, encoded
    for name in type(record).model_fields:
        if name in encoded:
            yield from _objects_below(getattr(record, name), encoded[name])


def objects_of(kind: type[Record], data: bytes, key: str) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """A stored record's JSON object, and `objects_in` it, which are parts of it."""
    encoded: dict[str, Any] = json.loads(data)
    return encoded, list(objects_in(kind.decode(data, key), encoded))


def _objects_below(value: object, encoded: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, BaseModel):
        yield from objects_in(value, encoded)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _objects_below(each, encoded[str(name)])
    elif isinstance(value, (tuple, list)):
        for each, encoded_each in zip(value, encoded, strict=True):
            yield from _objects_below(each, encoded_each)
