"""One root -> every key below it.

    frames/<domain>/<gateway>/<time>-<frames>.tar    captured shards; the name says how many frames at most
    presence/<domain>/<gateway>/<hour>[-<part>].npz  a row for each served frame; a new part when one is full
    serving_plan.json                                what the gateways serve
    lease.json                                       who may write the plan
    priors/<domain>.json                             how the domain's prior came about, and whether it may move
    gateways/<gateway>.json                          heartbeats
    erasures/<time>-<pseudonym>.json                 vehicles whose frames gateways must not hand out any more
    releases/<version>/claim.json                    whose number it is, before anything else of the release
    releases/<version>/...                           the release's files; manifest.json last
    releases/<version>/collected.json                its files are deleted, all but the manifest
    releases/ledger/<version>.json                   the number's fate, decided once: published, or void
    pins.json                                        releases that are never collected
    audit/<time>-<nonce>.json                        who changed what is served, and why
    triggers.json                                    when rounds start by themselves
    rounds/<id>/                                     one round's state, progress, frames and report
    regions/<domain>/batches/<id>.json               regions that people are asked to label, and what they said
    regions/<domain>/frames/<sha256>-<version>.tar   the frame of such regions, as the asking version labels it

Times are UTC, and sort as text.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, StringConstraints

SERVING_PLAN = "serving_plan.json"
LEASE = "lease.json"
PINS = "pins.json"
TRIGGERS = "triggers.json"
FRAMES, PRESENCE, PRIORS, GATEWAYS, ERASURES = "frames", "presence", "priors", "gateways", "erasures"
CLAIM_NAME, COLLECTED_NAME = "claim.json", "collected.json"
RELEASES, LEDGER, AUDIT, ROUNDS, REGIONS = "releases", "releases/ledger", "audit", "rounds", "regions"
ROUND_PAGE = "report.html"
MAX_DOMAINS = 64

Version = Annotated[int, Field(ge=1)]
DomainName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
GatewayName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]

_TIME = "%Y%m%dT%H%M%S.%fZ"
_HOUR = "%Y%m%dT%H"
_LEDGER_KEY = re.compile(rf"{LEDGER}/([1-9][0-9]{{0,17}})\.json")
_RELEASE_KEY = re.compile(rf"{RELEASES}/([1-9][0-9]{{0,17}})/(.+)")
_PRESENCE_PART = re.compile(rf"{PRESENCE}/[^/]+/[^/]+/([0-9]{{8}}T[0-9]{{2}})(-[0-9]{{1,9}})?\.npz")
_ERASURE = re.compile(rf"{ERASURES}/([0-9T.]+Z)-([^/]+)\.json")
_AUDIT_ENTRY = re.compile(rf"{AUDIT}/([0-9T.]+Z)-[^/]+\.json")
_ROUND_FILE = re.compile(rf"{ROUNDS}/([0-9a-f]{{16}})/.+")
_SHARD = re.compile(rf"{FRAMES}/([^/]+)/([^/]+)/([0-9T.]+Z)-([0-9]{{1,9}})\.tar")


@dataclass(frozen=True)
class ShardName:
    """What a captured shard's key says."""

    domain: str
    gateway: str
    closed_at: datetime
    frames: int
    """When it was written; erasure may have taken some away."""

    @property
    def key(self) -> str:
        return f"{FRAMES}/{self.domain}/{self.gateway}/{self.closed_at.astimezone(UTC):{_TIME}}-{self.frames}.tar"

    @classmethod
    def parse(cls, key: str) -> "ShardName | None":
        """None where the key is no shard's."""
        found = _SHARD.fullmatch(key)
        closed_at = None if found is None else _time(found[3], _TIME)
        return None if found is None or closed_at is None else cls(found[1], found[2], closed_at, int(found[4]))


def presence_folder(domain: str, gateway: str) -> str:
    return f"{PRESENCE}/{domain}/{gateway}"


def presence_key(domain: str, gateway: str, hour: datetime, part: int) -> str:
    suffix = f"-{part}" if part else ""
    return f"{presence_folder(domain, gateway)}/{hour.astimezone(UTC):{_HOUR}}{suffix}.npz"


def before_hour(domain: str, gateway: str, hour: datetime) -> str:
    """A key just before all of a gateway's presence in this hour and later ones."""
    return f"{presence_folder(domain, gateway)}/{hour.astimezone(UTC):{_HOUR}}"


def presence_hour(key: str) -> datetime | None:
    """The hour that a presence key's rows were served in; None where the key is no presence part's."""
    found = _PRESENCE_PART.fullmatch(key)
    return _time(found[1], _HOUR) if found else None


def prior_key(domain: str) -> str:
    return f"{PRIORS}/{domain}.json"


def heartbeat_key(gateway: str) -> str:
    return f"{GATEWAYS}/{gateway}.json"


def erasure_key(requested_at: datetime, pseudonym: str) -> str:
    return f"{ERASURES}/{requested_at.astimezone(UTC):{_TIME}}-{pseudonym}.json"


def erasure_of(key: str) -> tuple[datetime, str] | None:
    """When it was requested, and the pseudonym; None where the key is no erasure's."""
    found = _ERASURE.fullmatch(key)
    requested_at = None if found is None else _time(found[1], _TIME)
    return None if found is None or requested_at is None else (requested_at, found[2])


def round_of(key: str) -> str | None:
    """The round's id; None where the key is no round's."""
    found = _ROUND_FILE.fullmatch(key)
    return found[1] if found else None


def ledger_key(version: int) -> str:
    return f"{LEDGER}/{version}.json"


def ledger_version(key: str) -> int | None:
    """None where the key is none of the ledger's."""
    found = _LEDGER_KEY.fullmatch(key)
    return int(found[1]) if found else None


def release_key(version: int, name: str) -> str:
    return f"{RELEASES}/{version}/{name}"


def release_file(key: str) -> tuple[int, str] | None:
    """The version, and the path below its folder; None where the key is no release's."""
    found = _RELEASE_KEY.fullmatch(key)
    return (int(found[1]), found[2]) if found else None


def audit_key(at: datetime, nonce: str) -> str:
    return f"{AUDIT}/{at.astimezone(UTC):{_TIME}}-{nonce}.json"


def is_audit_key(key: str) -> bool:
    found = _AUDIT_ENTRY.fullmatch(key)
    return found is not None and _time(found[1], _TIME) is not None


def before_audit(at: datetime) -> str:
    """A key just before all entries of this moment and later ones."""
    return f"{AUDIT}/{at.astimezone(UTC):{_TIME}}"


def region_batches_folder(domain: str) -> str:
    return f"{REGIONS}/{domain}/batches"


def region_batch_key(domain: str, batch_id: str) -> str:
    return f"{region_batches_folder(domain)}/{batch_id}.json"


def region_frames_folder(domain: str) -> str:
    return f"{REGIONS}/{domain}/frames"


def region_frame_key(domain: str, frame_sha256: str, version: int) -> str:
    return f"{region_frames_folder(domain)}/{frame_sha256}-{version}.tar"


def _time(text: str, form: str) -> datetime | None:
    """None where it is no time of that form."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
