"""Which cells are wanted, the worthiest first."""

from collections.abc import Collection, Iterator

from benchmarks.adaptation.cells import Key
from benchmarks.adaptation.rows import ESSENTIAL, EXPLAINED, ROWS
from benchmarks.adaptation.shifts import SHIFTS
from benchmarks.adaptation.starts import STARTS

SEEDS = 3


def wanted() -> Iterator[Key]:
    """Yield every cell of the table: the essential rows, seed by seed, then what explains them, once."""
    for seed in range(SEEDS):
        for start in STARTS:
            for row in ESSENTIAL:
                yield from (Key(shift, start, row, seed) for shift in SHIFTS if seed == 0 or ROWS[row].has_seeds)
    for row in ROWS:
        if row not in ESSENTIAL:
            yield from (Key(shift, STARTS[0], row, 0) for shift in EXPLAINED)


def chosen(
    shifts: Collection[str] = SHIFTS,
    starts: Collection[str] = STARTS,
    rows: Collection[str] | None = None,
    seeds: int = SEEDS,
) -> Iterator[Key]:
    """Yield the wanted cells among these; rows that are named are wanted with every seed and for every shift."""
    if rows is None:
        yield from (key for key in wanted() if key.shift in shifts and key.start in starts and key.seed < seeds)
        return
    for seed in range(seeds):
        for row in rows:
            if seed == 0 or ROWS[row].has_seeds:
                yield from (Key(shift, start, row, seed) for start in starts for shift in shifts)
