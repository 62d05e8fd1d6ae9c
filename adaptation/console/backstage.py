"""What all pages share: views that are made in a thread of their own, and the learner's handlers for orders."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from adaptation.console.left_lying import LeftLying
from adaptation.console.look import Look
from adaptation.console.relabelling import MOST_WAITING, Relabelling
from adaptation.console.views.audit import AuditReader, AuditView
from adaptation.console.views.frames import FrameShelf, FramesView
from adaptation.console.views.labels import LabelsView, labels_view
from adaptation.console.views.now import NowReader, NowView
from adaptation.console.views.prior import PriorView, prior_view
from adaptation.console.views.reading import Reading
from adaptation.console.views.releases import ReleasesView, releases_view
from adaptation.console.views.rounds import RoundDetail, RoundsView, round_detail, rounds_view
from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.learner.learner import Learner
from exchange.storage import open_root

T = TypeVar("T")
_PATIENCE_S = 1.0
"""A page would rather say that the root is away than wait for it."""
_MOST_LOOKS = 128
_ORDERS_AT_ONCE = 4
_PAINTERS = 2
"""Beside those that may wait for another version's labels."""


class Backstage:
    """One for the console. Its looks are asked for in the pages' loop."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        root = open_root(learner.settings.root, _PATIENCE_S, joined_before=True)
        root.unreadable = learner.root.unreadable  # what both meet is told once
        self.root = root
        self.labels = LabelDesk(root, left_out=learner.left_out)
        self.left_lying = LeftLying()
        self.relabelling = Relabelling(root, learner.settings.run_dir.absolute() / "releases")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="console-reader")
        self._orders = ThreadPoolExecutor(_ORDERS_AT_ONCE, thread_name_prefix="console-orders")
        self._painters = ThreadPoolExecutor(MOST_WAITING + _PAINTERS, thread_name_prefix="console-pictures")
        self._reading = Reading(root, learner)
        self._shelf = FrameShelf(root, learner.left_out)
        self._now = NowReader(self._reading)
        self._audit = AuditReader(root)
        self._looks: OrderedDict[tuple[str, ...], Look[Any]] = OrderedDict()

    def now(self) -> Look[NowView]:
        return self._look(self._now.view, "now")

    def rounds(self) -> Look[RoundsView]:
        return self._look(partial(rounds_view, self._reading), "rounds")

    def round(self, round_id: str) -> Look[RoundDetail]:
        return self._look(partial(round_detail, self._reading, round_id), "round", round_id)

    def releases(self) -> Look[ReleasesView]:
        return self._look(partial(releases_view, self._reading), "releases")

    def prior(self, domain: str) -> Look[PriorView]:
        return self._look(partial(prior_view, self._reading, domain), "prior", domain)

    def frames(self, domain: str) -> Look[FramesView]:
        return self._look(partial(self._shelf.view, domain), "frames", domain)

    def queue(self, domain: str) -> Look[LabelsView]:
        return self._look(partial(labels_view, self.labels, domain), "labels", domain)

    def audit(self) -> Look[AuditView]:
        return self._look(self._audit.view, "audit")

    async def read(self, make: Callable[[], T]) -> T:
        """In the reader's thread, which alone touches what the views keep."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, make)

    async def give(self, order: Callable[[], T]) -> T:
        """What changes something; by way of `pages.orders` alone, which ask who gives it."""
        return await asyncio.get_running_loop().run_in_executor(self._orders, order)

    async def paint(self, make: Callable[[], T]) -> T:
        """Pictures, which may take long without an order having to wait for them."""
        return await asyncio.get_running_loop().run_in_executor(self._painters, make)

    @property
    def shelf(self) -> FrameShelf:
        """For the reader's thread."""
        return self._shelf

    def close(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._orders.shutdown(wait=False, cancel_futures=True)
        self._painters.shutdown(wait=False, cancel_futures=True)
        self.relabelling.close()

    def _look(self, make: Callable[[], T], *name: str) -> Look[T]:
        if name not in self._looks:
            self._looks[name] = Look(make, self._reader)
            if len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        self._looks.move_to_end(name)
        return self._looks[name]
