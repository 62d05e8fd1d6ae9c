"""Segments as run lengths, there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.regions.segments import run_lengths, segment_of


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_there_and_back(rows: int, columns: int, seed: int) -> None:
    inside_HW = np.random.default_rng(seed).random((rows, columns)) < 0.5
    assert np.array_equal(segment_of(run_lengths(inside_HW), (rows, columns)), inside_HW)


def test_runs_begin_outside() -> None:
    assert run_lengths(np.array([[True, True], [False, True]])) == (0, 2, 1, 1)
    assert run_lengths(np.array([[False, True], [True, True]])) == (1, 3)


@pytest.mark.parametrize("runs", [(), (3,), (0, 5), (-1, 5), (2, 3)])
def test_what_does_not_fill_the_box_is_refused(runs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in a box of 2 x 2"):
        segment_of(runs, (2, 2))
