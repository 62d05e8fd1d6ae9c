"""The official HRDA and DAFormer checkpoints, brought into a folder of our own."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from adaptation.learning.networks.checkpoints import CheckpointError, State, network_with, read_torch_file, save_network
from adaptation.learning.networks.class_names import ClassNamesError, cityscapes_order, names_of, reordered
from adaptation.learning.networks.mix_transformer import MIX_TRANSFORMERS, MixTransformerSizes
from exchange.label_space import NUM_CLASSES
from exchange.networks import Encoder, Head, NetworkConfig
from exchange.registry.releases import file_sha256
from exchange.storage.whole_folder import whole_folder

PUBLISHED_HEADS = (1, 2, 5, 8)
PUBLISHED_WIDTH = 256
PUBLISHED_RESNET = {"depths": (3, 4, 23, 3), "base_channels": 64}


@dataclass(frozen=True)
class ImportedCheckpoint:
    """What `import_checkpoint` read."""

    config: NetworkConfig
    layout: Literal["published", "released", "training", "bare"]
    """Weights only; with the authors' notes; with teacher or optimizer; without the `model.` prefix."""
    teacher: bool
    iteration: int | None
    classes: tuple[str, ...] | None
    """By output of the network as it is kept; None where the file names none."""
    reordered: bool
    """The file named Cityscapes' classes in another order; the network has theirs."""
    verified: bool
    """False for DAFormer checkpoints, whose outputs were never compared with the authors' own."""


def import_checkpoint(path: Path, out: Path, *, teacher: bool = False) -> ImportedCheckpoint:
    """Bring an official HRDA or DAFormer checkpoint into a folder that `load_network` reads.

    The student is taken, or with `teacher` the averaged model that training checkpoints also hold. The network is
    recognised by its keys and shapes; the number of attention heads does not show in them and is the published one.
    A DAFormer checkpoint becomes the context branch alone at full resolution (`detail=False`, `context_divisor` 1); its
    authors trained and tested it on frames of 512x1024. Outputs that the file names in another order are brought into
    that of Cityscapes' train ids; another number of classes is kept in the file's order.

    Raises:
        FolderTaken: `out` holds something.
        CheckpointError: the file is damaged, holds more than tensors and plain values, does not fit a network, or names
            other classes than Cityscapes'.
    """
    with whole_folder(out) as partial:
        imported, state = _read(path, teacher)
        provenance = {key: value for key, value in asdict(imported).items() if key != "config"}
        save_network(partial, imported.config, state, {"file": path.name, "sha256": file_sha256(path), **provenance})
    return imported


def _read(path: Path, teacher: bool) -> tuple[ImportedCheckpoint, State]:
    content = read_torch_file(path)
    tensors, meta = content.get("state_dict", content), content.get("meta") or {}
    if not isinstance(tensors, dict) or not isinstance(meta, dict):
        raise CheckpointError(f"{path} holds no state_dict")
    named = {re.sub(r"^module\.", "", str(key)): value for key, value in tensors.items()}
    prefixed = any(key.startswith("model.") for key in named)
    state = _submodel(named, "ema_model." if teacher else "model." if prefixed else "", path)
    config, verified = _recognised(state, path)
    if not verified:
        state = {re.sub(r"^decode_head\.", "decode_head.head.", key): tensor for key, tensor in state.items()}
    network = network_with(config, state, path)
    names, order = _class_names(content, config, path)
    kept = network.state_dict() if order is None else reordered(config, network.state_dict(), order)
    with_training = "optimizer" in content or any(key.startswith("ema_model.") for key in named)
    imported = ImportedCheckpoint(
        config=config,
        layout="training" if with_training else "bare" if not prefixed else "released" if meta else "published",
        teacher=teacher,
        iteration=meta["iter"] if isinstance(meta.get("iter"), int) else None,
        classes=names,
        reordered=order is not None,
        verified=verified,
    )
    return imported, kept


def _class_names(
    content: Mapping[str, Any], config: NetworkConfig, path: Path
) -> tuple[tuple[str, ...] | None, tuple[int, ...] | None]:
    """Return the names in the order that they are kept in, and that order where it is not the file's own."""
    try:
        names = names_of(content)
        if names is None:
            return None, None
        if len(names) != config.num_classes:
            raise ClassNamesError(f"names {len(names)}")
        if len(names) != NUM_CLASSES:
            return names, None
        order = cityscapes_order(names)
    except ClassNamesError as error:
        raise CheckpointError(f"{path} predicts {config.num_classes} classes but {error}") from error
    return tuple(names[place] for place in order), None if order == tuple(range(NUM_CLASSES)) else order


def _submodel(named: Mapping[str, Any], prefix: str, path: Path) -> dict[str, Tensor]:
    state = {key.removeprefix(prefix): tensor for key, tensor in named.items() if key.startswith(prefix)}
    if not state and prefix == "ema_model.":
        raise CheckpointError(f"{path} holds no teacher (published checkpoints drop it): import the student instead")
    others = [key for key, tensor in state.items() if not isinstance(tensor, Tensor)]
    if others or not state:
        reason = f"{', '.join(others[:3])} is not a tensor" if others else "its state_dict is empty"
        raise CheckpointError(f"{path} holds no weights: {reason}")
    return state


def _recognised(state: State, path: Path) -> tuple[NetworkConfig, bool]:
    """The network whose keys and shapes these are, and whether it is an HRDA (rather than a DAFormer) checkpoint."""
    nested = any(key.startswith("decode_head.head.") for key in state)
    prefix = "decode_head.head." if nested else "decode_head."
    head: Head = "deeplabv2" if f"{prefix}aspp_modules.0.conv.weight" in state else "daformer"
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
