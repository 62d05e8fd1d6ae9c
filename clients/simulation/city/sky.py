"""The sky and the far skyline as one wide picture, of which each frame shows the part ahead."""

import cv2
import numpy as np

from clients.simulation.city.canvas import Bytes
from clients.simulation.city.domain_look import DomainLook
from clients.simulation.city.materials import clouded_noise, speckle
from clients.simulation.city.street import Light, random_stream
from exchange.label_space import TRAIN_ID


class Sky:
    """`image` and `labels` of the rows above the horizon, for yaws within `reach_px` columns of straight ahead."""

    def __init__(self, look: DomainLook, seed: int, light: Light, horizon_rows: int, columns: int) -> None:
        rng = random_stream(look, seed, 3)
        self.reach_px = columns // 2
        below = max(16, horizon_rows // 15)  # the camera sways: seven standard deviations of it
        size_hw = (horizon_rows + below, columns + 2 * self.reach_px)
        climb = np.linspace(1, 0, size_hw[0], dtype=np.float32)[:, None, None] ** 0.8
        top, horizon = (np.asarray(rgb, np.float32) for rgb in (look.sky_top_rgb, look.sky_horizon_rgb))
        sky = horizon + (top * rng.uniform(0.85, 1.15) - horizon) * climb + np.zeros((*size_hw, 3), np.float32)
        stretched = clouded_noise(rng, (size_hw[0] // 2, size_hw[1] // 4), 5, 5)
        clouds = cv2.resize(stretched, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
        cover = look.cloud_cover * rng.uniform(0.5, 1.5)
        opacity = np.clip((clouds + cover - 0.55) * 1.8, 0, 0.95)[..., None]
        shading = 1 - 0.16 * np.clip(clouds, 0, 1)[..., None]
        sky += (np.asarray(look.cloud_rgb, np.float32) * shading - sky) * opacity
        self.image: Bytes = np.clip(sky + speckle(rng, size_hw, 1.0)[..., None], 0, 255).astype(np.uint8)
        self.labels: Bytes = np.full(size_hw, TRAIN_ID["sky"], np.uint8)
        self._skyline(rng, look, light)

    def _skyline(self, rng: np.random.Generator, look: DomainLook, light: Light) -> None:
        """Roofs and treetops some 250 m away, pale with haze."""
        rows, columns = self.labels.shape
        unit = columns / 64
        haze = np.asarray(look.haze_rgb)
        position = 0.0
        while position < columns:
            width = unit * rng.uniform(0.5, 1.8)
            built = rng.random() < look.lot_shares[0] + 0.2
            base = np.array([150, 138, 128]) * rng.uniform(0.7, 1.1) if built else np.array([70, 92, 58])
            paint = tuple(base * np.asarray(light.gain((0, 0.3, -0.6))) * 0.6 + haze * 0.4)
            label = TRAIN_ID["building"] if built else TRAIN_ID["vegetation"]
            tall = unit * rng.uniform(0.3, 1.1)
            foot = rows - 1
            x0, x1 = int(position), int(position + width)
            for picture, value in ((self.image, paint), (self.labels, (label,))):
                if built:
                    cv2.rectangle(picture, (x0, int(foot - tall)), (x1, foot), value, cv2.FILLED)
                else:
                    center = ((x0 + x1) // 2, foot)
                    cv2.ellipse(picture, center, (int(width * 0.7), int(tall)), 0, 180, 360, value, cv2.FILLED)
            position += width * 0.8

    def window(self, yaw_px: float, columns: int, rows: int) -> tuple[Bytes, Bytes]:
        """Image and labels of the upper `rows` rows when the camera is turned `yaw_px` columns to the right."""
        start = int(np.clip(self.reach_px + yaw_px, 0, 2 * self.reach_px))
        lowest = self.labels.shape[0] - rows
        region = np.s_[lowest:, start : start + columns]
        return self.image[region], self.labels[region]
