"""Asks for regions where a round was promoted: what the new release is torn about is worth people's next clicks."""

import logging
from datetime import UTC, datetime, timedelta

from adaptation.control.labeling.asking import ask_for_regions
from adaptation.control.rounds.round_state import Phase, RoundBook, RoundState
from exchange.net.callers import LEARNER
from exchange.regions.batches import TooManyBatches
from exchange.regions.tasks import new_batch_id
from exchange.storage import StorageRoot
from exchange.storage.locations import region_batch_key

_ASKED_WITHIN = timedelta(hours=1)
"""Of the promotion: a learner that was away longer asks for nothing."""
_log = logging.getLogger(__name__)


class AsksAfterRounds:
    """`tick` is called every few seconds by whoever holds the lease; each round is asked for once."""

    def __init__(self, root: StorageRoot, book: RoundBook, clicks: int) -> None:
        """0 clicks ask for nothing."""
        self._root = root
        self._book = book
        self._clicks = clicks
        self._seen: set[str] = set()

    def tick(self) -> None:
        """Raises RecordError or StorageError: the next call tries it again."""
        if self._clicks == 0:
            return
        since = datetime.now(UTC) - _ASKED_WITHIN
        for state in self._book.all():
            if state.phase is Phase.PROMOTED and state.changed_at > since and state.id not in self._seen:
                self._ask(state)
                self._seen.add(state.id)

    def _ask(self, state: RoundState) -> None:
        domain, batch_id = state.request.domain, new_batch_id(state.changed_at, state.id)
        if self._root.read_if_any(region_batch_key(domain, batch_id)) is not None:
            return
        try:
            ask_for_regions(self._root, domain, by=LEARNER, clicks=self._clicks, batch_id=batch_id)
        except TooManyBatches as error:
            _log.warning("no regions after round %s: %s", state.id, error)
