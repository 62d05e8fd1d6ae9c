"""Networks on disk: a folder of our own, and the official HRDA and DAFormer checkpoints brought into it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from adaptation.networks.hrda import HRDA, build_network
from adaptation.networks.mix_transformer import MIX_TRANSFORMERS, MixTransformerSizes
from exchange.networks import Encoder, Head, NetworkConfig

WEIGHTS_FILE = "weights.safetensors"
NETWORK_FILE = "network.json"
PUBLISHED_HEADS = (1, 2, 5, 8)
PUBLISHED_WIDTH = 256
PUBLISHED_RESNET = {"depths": (3, 4, 23, 3), "base_channels": 64}

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
    """Read the config of a network that `save_network` wrote."""
    path = folder / NETWORK_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no network: {NETWORK_FILE} is missing")
    try:
        return NetworkConfig.model_validate(json.loads(path.read_text())["network"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not describe a network: {error}") from error


def load_network(folder: Path, config: NetworkConfig | None = None) -> HRDA:
    """Rebuild a network that `save_network` wrote, in eval mode on the CPU.

    `config` is for a folder that is described elsewhere, as a release is by its manifest.
    """
    config = config or load_network_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        state = load_file(path)
    except Exception as error:  # the parser's own error type, or the file system's
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return _network_with(config, state, path)


def _network_with(config: NetworkConfig, state: State, source: Path) -> HRDA:
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
    network.load_state_dict({key: tensor.to(expected[key].dtype) for key, tensor in state.items()}, assign=True)
    return network.eval()


@dataclass(frozen=True)
class ImportedCheckpoint:
    """What `import_checkpoint` read."""

    config: NetworkConfig
    layout: Literal["published", "released", "training", "bare"]
    """Weights only; with the authors' notes; with teacher or optimizer; without the `model.` prefix."""
    teacher: bool
    iteration: int | None
    classes: tuple[str, ...] | None
    verified: bool
    """False for DAFormer checkpoints, whose outputs were never compared with the authors' own."""


def import_checkpoint(path: Path, out: Path, *, teacher: bool = False) -> ImportedCheckpoint:
    """Bring an official HRDA or DAFormer checkpoint into a folder that `load_network` reads.

    The student is taken, or with `teacher` the averaged model that training checkpoints also hold. The network is
    recognised by its keys and shapes; the number of attention heads does not show in them and is the published one.
    A DAFormer checkpoint becomes the context branch alone at full resolution (`detail=False`, `context_divisor` 1); its
    authors trained and tested it on frames of 512x1024.

    Raises:
        CheckpointError: the file is damaged, holds more than tensors and plain values, or does not fit a network.
    """
    content = _read(path)
    tensors = content.get("state_dict", content)
    meta = content.get("meta") or {}
    if not isinstance(tensors, dict) or not isinstance(meta, dict):
        raise CheckpointError(f"{path} holds no state_dict")
    named = {re.sub(r"^module\.", "", str(key)): value for key, value in tensors.items()}
    prefixed = any(key.startswith("model.") for key in named)
    state = _submodel(named, "ema_model." if teacher else "model." if prefixed else "", path)
    config, verified = _recognised(state, path)
    if not verified:
        state = {re.sub(r"^decode_head\.", "decode_head.head.", key): tensor for key, tensor in state.items()}
    network = _network_with(config, state, path)
    classes = meta.get("CLASSES")
    if classes is not None and (not isinstance(classes, tuple | list) or len(classes) != config.num_classes):
        raise CheckpointError(f"{path} predicts {config.num_classes} classes but names {classes}")
    with_training = "optimizer" in content or any(key.startswith("ema_model.") for key in named)
    imported = ImportedCheckpoint(
        config=config,
        layout="training" if with_training else "bare" if not prefixed else "released" if meta else "published",
        teacher=teacher,
        iteration=meta.get("iter"),
        classes=None if classes is None else tuple(classes),
        verified=verified,
    )
    provenance = {key: value for key, value in asdict(imported).items() if key != "config"}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    save_network(out, config, network.state_dict(), {"file": path.name, "sha256": digest, **provenance})
    return imported


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way; code in it is refused, never run
        raise CheckpointError(
            f"{path} cannot be read as tensors and plain values (damaged, or it holds other Python objects, "
            f"which are never loaded): {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint's dictionary")
    return content


def _submodel(named: Mapping[str, Any], prefix: str, path: Path) -> dict[str, Tensor]:
    state = {key.removeprefix(prefix): tensor for key, tensor in named.items() if key.startswith(prefix)}
    if not state and prefix == "ema_model.":
        raise CheckpointError(f"{path} holds no teacher (published checkpoints drop it): import the student instead")
    others = [key for key, tensor in state.items() if not isinstance(tensor, Tensor)]
    if others or not state:
        raise CheckpointError(f"{path} holds no weights: {', '.join(others[:3]) or 'it'} is not a tensor")
    return state


def _recognised(state: State, path: Path) -> tuple[NetworkConfig, bool]:
    """The network whose keys and shapes these are, and whether it is an HRDA (rather than a DAFormer) checkpoint."""
    nested = any(key.startswith("decode_head.head.") for key in state)
    prefix = "decode_head.head." if nested else "decode_head."
    head: Head = "daformer" if f"{prefix}conv_seg.weight" in state else "deeplabv2"
    try:
        encoder, dims = _recognised_encoder(state)
        if head == "daformer":
            num_classes, channels = state[f"{prefix}conv_seg.weight"].shape[:2]
            widths = {"channels": channels}
            if nested:
                widths["attention_channels"] = state["decode_head.scale_attention.conv_seg.weight"].shape[1]
            dims |= {name: width for name, width in widths.items() if width != PUBLISHED_WIDTH}
        else:
            num_classes = state[f"{prefix}aspp_modules.0.conv.weight"].shape[0]
        if not nested:
            dims["context_divisor"] = 1
        return NetworkConfig(encoder=encoder, head=head, num_classes=num_classes, detail=nested, dims=dims), nested
    except KeyError as error:
        raise CheckpointError(f"{path} is no HRDA or DAFormer network that is known: {error} is missing") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is no HRDA or DAFormer network that is known: {error}") from error


def _recognised_encoder(state: State) -> tuple[Encoder, dict[str, Any]]:
    if "backbone.stem.0.weight" in state:
        depths = tuple(_count(state, rf"backbone\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
        dims = {"depths": depths, "base_channels": state["backbone.stem.6.weight"].shape[0]}
        return "resnet101_v1c", {} if dims == PUBLISHED_RESNET else dims
    sizes = MixTransformerSizes(
        embed_dims=tuple(state[f"backbone.patch_embed{stage}.proj.weight"].shape[0] for stage in range(1, 5)),
        num_heads=PUBLISHED_HEADS,
        depths=tuple(_count(state, rf"backbone\.block{stage}\.(\d+)\.") for stage in range(1, 5)),
        sr_ratios=tuple(_reduction(state, stage) for stage in range(1, 5)),
    )
    for name, published in MIX_TRANSFORMERS.items():
        if sizes == published:
            return name, {}
    return "mit_custom", sizes._asdict()


def _count(state: State, pattern: str) -> int:
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def _reduction(state: State, stage: int) -> int:
    conv = state.get(f"backbone.block{stage}.0.attn.sr.weight")
    return 1 if conv is None else conv.shape[-1]
