"""What several views read of a root, and how often."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adaptation.control.learner.learner import Learner
from adaptation.control.rounds.round_state import RoundBook
from exchange.fleet.presence import PresenceReader, PresenceRows, domains_with_presence
from exchange.plan.estimate import WINDOW_S
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.registry import read_published_manifest
from exchange.registry.releases import Manifest
from exchange.storage import StorageRoot
from exchange.storage.locations import MAX_DOMAINS

_ROWS_EVERY_S = 3.0


WINDOW = timedelta(seconds=WINDOW_S)
"""What the live prior looks back over."""


@dataclass(frozen=True)
class _Read:
    at_s: float
    rows: PresenceRows


class Reading:
    """A learner's root, for views that are made again and again in one thread."""

    def __init__(self, root: StorageRoot, learner: Learner) -> None:
        self.root = root
        self.learner = learner
        self.book = RoundBook(root)
        self._presence: dict[str, PresenceReader] = {}
        self._rows: dict[str, _Read] = {}
        self._manifests: dict[int, Manifest] = {}

    def plan(self) -> ServingPlan | None:
        stored = read_plan(self.root)
        return None if stored is None else stored.plan

    def domains(self, plan: ServingPlan | None) -> list[str]:
        """The default first, then those that frames were served of or that the plan lists."""
        listed = {} if plan is None else plan.domains
        found = sorted({*listed, *domains_with_presence(self.root)} - {DEFAULT})
        return [DEFAULT, *found][:MAX_DOMAINS]

    def rows(self, domain: str, back: timedelta = WINDOW) -> PresenceRows:
        """A domain's rows of the last while, at most `WINDOW`, as they were some seconds ago."""
        now_s, now = time.monotonic(), datetime.now(UTC)
        known = self._rows.get(domain)
        if known is None or now_s - known.at_s > _ROWS_EVERY_S:
            reader = self._presence.setdefault(domain, PresenceReader(self.root, domain))
            known = self._rows[domain] = _Read(now_s, reader.rows_since(now - WINDOW))
        return known.rows[known.rows.captured_s_N > (now - back).timestamp()]

    def manifest(self, version: int) -> Manifest:
        """Read once: a published release is never changed."""
        if version not in self._manifests:
            self._manifests[version] = read_published_manifest(self.root, version)
        return self._manifests[version]
