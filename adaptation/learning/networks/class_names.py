"""The class names of other people's checkpoints, and the order of outputs that follows from them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from adaptation.learning.networks.hrda import build_network
from exchange.label_space import CLASS_NAMES
from exchange.networks import NetworkConfig

SYNONYMS = {"bike": "bicycle", "motorbike": "motorcycle", "pedestrian": "person"}
"""Other names of Cityscapes classes; a checkpoint that has both names of one is refused as naming it twice."""
_MOST_SHOWN = 5


class ClassNamesError(ValueError):
    """Class names that are no list of names, or not those of Cityscapes."""


def names_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names by output, as mmseg 0.x or 1.x keeps them; None where the checkpoint gives none.

    Raises:
        ClassNamesError: they are no names, a class is named twice, or two places of the checkpoint differ.
    """
    holders = [checkpoint, checkpoint.get("meta")]
    holders += [
        holder.get(key) for holder in holders if isinstance(holder, Mapping) for key in ("dataset_meta", "METAINFO")
    ]
    given = [holder.get(key) for holder in holders if isinstance(holder, Mapping) for key in ("CLASSES", "classes")]
    found = [_listed(names) for names in given if names is not None]
    if len({tuple(map(_plain, names)) for names in found}) > 1:
        raise ClassNamesError("names them in two ways: leave only the right names in it")
    return found[0] if found else None


def cityscapes_order(names: Sequence[str]) -> tuple[int, ...]:
    """Return the place of each train id among 19 names.

    Raises:
        ClassNamesError: they are not those of Cityscapes.
    """
    places = {_plain(name): place for place, name in enumerate(names)}
    lacking = [name for name in CLASS_NAMES if _plain(name) not in places]
    others = [name for name in names if _plain(name) not in _TRAIN_IDS]
    if lacking or others:
        has = f"has {_some(others)} and " if others else ""
        raise ClassNamesError(
            f"names other classes than Cityscapes': it {has}lacks {_some(lacking)}; give one of Cityscapes' classes"
        )
    return tuple(places[_plain(name)] for name in CLASS_NAMES)


def names_in_order(names: Sequence[str]) -> bool:
    """Return whether these are the names of Cityscapes' classes in the order of their train ids."""
    return [*map(_plain, names)] == [*map(_plain, CLASS_NAMES)]


def reordered(config: NetworkConfig, state: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
    """Return the state with output k taken from place `order[k]`, in every layer that has one channel per class.

    These are the tensors that grow with the number of classes: weights and biases of the head, which context, detail
    and fused logits share, and of the scale attention, which weights each class by itself.
    """
    with torch.device("meta"):
        larger = build_network(config.model_copy(update={"num_classes": config.num_classes + 1})).state_dict()
    places = torch.tensor(order)
    return {
        key: tensor.index_select(0, places) if tensor.shape != larger[key].shape else tensor
        for key, tensor in state.items()
    }


def _listed(names: Any) -> tuple[str, ...]:
    listed = _by_output(names) if isinstance(names, Mapping) else names
    if not isinstance(listed, tuple | list) or not all(map(_is_name, listed)):
        raise ClassNamesError(f"names {str(names)[:200]}, which is no list of class names")
    if twice := [name for name, count in Counter(map(_plain, listed)).items() if count > 1]:
        shown = [name for name in listed if _plain(name) in twice]
        raise ClassNamesError(f"names a class twice: {_some(shown)}")
    return tuple(listed)


def _by_output(names: Mapping[Any, Any]) -> list[Any] | None:
    """Return the names of {output: name} or {name: output} in order; None where the outputs are not 0, 1, 2, ..."""
    by_output = names
    if all(map(_is_name, names)):
        if not all(isinstance(output, int) for output in names.values()):
            return None
        by_output = {output: name for name, output in names.items()}
    places = range(len(names))
    return [by_output[place] for place in places] if all(place in by_output for place in places) else None


def _is_name(name: Any) -> bool:
    return isinstance(name, str)


def _plain(name: str) -> str:
    """Return a name without what spelling varies: case, spaces, underscores, hyphens, and a known other name."""
    plain = re.sub(r"[\s_-]+", "", name).casefold()
    return SYNONYMS.get(plain, plain)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(repr(name) for name in names[:_MOST_SHOWN]) + more


_TRAIN_IDS = {_plain(name): train_id for train_id, name in enumerate(CLASS_NAMES)}
