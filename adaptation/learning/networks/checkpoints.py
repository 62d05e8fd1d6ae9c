"""Networks on disk: a folder of our own, and the files of others, read without running anything in them."""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from adaptation.learning.networks.class_names import names_in_order
from adaptation.learning.networks.hrda import HRDA, build_network
from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig

WEIGHTS_FILE = "weights.safetensors"
NETWORK_FILE = "network.json"

State = Mapping[str, Tensor]


class CheckpointError(ValueError):
    """A file that is no checkpoint, or one that does not fit the network."""


def save_network(
    folder: Path, config: NetworkConfig, state: State, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write `weights.safetensors` and `network.json` (config and, if given, provenance) to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}, folder / WEIGHTS_FILE)
    description = {"network": config.model_dump(mode="json"), "provenance": dict(provenance or {})}
    (folder / NETWORK_FILE).write_text(json.dumps(description, indent=2) + "\n")


def load_network_config(folder: Path) -> NetworkConfig:
    """Read the config of a network that `save_network` wrote.

    Raises:
        CheckpointError: there is none, or it has other classes than the label space, or has them in another order: such
            a network can be kept, but its outputs would be taken for classes that they are not.
    """
    path = folder / NETWORK_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no network: {NETWORK_FILE} is missing")
    try:
        described = json.loads(path.read_text())
        config = NetworkConfig.model_validate(described["network"], extra="forbid")
        names = (described.get("provenance") or {}).get("classes")
        in_order = names is None or names_in_order(names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe a network: {error}") from error
    _of_the_label_space(config, path)
    if not in_order:
        raise CheckpointError(f"{path} names other classes, or another order, than Cityscapes': import its file again")
    return config


def load_network(folder: Path, config: NetworkConfig | None = None) -> HRDA:
    """Rebuild a network that `save_network` wrote, in eval mode on the CPU.

    `config` is for a folder that is described elsewhere, as a release is by its manifest.
    """
    path = folder / WEIGHTS_FILE
    config = load_network_config(folder) if config is None else _of_the_label_space(config, path)
    try:
        state = load_file(path)
    except Exception as error:  # the parser's own error type, or the file system's
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return network_with(config, state, path)


def _of_the_label_space(config: NetworkConfig, source: Path) -> NetworkConfig:
    if config.num_classes != NUM_CLASSES:
        raise CheckpointError(
            f"{source} is of a network with {config.num_classes} classes, not the {NUM_CLASSES} of the label space:"
            f" give one with {NUM_CLASSES}"
        )
    return config


def network_with(config: NetworkConfig, state: State, source: Path) -> HRDA:
    """A network in eval mode. Raises CheckpointError where the state does not fit it, or is not finite."""
    try:
        with torch.device("meta"):
            network = build_network(config)
    except ValueError as error:
        raise CheckpointError(f"{source} has no network that can be built: {error}") from error
    expected = network.state_dict()
    problems = [
        *(f"{key} {tuple(expected[key].shape)} is missing" for key in expected if key not in state),
        *(f"{key} {tuple(state[key].shape)} is not part of the network" for key in state if key not in expected),
        *(
            f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in state and state[key].shape != tensor.shape
        ),
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckpointError(f"{source} does not fit {config.encoder} with head {config.head}: {shown}")
    if broken := next((key for key, tensor in state.items() if not tensor.isfinite().all()), None):
        raise CheckpointError(f"{source} holds weights that are no numbers, {broken} first: take an earlier checkpoint")
    network.load_state_dict({key: tensor.to(expected[key].dtype) for key, tensor in state.items()}, assign=True)
    return network.eval()


def read_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary of tensors and plain values that torch wrote to a file; code in it is never run.

    Raises:
        CheckpointError: there is no such file, or something else in it; torch's own advice is to run that.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is a folder: name a file in it" if path.is_dir() else f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the file's form
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way
        objects = re.search(r"GLOBAL (\S+) was not", str(error))
        reason = (
            f"it holds Python objects ({objects[1]}), which are never loaded: save its tensors alone"
            if objects
            else "it is damaged, or torch did not write it: copy it again"
        )
        raise CheckpointError(f"{path} cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint's dictionary")
    return content
