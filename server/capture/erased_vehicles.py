"""Vehicles whose frames must go, on their way through the stages that hold frames."""

from collections.abc import Callable

from exchange.fleet.erasures import ErasureReader
from exchange.storage import StorageRoot

READ_EVERY_S = 2.0


class ErasedVehicles:
    """All that the root ever asked for, by pseudonym; every stage goes through them in the same order."""

    def __init__(self, root: StorageRoot) -> None:
        self._reader = ErasureReader(root)
        self.vehicles: list[str] = []
        self.are_known = False

    def read(self) -> None:
        """Raises StorageError or RecordError; then none is missed the next time."""
        self.vehicles.extend(self._reader.unseen())
        self.are_known = True


class Stage:
    """One thread's work on frames or rows, which forgets erased vehicles first.

    `done` erasures hold for everything that this stage has handed on, for the work after each succeeded once. A stage
    `after` another one gets its frames from there.
    """

    def __init__(
        self,
        erased: ErasedVehicles,
        forget: Callable[[str], None],
        work: Callable[[], None],
        after: "Stage | None" = None,
    ) -> None:
        self._erased = erased
        self._forget = forget
        self._work = work
        self._after = after
        self._forgotten = 0
        self.done = 0

    def step(self) -> None:
        known = len(self._erased.vehicles) if self._after is None else self._after.done
        for vehicle in self._erased.vehicles[self._forgotten : known]:
            self._forget(vehicle)
            self._forgotten += 1
        self._work()
        self.done = known
