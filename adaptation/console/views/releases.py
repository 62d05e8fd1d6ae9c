"""Releases by descent, and in words what an order would change before it is given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from adaptation.console.views.domain_figures import candidate_in_words
from adaptation.console.views.reading import Reading
from adaptation.control.releases.listing import ReleaseRow, list_releases, release_facts
from exchange.plan.plan_changes import DEFAULT, PlanRefused, follows_default, promoted, rolled_back, served_with
from exchange.plan.serving_plan import PlanContent, ServingPlan
from exchange.registry import LedgerEntry, read_ledger
from exchange.registry.releases import Manifest


class Role(NamedTuple):
    """What a release is to a domain."""

    text: str
    meaning: str
    serves: bool = False


@dataclass(frozen=True)
class ReleaseNode:
    version: int
    depth: int
    """How many releases it came from, one after the other."""
    origin: str
    published_at: datetime
    published_by: str
    round_id: str | None
    recipe: str
    roles: tuple[Role, ...]
    pinned: bool | None
    """None: the pins cannot be read."""
    stored: bool
    facts: tuple[tuple[str, str], ...]
    """Of its manifest, for people."""


@dataclass(frozen=True)
class ServedDomain:
    name: str
    serving: int
    previous: int | None
    anchor: int

    @property
    def not_back(self) -> str:
        """Why it cannot be rolled back; empty where it can."""
        return "" if self.previous is not None else "no version before it to roll back to"

    @property
    def not_reset(self) -> str:
        """Why there is nothing to reset; empty where there is."""
        return "" if self.serving != self.anchor else "it is its own anchor, so there is nothing to reset"


@dataclass(frozen=True)
class ReleasesView:
    releases: tuple[ReleaseNode, ...]
    """Each after the one that it was learned from, descendants together."""
    domains: tuple[ServedDomain, ...]
    gateways: int
    """That are alive."""

    @property
    def pins_are_unknown(self) -> bool:
        return any(node.pinned is None for node in self.releases)


def releases_view(reading: Reading) -> ReleasesView:
    """Raises RecordError, ReleaseError or StorageError."""
    plan = reading.plan()
    rows = list_releases(reading.root)
    entries = {entry.version: entry for entry in read_ledger(reading.root)}
    roles = [] if plan is None else list(roles_of(plan, reading.domains(plan)))
    manifests = {row.version: reading.manifest(row.version) for row in rows}
    parents = {version: manifest.parent for version, manifest in manifests.items()}
    found = {
        row.version: _node(
            entries[row.version],
            manifests[row.version],
            row,
            tuple(role for version, role in roles if version == row.version),
        )
        for row in rows
    }
    return ReleasesView(
        releases=tuple(replace(found[version], depth=depth) for version, depth in by_descent(parents)),
        domains=() if plan is None else tuple(_served(reading, plan, name) for name in reading.domains(plan)),
        gateways=len(reading.learner.gateways.alive()),
    )


def _node(entry: LedgerEntry, manifest: Manifest, row: ReleaseRow, roles: tuple[Role, ...]) -> ReleaseNode:
    told = "\n".join(f"{role.text}: {role.meaning}" for role in roles)
    facts = release_facts(entry, manifest, row) | {"what it is to whom": told or "nothing"}
    return ReleaseNode(
        version=row.version,
        depth=0,
        origin=row.origin,
        published_at=row.published_at,
        published_by=row.published_by,
        round_id=row.round_id if row.origin == "round" else None,
        recipe=manifest.recipe or "",
        roles=roles,
        pinned=row.pinned,
        stored=row.stored,
        facts=tuple(facts.items()),
    )


def roles_of(plan: ServingPlan, domains: Sequence[str]) -> Iterator[tuple[int, Role]]:
    """Versions with what they are to each of the domains; those that follow the default are told together."""
    own = [name for name in domains if name != DEFAULT and not follows_default(plan, name)]
    others = ", ".join(name for name in domains if name != DEFAULT and name not in own)
    text = f"serves by default{': ' if others else ''}{others}"
    yield plan.default.serving, Role(text, "all domains that have no version of their own", serves=True)
    for name in own:
        yield plan.of(name).serving, Role(f"serves {name}", f"{name} has a version of its own", serves=True)
    for name in (DEFAULT, *own):
        served, shown = plan.of(name), "the default" if name == DEFAULT else name
        if served.previous is not None:
            meaning = f"it served before version {served.serving}, and is served again after a rollback"
            yield served.previous, Role(f"{shown} rolls back to it", meaning)
        if served.candidate is not None:
            yield served.candidate.version, Role(f"tried in {shown}", candidate_in_words(served.candidate))


def by_descent(parents: Mapping[int, int | None]) -> Iterator[tuple[int, int]]:
    """Versions with their depth; the children of each follow it."""

    def below(parent: int | None, depth: int) -> Iterator[tuple[int, int]]:
        for version in sorted(parents):
            known = parents[version] if parents[version] in parents else None
            if known == parent:
                yield version, depth
                yield from below(version, depth + 1)

    return below(None, 0)


def effect_of_rollback(plan: ServingPlan | None, domain: str, gateways: int) -> str:
    """Raises PlanRefused where there is nothing to go back to."""
    content = _content(plan)
    return effect(content, rolled_back(content, domain=_key(domain)), gateways, again=True)


def effect_of_reset(plan: ServingPlan | None, domain: str, anchor: int, gateways: int) -> str:
    content = _content(plan)
    changed = served_with(content, anchor, domain=_key(domain))
    return effect(content, changed, gateways, again=True) or f"{domain}: version {anchor}, the anchor, stays served"


def effect_of_promotion(plan: ServingPlan | None, version: int, domain: str, gateways: int, *, force: bool) -> str:
    """Raises PlanRefused where it is served already."""
    content = _content(plan)
    changed = promoted(content, version, domain=_key(domain))
    if force:
        return f"{effect(content, changed, gateways, again=False)}, at once and untried"
    serving = "" if content is None else f" beside version {content.domains.get(domain, content.default).serving}"
    return (
        f"{domain}: version {version} is tried{serving}, first as a shadow, then with a share of the drives,"
        f" on {_gateways(gateways)}; it is served for good, or dropped, as the gateways say"
    )


def effect(before: PlanContent | None, after: PlanContent, gateways: int, *, again: bool) -> str:
    """Which domains change what serves them; empty where none does."""
    names = [DEFAULT, *sorted({*after.domains, *(before.domains if before else {})} - {DEFAULT})]
    changes: dict[tuple[int | None, int], list[str]] = {}
    for name in names:
        was = None if before is None else before.domains.get(name, before.default).serving
        now = after.domains.get(name, after.default).serving
        if was != now:
            changes.setdefault((was, now), []).append(name)
    told = [
        f"{', '.join(domains)}: version {now} is served{' again' if again else ''}"
        f"{'' if was is None else f' in place of {was}'}"
        for (was, now), domains in changes.items()
    ]
    return f"{'; '.join(told)}, on {_gateways(gateways)}" if told else ""


def _gateways(number: int) -> str:
    return "no gateway yet" if number == 0 else "1 gateway" if number == 1 else f"{number} gateways"


def _content(plan: ServingPlan | None) -> PlanContent:
    if plan is None:
        raise PlanRefused("there is no plan yet: the learner writes the first one from --release")
    return PlanContent(plan.default, plan.domains)


def _key(domain: str) -> str | None:
    return None if domain == DEFAULT else domain


def _served(reading: Reading, plan: ServingPlan, name: str) -> ServedDomain:
    served = plan.of(name)
    anchor = reading.manifest(served.serving).anchor or served.serving
    return ServedDomain(name, served.serving, served.previous, anchor)
