"""What a domain looks like to the version that serves it, and whether it has drifted since."""

from datetime import UTC, datetime, timedelta

import numpy as np

from adaptation.control.rounds.round_state import Sight
from exchange.fleet.presence import PresenceReader
from exchange.label_space import NUM_CLASSES
from exchange.plan.estimate import WINDOW_S
from exchange.plan.priors import PriorRecord, read_prior
from exchange.storage import StorageRoot
from exchange.storage.locations import prior_key
from exchange.storage.readable_objects import UNREADABLE

FEWEST_ROWS = 64
"""With fewer served frames a domain looks like nothing yet."""
LOOK_BACK = timedelta(seconds=WINDOW_S)
PRIOR_MOVED = 0.5
"""Some class's log ratio, which is believed only as far as its interval is sure: 1.6 times as frequent, or as rare."""
CONFIDENCE_FELL = 0.05
"""Of the mean confidence, from 0 to 1."""
_NO_RATIO = (0.0,) * NUM_CLASSES


class DomainSights:
    """Reads presence again and again, and of the parts only the new ones; for one thread."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._readers: dict[str, PresenceReader] = {}

    def of(self, domain: str, version: int) -> Sight | None:
        """None where the version has served too few of the domain's frames of late.

        Raises:
            StorageError: the root does not answer.
        """
        reader = self._readers.setdefault(domain, PresenceReader(self._root, domain))
        rows = reader.rows_since(datetime.now(UTC) - LOOK_BACK)
        confidence_N = rows.mean_confidence_N[rows.version_N == version][-4 * FEWEST_ROWS :]
        if len(confidence_N) < FEWEST_ROWS:
            return None
        record = self._prior(domain)
        if record is None:
            return None
        estimate = record.estimates.get(version)
        return Sight(
            version=version,
            log_ratio=_NO_RATIO if estimate is None else estimate.log_ratio,
            mean_confidence=float(confidence_N.astype(np.float64).mean()),
            frames=len(confidence_N),
        )

    def _prior(self, domain: str) -> PriorRecord | None:
        """None where it cannot be read: then nothing is known of the domain, and of this one alone."""
        try:
            return read_prior(self._root, domain)
        except UNREADABLE as error:
            self._root.unreadable.note(prior_key(domain), error)
            return None


def drift(now: Sight, before: Sight | None, surest: float | None) -> str:
    """How a domain has drifted, in words; empty where it has not.

    A domain has drifted where a class's log ratio has moved by `PRIOR_MOVED`, or the mean confidence has fallen by
    `CONFIDENCE_FELL`: since its last round, if the same version serves it; otherwise from what that version was made
    for (a ratio of 0) and from the highest confidence that it has shown in any domain.

    Args:
        before: when the domain's last round began.
        surest: that highest confidence, where it is known.
    """
    same = before is not None and before.version == now.version
    ratio_K = before.log_ratio if before is not None and same else _NO_RATIO
    confidence = before.mean_confidence if before is not None and same else surest
    moved = float(np.abs(np.subtract(now.log_ratio, ratio_K)).max())
    if moved >= PRIOR_MOVED:
        return f"the prior has moved: a class's log ratio by {moved:.2f}"
    if confidence is not None and confidence - now.mean_confidence >= CONFIDENCE_FELL:
        return f"the confidence has fallen from {confidence:.3f} to {now.mean_confidence:.3f}"
    return ""
