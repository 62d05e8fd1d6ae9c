"""Regions that a labelling page had taken when it was closed: the same annotator gets them first the next time."""

import threading
from collections import deque
from datetime import UTC, datetime

from adaptation.control.labeling.leased_tasks import LeasedTask

_MOST_KEPT = 256


class LeftLying:
    """For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: deque[tuple[str, LeasedTask]] = deque(maxlen=_MOST_KEPT)

    def leave(self, annotator: str, task: LeasedTask) -> None:
        with self._lock:
            self._left.append((annotator, task))

    def take(self, annotator: str, domain: str) -> LeasedTask | None:
        """One whose lease lasts, in a domain, or in any where none is named."""
        now = datetime.now(UTC)
        with self._lock:
            for place, (whose, task) in enumerate(self._left):
                if whose == annotator and domain in ("", task.domain) and task.leased_until > now:
                    del self._left[place]
                    return task
        return None
