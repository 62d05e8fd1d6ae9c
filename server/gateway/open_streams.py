"""How many streams are open: each holds a call for as long as it likes, so one caller must not take them all."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from server.errors import TooManyStreams


class OpenStreams:
    """Bounds the streams in all, and those of each vehicle. Belongs to one event loop."""

    def __init__(self, *, at_most: int, at_most_per_vehicle: int) -> None:
        self._at_most = at_most
        self._at_most_per_vehicle = at_most_per_vehicle
        self._vehicles: dict[Hashable, str | None] = {}

    @contextmanager
    def held(self, stream: Hashable) -> Iterator[None]:
        """The place of a stream whose vehicle is not known yet.

        Raises:
            TooManyStreams: there are as many in all as there may be.
        """
        if len(self._vehicles) >= self._at_most:
            raise TooManyStreams(f"{self._at_most} streams are open already: open one later, or at another gateway")
        self._vehicles[stream] = None
        try:
            yield
        finally:
            del self._vehicles[stream]

    def name(self, stream: Hashable, vehicle: str) -> None:
        """Counts the stream as this vehicle's from now on.

        Raises:
            TooManyStreams: it has as many as it may.
        """
        others = [whose for other, whose in self._vehicles.items() if other is not stream]
        if others.count(vehicle) >= self._at_most_per_vehicle:
            raise TooManyStreams(
                f"{self._at_most_per_vehicle} streams of this vehicle are open already: send the frames through those"
            )
        self._vehicles[stream] = vehicle
