"""Which drive a frame belongs to where the vehicle does not say: frames without a long gap, cut at ten minutes."""

from collections import OrderedDict
from dataclasses import dataclass

GAP_S = 60.0
LONGEST_S = 600.0
_REMEMBERED = 10_000


@dataclass
class _Drive:
    started_s: float
    last_s: float


class DriveTracker:
    """Remembers the last drive of each vehicle; of very many vehicles, those that were heard of last."""

    def __init__(self) -> None:
        self._drives: OrderedDict[tuple[str, str], _Drive] = OrderedDict()

    def name(self, vehicle: str, given: str, domain: str, captured_s: float) -> str:
        """The drive's own name where it was given; otherwise one that frames of the same drive share."""
        if given:
            return given
        drive = self._drives.get((vehicle, domain))
        if drive is None or not _goes_on(drive, captured_s):
            drive = self._drives[vehicle, domain] = _Drive(captured_s, captured_s)
        drive.last_s = max(drive.last_s, captured_s)
        self._drives.move_to_end((vehicle, domain))
        if len(self._drives) > _REMEMBERED:
            self._drives.popitem(last=False)
        return f"{domain} {drive.started_s:.3f}"


def _goes_on(drive: _Drive, captured_s: float) -> bool:
    return drive.started_s - GAP_S <= captured_s <= min(drive.last_s + GAP_S, drive.started_s + LONGEST_S)
