"""The candidates: networks that start from one incumbent and were trained well, badly or not at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from adaptation.learning.data.crop_stream import CropStream, LabelledCrops
from adaptation.learning.data.labelled_frames import LabelledFrame
from adaptation.learning.networks.checkpoints import load_network, load_network_config, save_network
from adaptation.learning.networks.hrda import HRDA, build_network, hrda_loss
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box
from adaptation.learning.rounds.crops import RoundCrops, TargetCrops
from adaptation.learning.rounds.self_training import SelfTraining
from adaptation.learning.training.optimization import parameter_groups, rate_factor, set_rates
from benchmarks.gate.city import City, crop_settings, open_crops
from exchange.jobs.recipes import SelfTrainingConfig, full, naive_mean_teacher
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.networks import NetworkConfig
from exchange.registry.releases import read_manifest

BATCH_SIZE = 2
_WARMUP_ITERATIONS = 5
_FEW_FRAMES = 4

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """One training, or one change of the incumbent's weights; every entry of `snapshots` is a candidate."""

    what: str
    make: Callable[[City, HRDA, tuple[int, ...], int], Iterator[State]]
    snapshots: tuple[int, ...] = (0,)
    """Iterations after which the network is kept."""


def make_incumbent(city: City, release: Path, out: Path, iterations: int, seed: int) -> Path:
    """The release's network without its detail windows, used to small frames and to daylight; returns its folder."""
    if not (out / "weights.safetensors").exists():
        whole = load_network(release, read_manifest(release).network)
        config = NetworkConfig(encoder="efficientnet_lite0", head="light", detail=False, dims={"context_divisor": 1})
        network = build_network(config)
        network.load_state_dict({k: t for k, t in whole.state_dict().items() if "scale_attention" not in k})
        torch.manual_seed(seed)
        stream = open_crops([city.source.frames()], crop_settings(city.size_hw, wide=False), seed)
        for state in learn_labels(network, lambda n: stream.crops(_numbers(n)), (iterations,), 3e-4):
            save_network(out, config, state)
    return out


def make_candidates(city: City, incumbent: Path, name: str, folder: Path, seed: int) -> list[Path]:
    """The plan's candidates as networks' folders, one for each snapshot; those that are there stay."""
    plan = PLANS[name]
    folders = [folder / f"{name}-{iterations}" for iterations in plan.snapshots]
    if all((each / "weights.safetensors").exists() for each in folders):
        return folders
    torch.manual_seed(seed)
    states = plan.make(city, load_network(incumbent), plan.snapshots, seed)
    for each, state in zip(folders, states, strict=True):
        save_network(each, load_network_config(incumbent), state)
    return folders


def learn_labels(
    network: HRDA, draw: Callable[[int], LabelledCrops], snapshots: Sequence[int], rate: float
) -> Iterator[State]:
    """Plain training on labelled crops; yields the weights after each of the numbers of iterations."""
    _in_channels_last(network).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, rate, 0.01))
    for iteration in range(snapshots[-1]):
        set_rates(optimizer, rate_factor(iteration, 2 * snapshots[-1], _WARMUP_ITERATIONS))
        crops = draw(iteration)
        images_N3HW = normalize(torch.from_numpy(crops.images_NHWC))
        box = Box(0, images_N3HW.shape[-2], 0, images_N3HW.shape[-1])
        logits = network.forward_train(images_N3HW, box)
        optimizer.zero_grad(set_to_none=True)
        hrda_loss(logits, torch.from_numpy(crops.labels_NHW).long()).total.backward()
        optimizer.step()
        if iteration + 1 in snapshots:
            yield _kept(network)


def _supervised(
    frames_of: Callable[[City], list[tuple[LabelledFrame, ...]]], rate: float, *, wide: bool = False
) -> Callable[[City, HRDA, tuple[int, ...], int], Iterator[State]]:
    def make(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
        stream = open_crops(frames_of(city), crop_settings(city.size_hw, wide=wide), seed)
        return learn_labels(network, lambda n: stream.crops(_numbers(n)), snapshots, rate)

    return make


def _self_trained(
    settings: SelfTrainingConfig, rate: float, *, wide: bool
) -> Callable[[City, HRDA, tuple[int, ...], int], Iterator[State]]:
    def make(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
        crops = crop_settings(city.size_hw, wide=wide)
        source = open_crops([city.source.frames()], crops, seed)
        plain = crop_settings(city.size_hw, wide=False)
        target = open_crops([city.target.frames()], plain, seed + 1)
        config = full().model_copy(
            update={"crops": crops, "detail_hw": crops.crop_hw, "learning_rate": rate, "warmup_iterations": 5}
        )
        learner = SelfTraining(config, settings, _in_channels_last(network), None, None, 2 * snapshots[-1], seed)
        for iteration in range(snapshots[-1]):
            learner.step(_both(source, target, iteration), iteration)
            if iteration + 1 in snapshots:
                shipped = learner.teacher.network if settings.ships == "teacher" else learner.student
                yield _kept(shipped)

    return make


def _both(source: CropStream, target: CropStream, iteration: int) -> RoundCrops:
    """The target's labels are left behind."""
    images_NHWC = target.crops(_numbers(iteration)).images_NHWC
    shape = images_NHWC.shape[:3]
    unasked = TargetCrops(images_NHWC, np.full(shape, IGNORE_ID, np.uint8), np.ones(shape, np.uint8))
    return RoundCrops(source.crops(_numbers(iteration)), unasked)


def _with_labels_of_other_frames(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
    """A mix-up of files: each frame carries another one's labels."""
    frames = (*city.source.frames(), *city.target.frames())
    order = np.random.default_rng(seed).permutation(len(frames))
    mixed_up = tuple(replace(frame, labels=frames[index].labels) for frame, index in zip(frames, order, strict=True))
    stream = open_crops([mixed_up], crop_settings(city.size_hw, wide=False), seed)
    return learn_labels(network, lambda n: stream.crops(_numbers(n)), snapshots, 3e-4)


def _with_shuffled_classes(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
    """Labels of another label space: every class is taken for another."""
    table = np.full(256, IGNORE_ID, np.uint8)
    table[:NUM_CLASSES] = np.random.default_rng(seed).permutation(NUM_CLASSES)
    frames = [city.source.frames(), city.target.frames()]
    stream = open_crops(frames, crop_settings(city.size_hw, wide=False), seed)

    def draw(iteration: int) -> LabelledCrops:
        crops = stream.crops(_numbers(iteration))
        return LabelledCrops(crops.images_NHWC, table[crops.labels_NHW])

    return learn_labels(network, draw, snapshots, 3e-4)


def _with_noise(share: float) -> Callable[[City, HRDA, tuple[int, ...], int], Iterator[State]]:
    """Every tensor of the weights moved by a share of its own spread."""

    def make(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
        state = _kept(network)
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                state[name] = state[name] + share * parameter.detach().std() * torch.randn_like(parameter)
        yield state

    return make


def _with_head(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[..., Iterator[State]]:
    """The classifier's weight [K, C, 1, 1] and bias [K] changed."""

    def make(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
        state = _kept(network)
        weight, bias = (
            next(name for name, tensor in state.items() if name.endswith(end) and len(tensor) == NUM_CLASSES)
            for end in (".weight", ".bias")
        )
        state[weight], state[bias] = change(state[weight], state[bias])
        yield state

    return make


def _large_classes_alone(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    kept = torch.zeros(NUM_CLASSES, dtype=torch.bool)
    kept[[0, 2, 8, 10, 13]] = True
    return weight, torch.where(kept, bias, bias - 8.0)


def _half_precision(city: City, network: HRDA, snapshots: tuple[int, ...], seed: int) -> Iterator[State]:
    yield {name: t.half().float() if t.is_floating_point() else t for name, t in _kept(network).items()}


def _in_channels_last(network: HRDA) -> HRDA:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types


def _kept(network: HRDA) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _numbers(iteration: int) -> range:
    return range(iteration * BATCH_SIZE, (iteration + 1) * BATCH_SIZE)


def _naive() -> SelfTrainingConfig:
    settings = naive_mean_teacher().self_training
    assert settings is not None  # noqa: S101  # by its definition
    return settings


def _credulous() -> SelfTrainingConfig:
    """The same haste in fewer iterations."""
    return _naive().model_copy(update={"teacher_decay": 0.9, "confidence": 0.5})


def _careful() -> SelfTrainingConfig:
    return SelfTrainingConfig(
        teacher_warm_start=True, teacher_decay=0.99, frozen_statistics=True, feature_distance_weight=0.0
    )


PLANS: MappingProxyType[str, Plan] = MappingProxyType(
    {
        "target-labels": Plan(
            "trained on both domains' labels",
            _supervised(lambda city: [city.source.frames(), city.target.frames()], 1e-4),
            (20, 60, 150),
        ),
        "wide": Plan(
            "trained on the source in every light",
            _supervised(lambda city: [city.source.frames()], 1e-4, wide=True),
            (30, 100),
        ),
        "careful": Plan("careful self-training", _self_trained(_careful(), 6e-5, wide=True), (15, 50)),
        "naive": Plan("naive mean teacher", _self_trained(_naive(), 1e-4, wide=False), (20, 60)),
        "credulous": Plan("naive and credulous", _self_trained(_credulous(), 3e-4, wide=False), (20, 60)),
        "hasty": Plan("naive, credulous and fast", _self_trained(_credulous(), 1e-3, wide=False), (15, 40)),
        "target-only": Plan(
            "trained on the target's labels alone",
            _supervised(lambda city: [city.target.frames()], 1e-3),
            (30, 100),
        ),
        "few-frames": Plan(
            f"over-trained on {_FEW_FRAMES} frames of the target",
            _supervised(lambda city: [city.target.frames()[:_FEW_FRAMES]], 1e-3),
            (60,),
        ),
        "mixed-up": Plan("labels of other frames", _with_labels_of_other_frames, (8, 30)),
        "shuffled": Plan("shuffled classes", _with_shuffled_classes, (8, 30)),
        "noise-2": Plan("weights with 2 % of noise", _with_noise(0.02)),
        "noise-8": Plan("weights with 8 % of noise", _with_noise(0.08)),
        "noise-20": Plan("weights with 20 % of noise", _with_noise(0.2)),
        "few-classes": Plan("collapsed to five classes", _with_head(_large_classes_alone)),
        "shrunk": Plan("head shrunk to a third", _with_head(lambda weight, bias: (weight / 3, bias / 3))),
        "head-noise": Plan("head with noise", _with_head(lambda w, b: (w + 0.5 * w.std() * torch.randn_like(w), b))),
        "half": Plan("weights rounded to float16", _half_precision),
    }
)
