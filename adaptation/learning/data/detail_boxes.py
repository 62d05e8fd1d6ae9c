"""The position of HRDA's detail crop inside a context crop while training."""

import numpy as np

from adaptation.learning.networks.windows import Box

_GRID = 8
"""Detail boxes lie on multiples of this, so that they fall on whole cells of both logit maps."""


def draw_detail_box(rng: np.random.Generator, context_hw: tuple[int, int], detail_hw: tuple[int, int]) -> Box:
    """Draws a detail box in pixels of the context crop, as HRDA's authors do.

    Offsets are 8 * randint(0, (margin + 1) // 8), so the last position of a margin that 8 divides never occurs.

    Raises:
        ValueError: the detail crop is larger than the context crop, or smaller by less than 7 pixels but not equal
            on both sides.
    """
    if context_hw == detail_hw:
        return Box(0, detail_hw[0], 0, detail_hw[1])
    choices = [(context - detail + 1) // _GRID for context, detail in zip(context_hw, detail_hw, strict=True)]
    if min(choices) < 1:
        raise ValueError(
            f"a detail crop of {detail_hw} leaves no room in a context crop of {context_hw}: make it at least"
            " 7 pixels smaller on both sides, or equal on both"
        )
    top, left = (_GRID * int(rng.integers(count)) for count in choices)
    return Box(top, top + detail_hw[0], left, left + detail_hw[1])
