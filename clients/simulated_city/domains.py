"""The four domains of the simulated city: how each looks and what stands in its streets.

`sim-day` is the source: sunny, changing sun and exposure, inner-city streets with many people and bicycles.
The targets differ from it in appearance and in class frequency:

- `sim-dusk`: blue and orange twilight, underexposed and noisy, lamps, windows and headlights lit; narrow residential
  streets with gardens and many trees, parked cars and trucks bumper to bumper, hardly anyone on foot or on a bicycle.
- `sim-rain`: flat grey light, wet mirror-like roads, streaks and drops on the lens; wide arterial roads with dense
  traffic, buses and trucks, retaining walls, few trees, few people (with umbrellas), next to no two-wheelers.
- `sim-fog`: white haze that grows with depth, washed-out colours; a suburban road with open fields, fences and trees,
  few buildings, much terrain, few cars.

The values are frozen: scores and releases refer to them, and a test pins what they draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


_DAY = DomainLook(
    name="sim-day",
    seed_word=11,
    ambient_rgb=(0.62, 0.65, 0.70),
    sun_rgb=(0.62, 0.57, 0.48),
    sun_elevation_deg=(24, 60),
    exposure=(0.9, 1.2),
    saturation=1.0,
    contrast=1.0,
    sky_top_rgb=(92, 142, 205),
    sky_horizon_rgb=(196, 214, 232),
    cloud_cover=0.5,
    cloud_rgb=(246, 246, 246),
    haze_rgb=(196, 208, 222),
    visibility_m=700,
    sky_haze=0.05,
    lights_on=False,
    lamps_on=False,
    lit_window_share=0.0,
    wetness=0.0,
    rain=0.0,
    noise_sigma=2.5,
    blur_sigma_px=0.55,
    lane_m=3.2,
    cycle_lane_m=1.2,
    parking_m=2.2,
    sidewalk_m=4.4,
    verge_share=0.45,
    lot_shares=(0.58, 0.26, 0.16),
    boundary_shares=(0.34, 0.42, 0.24),
    storeys=(2, 5),
    junction_share=0.75,
    tree_spacing_m=17,
    lamp_spacing_m=16,
    sign_spacing_m=15,
    parked_share=0.42,
    vehicle_shares=(0.70, 0.16, 0.14),
    traffic_spacing_m=34,
    people_spacing_m=6,
    cyclist_spacing_m=30,
    motorcyclist_spacing_m=48,
    parked_bicycles=3.0,
    parked_motorcycles=3.0,
    crossing_people=4.0,
)

_DUSK = DomainLook(
    name="sim-dusk",
    seed_word=23,
    ambient_rgb=(0.50, 0.47, 0.53),
    sun_rgb=(0.0, 0.0, 0.0),
    sun_elevation_deg=(8, 14),
    exposure=(0.9, 1.25),
    saturation=0.8,
    contrast=1.12,
    sky_top_rgb=(88, 104, 160),
    sky_horizon_rgb=(238, 178, 132),
    cloud_cover=0.35,
    cloud_rgb=(128, 106, 120),
    haze_rgb=(118, 104, 112),
    visibility_m=320,
    sky_haze=0.1,
    lights_on=True,
    lamps_on=True,
    lit_window_share=0.3,
    wetness=0.0,
    rain=0.0,
    noise_sigma=4.5,
    blur_sigma_px=0.9,
    lane_m=2.9,
    cycle_lane_m=0.4,
    parking_m=2.1,
    sidewalk_m=2.6,
    verge_share=0.6,
    lot_shares=(0.36, 0.42, 0.22),
    boundary_shares=(0.2, 0.3, 0.5),
    storeys=(2, 3),
    junction_share=0.6,
    tree_spacing_m=9,
    lamp_spacing_m=20,
    sign_spacing_m=22,
    parked_share=0.85,
    vehicle_shares=(0.74, 0.21, 0.05),
    traffic_spacing_m=30,
    people_spacing_m=30,
    cyclist_spacing_m=110,
    motorcyclist_spacing_m=120,
    parked_bicycles=1.0,
    parked_motorcycles=1.5,
    crossing_people=0.8,
)

_RAIN = DomainLook(
    name="sim-rain",
    seed_word=37,
    ambient_rgb=(0.64, 0.66, 0.69),
    sun_rgb=(0.0, 0.0, 0.0),
    sun_elevation_deg=(40, 60),
    exposure=(0.85, 1.12),
    saturation=0.65,
    contrast=0.9,
    sky_top_rgb=(176, 182, 190),
    sky_horizon_rgb=(200, 204, 208),
    cloud_cover=0.9,
    cloud_rgb=(186, 190, 196),
    haze_rgb=(176, 181, 186),
    visibility_m=160,
    sky_haze=0.2,
    lights_on=True,
    lamps_on=False,
    lit_window_share=0.12,
    wetness=0.65,
    rain=0.6,
    noise_sigma=3.0,
    blur_sigma_px=0.8,
    lane_m=3.6,
    cycle_lane_m=2.0,
    parking_m=2.4,
    sidewalk_m=2.8,
    verge_share=0.4,
    lot_shares=(0.46, 0.18, 0.36),
    boundary_shares=(0.68, 0.22, 0.10),
    storeys=(3, 6),
    junction_share=0.8,
    tree_spacing_m=34,
    lamp_spacing_m=15,
    sign_spacing_m=13,
    parked_share=0.3,
    vehicle_shares=(0.52, 0.24, 0.24),
    traffic_spacing_m=19,
    people_spacing_m=20,
    cyclist_spacing_m=90,
    motorcyclist_spacing_m=110,
    parked_bicycles=1.2,
    parked_motorcycles=1.2,
    crossing_people=1.6,
)

_FOG = DomainLook(
    name="sim-fog",
    seed_word=53,
    ambient_rgb=(0.72, 0.74, 0.76),
    sun_rgb=(0.05, 0.05, 0.05),
    sun_elevation_deg=(20, 40),
    exposure=(0.85, 1.1),
    saturation=0.75,
    contrast=0.95,
    sky_top_rgb=(196, 200, 204),
    sky_horizon_rgb=(206, 209, 212),
    cloud_cover=0.2,
    cloud_rgb=(206, 208, 210),
    haze_rgb=(203, 207, 211),
    visibility_m=42,
    sky_haze=0.9,
    lights_on=True,
    lamps_on=False,
    lit_window_share=0.05,
    wetness=0.1,
    rain=0.0,
    noise_sigma=2.5,
    blur_sigma_px=0.8,
    lane_m=3.2,
    cycle_lane_m=1.0,
    parking_m=1.6,
    sidewalk_m=2.2,
    verge_share=1.0,
    lot_shares=(0.12, 0.36, 0.52),
    boundary_shares=(0.12, 0.58, 0.30),
    storeys=(1, 3),
    junction_share=0.55,
    tree_spacing_m=11,
    lamp_spacing_m=19,
    sign_spacing_m=17,
    parked_share=0.22,
    vehicle_shares=(0.66, 0.26, 0.08),
    traffic_spacing_m=36,
    people_spacing_m=26,
    cyclist_spacing_m=55,
    motorcyclist_spacing_m=80,
    parked_bicycles=1.5,
    parked_motorcycles=1.5,
    crossing_people=1.0,
)

DOMAINS: Mapping[str, DomainLook] = MappingProxyType({look.name: look for look in (_DAY, _DUSK, _RAIN, _FOG)})
