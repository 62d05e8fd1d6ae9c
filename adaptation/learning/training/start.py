"""The network that a training starts from: pretrained on ImageNet where weights are at hand, or a given one."""

from pathlib import Path

import torch
from torch import nn

from adaptation.learning.networks.checkpoints import WEIGHTS_FILE, load_network, load_network_config, read_torch_file
from adaptation.learning.networks.efficientnet_lite import EfficientNetLite0
from adaptation.learning.networks.hrda import HRDA, build_network
from adaptation.learning.networks.imagenet import load_imagenet_weights
from adaptation.learning.training.errors import TrainingError
from adaptation.learning.training.recipes import TrainingConfig
from exchange.registry.releases import MANIFEST_NAME, file_sha256, read_manifest


def starting_network(config: TrainingConfig, seed: int, start: Path | None) -> HRDA:
    """Builds the recipe's network with seeded weights, then loads what it starts from.

    Args:
        config: the recipe.
        seed: of the weights that nothing is loaded for.
        start: None for ImageNet weights (EfficientNet-Lite0 only); a network's or a release's folder, of the same
            description; or a file of encoder weights, as MiT's ImageNet weights are published.

    Raises:
        TrainingError, CheckpointError: what is given cannot be read, or does not fit the recipe's network.
    """
    torch.manual_seed(seed)
    network = build_network(config.network)
    if start is None:
        if config.network.encoder == "efficientnet_lite0":
            load_imagenet_weights(network)
    elif start.is_dir():
        is_release = (start / MANIFEST_NAME).exists()
        found = read_manifest(start).network if is_release else load_network_config(start)
        if found != config.network:
            raise TrainingError(f"{start} holds {found}, but the recipe trains {config.network}: choose another one")
        network.load_state_dict(load_network(start, found).state_dict())
    else:
        _load_encoder(network, start)
    return network


def start_sha256(start: Path) -> str:
    """Of the weights that `starting_network` reads.

    Raises:
        TrainingError: there are none.
    """
    weights = start / WEIGHTS_FILE if start.is_dir() else start
    if not weights.is_file():
        raise TrainingError(f"{weights} is missing: give a network's folder or a file of encoder weights")
    return file_sha256(weights)


def _load_encoder(network: HRDA, path: Path) -> None:
    content = read_torch_file(path)
    state = content.get("state_dict", content.get("model", content))
    if not isinstance(state, dict):
        raise TrainingError(f"{path} holds no weights: give a file of encoder weights")
    encoder = {str(name): tensor for name, tensor in state.items() if not str(name).startswith("head.")}
    expected = {name: tensor.shape for name, tensor in network.backbone.state_dict().items()}
    found = {name: getattr(tensor, "shape", None) for name, tensor in encoder.items()}
    if differing := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
        raise TrainingError(
            f"{path} does not hold this recipe's encoder: {len(differing)} weights are missing, of another shape or not"
            f" part of it, {', '.join(differing[:3])} first"
        )
    network.backbone.load_state_dict(encoder)


def freeze_first_stages(network: HRDA, stages: int) -> None:
    """Keeps the stem and the first stages of EfficientNet-Lite0 from learning, their batch norms included.

    Raises:
        TrainingError: the network has another encoder.
    """
    if not isinstance(network.backbone, EfficientNetLite0):
        raise TrainingError("frozen_stages is for encoder efficientnet_lite0: leave it out of the recipe")
    for part in (network.backbone.stem, *network.backbone.stages[:stages]):
        part.eval().requires_grad_(False)


def freeze_statistics(network: nn.Module) -> None:
    """Keeps batch norm's running statistics as they are, and normalises by them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
