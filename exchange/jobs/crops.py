"""How training crops are drawn and look."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Appearance = Literal["none", "lab", "fourier"]
"""Look of target frames that source frames are given: Lab statistics, or low-frequency Fourier amplitudes."""


class CropSettings(BaseModel):
    """How training crops are drawn from labelled frames. Sizes are (rows, columns)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop_hw: tuple[int, int]
    fit_hw: tuple[int, int]
    """Every frame is first fitted into this size with its aspect kept; scale 1 is relative to it."""
    scale_range: tuple[float, float] = (1.0, 1.0)
    photometric: Literal["none", "wide"] = "none"
    rare_class_temperature: float = Field(default=0.01, gt=0)
    rare_class_min_pixels: int = Field(default=3000, ge=0)
    """A frame is drawn for a rare class only if it shows more pixels of it than this, before any resizing."""
    rare_class_min_crop_ratio: float = Field(default=2.0, ge=0)
    """Up to ten more crops are drawn until one shows this many times `rare_class_min_pixels`."""
