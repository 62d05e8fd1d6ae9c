"""Regions as people see them."""

import numpy as np
import pytest

from adaptation.console.pictures import region_picture
from adaptation.control.labeling.surroundings import Surroundings
from exchange.regions.tasks import Box


@pytest.mark.parametrize(("level", "shown"), [(20, 60), (115, 230), (240, 240)])
def test_a_dark_region_is_shown_brighter_but_not_beyond_three_times(level: int, shown: int) -> None:
    segment_HW = np.zeros((64, 64), np.bool_)
    segment_HW[16:48, 16:48] = True
    seen = Surroundings(np.full((64, 64, 3), level, np.uint8), Box(16, 48, 16, 48), segment_HW)
    assert region_picture(seen, 64)[32, 32].tolist() == [shown] * 3
