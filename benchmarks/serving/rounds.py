"""What was measured of one way of serving in all rounds of a run."""

from dataclasses import dataclass
from statistics import median

from benchmarks.serving.load import Measurement


@dataclass(frozen=True)
class Rounds:
    """Rates and medians are told as the median over rounds, which a disturbed round does not shift; the rest of all
    rounds together."""

    each: list[Measurement]

    @property
    def frames_per_s(self) -> float:
        return median(measured.frames_per_s for measured in self.each)

    @property
    def p50_ms(self) -> float:
        return median(measured.percentile_ms(50) for measured in self.each)

    @property
    def together(self) -> Measurement:
        total = Measurement()
        for measured in self.each:
            total.add(measured)
        return total

    @property
    def cpu_ms_per_frame(self) -> float:
        """Of all serving processes, for each answered frame."""
        total = self.together
        return 1e3 * sum(total.cpu_s.values()) / len(total.latencies_s)

    @property
    def memory_mb(self) -> float:
        """Resident, of all serving processes."""
        return median(resident for measured in self.each for resident in measured.resident_bytes) / 1e6

    @property
    def memory_change_mb(self) -> float:
        """The largest departure from the first sample of a round."""
        return max(
            abs(resident - measured.resident_bytes[0]) / 1e6
            for measured in self.each
            for resident in measured.resident_bytes
        )
