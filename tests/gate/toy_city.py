"""A street of coloured blocks by day and at dusk, and small networks that learn it within seconds."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from adaptation.learning.data.crop_stream import LabelledCrops
from adaptation.learning.networks.hrda import HRDA, build_network
from benchmarks.gate.candidates import State, learn_labels
from exchange.networks import NetworkConfig

SIZE = (64, 128)
ROAD, BUILDING, TREE, SKY, CAR = 0, 2, 8, 10, 13
CLASSES = (ROAD, BUILDING, TREE, SKY, CAR)
NETWORK = NetworkConfig(
    encoder="mit_custom",
    head="light",
    detail=False,
    dims={
        "embed_dims": (8, 16, 40, 64),
        "num_heads": (1, 2, 5, 8),
        "depths": (1, 1, 1, 1),
        "sr_ratios": (8, 4, 2, 1),
        "channels": 32,
        "context_divisor": 1,
    },
)
_DAY = {ROAD: (95, 95, 100), BUILDING: (120, 105, 90), TREE: (60, 120, 50), SKY: (130, 175, 235), CAR: (175, 40, 40)}
_DUSK = {ROAD: (82, 80, 88), BUILDING: (112, 98, 84), TREE: (50, 100, 42), SKY: (122, 138, 172), CAR: (155, 36, 40)}
_BATCH = 4

Frame = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def draw_frame(seed: int, *, dusk: bool) -> Frame:
    """RGB [64, 128, 3] and train ids."""
    rng = np.random.default_rng((seed, dusk))
    labels = np.full(SIZE, SKY, np.uint8)
    horizon = int(rng.integers(30, 38))
    for _ in range(int(rng.integers(2, 4))):
        x, width, top = (int(rng.integers(*ends)) for ends in ((0, 110), (16, 40), (4, horizon - 6)))
        labels[top:horizon, x : x + width] = BUILDING
    for _ in range(int(rng.integers(1, 3))):
        cv2.circle(labels, (int(rng.integers(128)), horizon - 4), int(rng.integers(5, 10)), TREE, -1)
    labels[horizon:] = ROAD
    for _ in range(int(rng.integers(1, 3)) + dusk):
        x, y = int(rng.integers(0, 104)), int(rng.integers(horizon, 50))
        labels[y : y + 9, x : x + 22] = CAR
    table = np.zeros((256, 3))
    for k, color in (_DUSK if dusk else _DAY).items():
        table[k] = color
    image = table[labels]
    walls = (labels == BUILDING)[..., None] & (np.arange(SIZE[1]) % 6 < 2)[None, :, None]
    image = np.where(walls, 0.8 * image, image) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, (*SIZE, 3))
    return np.clip(image, 0, 255).astype(np.uint8), labels


def draw_frames(first: int, count: int, *, dusk: bool) -> list[Frame]:
    return [draw_frame(first + index, dusk=dusk) for index in range(count)]


def write_frames(root: Path, frames: Sequence[Frame]) -> Path:
    """As a GTA5 data set's folder."""
    ids = np.zeros(256, np.uint8)
    ids[list(CLASSES)] = (7, 11, 21, 23, 26)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for index, (image, labels) in enumerate(frames):
        cv2.imwrite(str(root / "images" / f"{index:05}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "labels" / f"{index:05}.png"), ids[labels])
    return root


def batch_of(frames: Sequence[Frame], iteration: int) -> LabelledCrops:
    chosen = np.random.default_rng(iteration).integers(len(frames), size=_BATCH)
    images, labels = zip(*(frames[index] for index in chosen), strict=True)
    return LabelledCrops(np.stack(images), np.stack(labels))


def new_network() -> HRDA:
    torch.manual_seed(0)
    return build_network(NETWORK)


def network_of(state: State) -> HRDA:
    network = build_network(NETWORK)
    network.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
    return network


def trained(network: HRDA, frames: Sequence[Frame], iterations: int, rate: float = 2e-3) -> State:
    (state,) = learn_labels(network, lambda n: batch_of(frames, n), (iterations,), rate)
    return state
