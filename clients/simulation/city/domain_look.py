"""What sets one domain of the simulated city apart: its light and air, its street, and who is in it."""

from dataclasses import dataclass

Rgb = tuple[float, float, float]
Range = tuple[float, float]


@dataclass(frozen=True)
class DomainLook:
    """One domain. Colours are 0..255 (or gains around 1 for light), lengths are metres, shares are 0..1."""

    name: str
    seed_word: int
    # light and air
    ambient_rgb: Rgb
    sun_rgb: Rgb
    sun_elevation_deg: Range
    exposure: Range
    saturation: float
    contrast: float
    sky_top_rgb: Rgb
    sky_horizon_rgb: Rgb
    cloud_cover: float
    cloud_rgb: Rgb
    haze_rgb: Rgb
    visibility_m: float
    sky_haze: float
    lights_on: bool
    """vehicles' lamps and traffic lights shine"""
    lamps_on: bool
    """so do street lamps"""
    lit_window_share: float
    wetness: float
    rain: float
    noise_sigma: float
    blur_sigma_px: float
    # the street
    lane_m: float
    cycle_lane_m: float
    parking_m: float
    sidewalk_m: float
    verge_share: float
    lot_shares: tuple[float, float, float]
    """building at the sidewalk, building behind a garden, open ground"""
    boundary_shares: tuple[float, float, float]
    """wall, fence, hedge in front of gardens and open ground"""
    storeys: tuple[int, int]
    junction_share: float
    # who and what stands or moves in it
    tree_spacing_m: float
    lamp_spacing_m: float
    sign_spacing_m: float
    parked_share: float
    vehicle_shares: tuple[float, float, float]
    """car, truck, bus"""
    traffic_spacing_m: float
    people_spacing_m: float
    cyclist_spacing_m: float
    motorcyclist_spacing_m: float
    parked_bicycles: float
    """groups in a cell of 64 m, as are the motorcycles"""
    parked_motorcycles: float
    crossing_people: float
