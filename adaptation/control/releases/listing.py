"""What there is, for people and for programs: releases, what they are to each domain, and what became of them."""

from collections.abc import Iterator

from pydantic import JsonValue
from rich.markup import escape
from rich.table import Table

from adaptation.control.releases.collecting import Rubbish
from exchange.plan.plan_changes import DEFAULT, follows_default
from exchange.plan.serving_plan import DomainPlan, ServingPlan, read_plan
from exchange.registry import LedgerEntry, Origin, collected_versions, read_ledger
from exchange.registry.audit import AuditEntry
from exchange.registry.pins import pins_for_a_list
from exchange.registry.releases import Manifest
from exchange.storage import StorageRoot
from exchange.storage.records import Moment, Record

UNKNOWN_PINS = "unknown: the pins cannot be read"


class ReleaseRow(Record):
    """One release of the ledger."""

    version: int
    origin: Origin
    published_at: Moment
    published_by: str
    round_id: str | None
    roles: tuple[str, ...]
    """Such as "serves default" or "candidate in sim-dusk (10 %)"."""
    pinned: bool | None
    """None: the pins cannot be read."""
    stored: bool
    """Its files are still there."""

    @property
    def kept(self) -> str:
        """Why its files are still there, or that they are not; empty where nothing is special about it."""
        if not self.stored:
            return "collected"
        return UNKNOWN_PINS if self.pinned is None else "pinned" if self.pinned else ""


def list_releases(root: StorageRoot) -> list[ReleaseRow]:
    """By version. Pins that cannot be read are noted. Raises RecordError or StorageError."""
    stored = read_plan(root)
    pinned, collected = pins_for_a_list(root), collected_versions(root)
    roles = [] if stored is None else list(_roles(stored.plan))
    return [
        ReleaseRow(
            version=entry.version,
            origin=entry.origin,
            published_at=entry.published_at,
            published_by=entry.published_by,
            round_id=entry.round_id,
            roles=tuple(role for version, role in roles if version == entry.version),
            pinned=None if pinned is None else entry.version in pinned,
            stored=entry.version not in collected,
        )
        for entry in read_ledger(root)
    ]


def releases_table(rows: list[ReleaseRow]) -> Table:
    table = Table("version", "origin", "published", "by", "what it is to whom", "kept")
    table.columns[0].justify = "right"
    for row in rows:
        origin = f"round {row.round_id}" if row.origin == "round" and row.round_id else row.origin
        when = f"{row.published_at:%Y-%m-%d %H:%M}"
        style = None if row.stored else "dim"
        table.add_row(
            str(row.version), origin, when, escape(row.published_by), "\n".join(row.roles), row.kept, style=style
        )
    return table


def release_table(entry: LedgerEntry, manifest: Manifest, row: ReleaseRow) -> Table:
    """Everything about one release that fits on a screen."""
    table = Table(title=f"release {entry.version}", show_header=False)
    for name, value in release_facts(entry, manifest, row).items():
        table.add_row(name, escape(value))
    return table


def release_facts(entry: LedgerEntry, manifest: Manifest, row: ReleaseRow) -> dict[str, str]:
    """What there is to know of a release, by name."""
    return {
        "what it is to whom": "\n".join(row.roles) or "nothing",
        "kept": (row.kept or "yes") if row.stored else "collected: only the manifest is left",
        "published": f"{entry.published_at:%Y-%m-%d %H:%M} UTC by {entry.published_by}",
        "origin": f"round {entry.round_id}" if entry.origin == "round" else entry.origin,
        "parent, anchor": f"{manifest.parent or 'none'}, {manifest.anchor or 'itself'}",
        "recipe, seed": f"{manifest.recipe or 'unknown'}, {'unknown' if manifest.seed is None else manifest.seed}",
        "engine": f"{manifest.engine} {manifest.precision}",
        "network": f"{manifest.network.encoder}, {manifest.network.head}",
        "frame size": "x".join(map(str, manifest.frame_size)),
        "outputs follow": manifest.output_prior_is,
        "calibration": f"temperature {manifest.calibration_temperature:.3f}, "
        f"ATC threshold {'none' if manifest.atc_threshold is None else f'{manifest.atc_threshold:.3f}'}",
        "manifest": f"sha256 {entry.manifest_sha256}",
    } | {name: f"{value:.4g}" for name, value in manifest.evaluation.items()}


def audit_table(entries: list[AuditEntry]) -> Table:
    """Which release, round and domain an entry is about, and its details, are in one column: few have all of them."""
    table = Table("when", "who", "what", "about", "why")
    for column in table.columns:
        column.overflow = "fold"  # ids are whole
    for entry in entries:
        what = f"{entry.what} (forced)" if entry.forced else entry.what
        named = {"domain": entry.domain, "release": entry.version, "round": entry.round_id}
        about = [f"{name} {value}" for name, value in named.items() if value is not None]
        about += [f"{name}: {value}" for name, value in entry.facts]
        cells = (f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.who, what, "\n".join(about), entry.why)
        table.add_row(*map(escape, cells))
    return table


def rubbish_table(rubbish: list[Rubbish], title: str) -> Table:
    table = Table("what", "which", "objects", "MiB", "why", title=title)
    for column in table.columns[2:4]:
        column.justify = "right"
    for each in [*(one for one in rubbish if one.kind != "presence"), *_presence(rubbish)]:
        size = f"{each.size_bytes / 2**20:.1f}"
        table.add_row(each.kind, each.name, str(len(each.objects)), size, each.why)
    return table


def rubbish_json(rubbish: Rubbish) -> dict[str, JsonValue]:
    return {
        "kind": rubbish.kind,
        "name": rubbish.name,
        "keys": [info.key for info in rubbish.objects],
        "bytes": rubbish.size_bytes,
        "why": rubbish.why,
    }


def _presence(rubbish: list[Rubbish]) -> Iterator[Rubbish]:
    """All presence parts in one row."""
    parts = [each for each in rubbish if each.kind == "presence"]
    if parts:
        yield parts[0]._replace(objects=tuple(info for part in parts for info in part.objects))


def _roles(plan: ServingPlan) -> Iterator[tuple[int, str]]:
    """Each version with what it is to a domain; domains that are served like the default are not told apart."""
    yield from _roles_in(DEFAULT, plan.default)
    for domain, listed in plan.domains.items():
        if not follows_default(plan, domain):
            yield from _roles_in(domain, listed)


def _roles_in(domain: str, plan: DomainPlan) -> Iterator[tuple[int, str]]:
    yield plan.serving, f"serves {domain}"
    if plan.previous is not None:
        yield plan.previous, f"previous in {domain}"
    if plan.candidate is not None:
        yield plan.candidate.version, f"candidate in {domain} ({100 * plan.candidate.share:.0f} % of the frames)"
