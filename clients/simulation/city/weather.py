"""What the air and the lens do to a painted frame: wet mirrors, haze, glow, rain, tone, blur, noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.simulation.city.canvas import NEARNESS_M, Bytes
from clients.simulation.city.materials import speckle
from clients.simulation.city.scene import Glow, Scene
from clients.simulation.city.street import Street, random_stream
from exchange.label_space import TRAIN_ID


class Weather:
    """The look of one drive; what can be prepared once is."""

    def __init__(self, street: Street, seed: int, size_hw: tuple[int, int]) -> None:
        self.look, self.size_hw = street.look, size_hw
        rng = random_stream(self.look, seed, 6)
        look, (rows, columns) = self.look, size_hw
        self._clear = self._clear_share()
        haze = np.asarray(look.haze_rgb) * rng.uniform(0.96, 1.03)
        self._haze = np.broadcast_to(haze.astype(np.uint8), (rows, columns, 3)).copy()
        self._tone = self._tone_table(rng)
        self._color = self._color_matrix(rng)
        bank = (rows + 64, columns + 64, 3)
        grain = speckle(rng, bank[:2], look.noise_sigma)[..., None] + speckle(rng, bank, look.noise_sigma * 0.5)
        self._noise = np.rint(grain).astype(np.int16)
        self._streaks = self._streak_bank(rng) if look.rain else None
        self._drops = self._drop_mask(rng) if look.rain else None

    def _clear_share(self) -> NDArray[np.float32]:
        """Share of an object's own light that arrives, for each nearness code."""
        codes = np.arange(256, dtype=np.float32)
        depth_m = -NEARNESS_M * np.log(np.maximum(codes, 0.5) / 255)
        clear = np.exp(-depth_m / self.look.visibility_m)
        clear[0] = 1 - self.look.sky_haze
        return clear.astype(np.float32)

    def _tone_table(self, rng: np.random.Generator) -> Bytes:
        exposure = rng.uniform(*self.look.exposure)
        x = np.arange(256) / 255 * exposure
        curved = 0.5 + (x - 0.5) * self.look.contrast if self.look.contrast <= 1 else x**self.look.contrast
        return np.clip(curved * 255, 0, 255).astype(np.uint8)

    def _color_matrix(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Saturation and this camera's white balance."""
        grey = np.full((3, 3), 1 / 3) * (1 - self.look.saturation)
        balance = np.diag(rng.uniform(0.94, 1.06, 3))
        return (balance @ (grey + np.eye(3) * self.look.saturation)).astype(np.float32)

    def _streak_bank(self, rng: np.random.Generator) -> Bytes:
        rows, columns = self.size_hw[0] + 128, self.size_hw[1] + 128
        bank = np.zeros((rows, columns), np.uint8)
        for _ in range(round(self.look.rain * rows * columns / 900)):
            x, y, length = rng.uniform(0, columns), rng.uniform(0, rows), rng.uniform(0.02, 0.07) * rows
            tip = (int(x + 0.12 * length), int(y + length))
            cv2.line(bank, (int(x), int(y)), tip, (rng.uniform(25, 95),), 1, cv2.LINE_AA)
        return cv2.GaussianBlur(bank, (0, 0), 0.7)

    def _drop_mask(self, rng: np.random.Generator) -> Bytes:
        mask = np.zeros(self.size_hw, np.uint8)
        for _ in range(26):
            center = (int(rng.uniform(0, self.size_hw[1])), int(rng.uniform(0, self.size_hw[0])))
            radius = self.size_hw[0] * rng.uniform(0.008, 0.045)
            cv2.ellipse(mask, center, (int(radius), int(radius * 1.25)), 0, 0, 360, (255,), cv2.FILLED)
        return cv2.GaussianBlur(mask, (0, 0), self.size_hw[0] / 130)

    def apply(self, scene: Scene, mirrors: Bytes, rng: np.random.Generator) -> Bytes:
        image = scene.canvas.image
        if self.look.wetness:
            self._mirror(scene, mirrors)
        clear = cv2.LUT(scene.canvas.near, self._clear)
        image = cv2.blendLinear(image, self._haze, clear, 1 - clear)
        if scene.glows:
            self._add_glow(image, scene.glows)
        if self._streaks is not None and self._drops is not None:
            image = self._rain(image, self._streaks, self._drops, rng)
        image = cv2.LUT(cv2.transform(image, self._color), self._tone)
        image = cv2.GaussianBlur(image, (0, 0), self.look.blur_sigma_px * max(1.0, self.size_hw[0] / 512))
        rows, columns = self.size_hw
        y, x = rng.integers(0, 64, 2)
        return cv2.add(image, self._noise[y : y + rows, x : x + columns], dtype=cv2.CV_8U)

    def _mirror(self, scene: Scene, mirrors: Bytes) -> None:
        """Wet ground shows what is above the horizon, upside down, blurred along the columns."""
        canvas, rows = scene.canvas, mirrors.shape[0]
        first = self.size_hw[0] - rows
        above = canvas.image[max(0, first - rows) : first]
        small = cv2.resize(above[::-1], (self.size_hw[1] // 4, rows // 4), interpolation=cv2.INTER_AREA)
        small = cv2.blur(small, (3, max(3, rows // 24)))
        mirrored = cv2.resize(small, (self.size_hw[1], rows), interpolation=cv2.INTER_LINEAR)
        ground = (canvas.labels[first:] <= TRAIN_ID["sidewalk"]) * np.uint8(255)
        share = (mirrors & ground) * np.float32(self.look.wetness * 0.85 / 255)
        canvas.image[first:] = cv2.blendLinear(canvas.image[first:], mirrored, 1 - share, share)

    def _add_glow(self, image: Bytes, glows: list[Glow]) -> None:
        rows, columns = self.size_hw
        small = np.zeros((rows // 4, columns // 4, 3), np.uint8)
        for glow in glows:
            center = (round(glow.x_px * 4), round(glow.y_px * 4))
            if abs(center[0]) < 30000 and abs(center[1]) < 30000:
                radius = min(max(6, round(glow.radius_px * 4)), rows)
                cv2.circle(small, center, radius, glow.color, cv2.FILLED, cv2.LINE_AA, 4)
        halo = cv2.GaussianBlur(small, (0, 0), rows / 128)
        wide = cv2.blur(small, (rows // 24, rows // 24))
        halo = cv2.addWeighted(halo, 0.6, wide, 0.35, 0)
        cv2.add(image, cv2.resize(halo, (columns, rows), interpolation=cv2.INTER_LINEAR), dst=image)

    def _rain(self, image: Bytes, streaks: Bytes, drops: Bytes, rng: np.random.Generator) -> Bytes:
        rows, columns = self.size_hw
        y, x = rng.integers(0, 128, 2)
        falling = streaks[y : y + rows, x : x + columns]
        image = cv2.add(image, cv2.merge([falling] * 3))
        small = cv2.resize(image, (columns // 8, rows // 8), interpolation=cv2.INTER_AREA)
        smeared = cv2.resize(cv2.blur(small, (3, 3)), (columns, rows), interpolation=cv2.INTER_LINEAR)
        share = drops * np.float32(0.9 / 255)
        return cv2.blendLinear(image, smeared, 1 - share, share)
