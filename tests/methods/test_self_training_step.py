"""One whole step of HRDA's self-training on the authors' tiny network, weights and choices: their reference numbers."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptation.learning.methods.self_training import (
    MeanTeacher,
    SelfTrainingBatch,
    StepChoices,
    StepResult,
    StrongAugmentation,
    draw_choices,
    self_training_step,
)
from adaptation.learning.networks.hrda import HRDA, build_hrda
from adaptation.learning.networks.windows import Box
from adaptation.learning.training.optimization import HEAD_FACTOR, parameter_groups

LEARNING_RATE = 6e-5
REFERENCE = Path(__file__).parent.parent / "reference" / "methods" / "self_training_step.npz"


def tiny_network() -> HRDA:
    return build_hrda(
        "mit_custom",
        "daformer",
        embed_dims=(8, 16, 40, 64),
        num_heads=(1, 2, 5, 8),
        depths=(1, 2, 2, 1),
        sr_ratios=(8, 4, 2, 1),
        channels=32,
        attention_channels=24,
        drop_path=0.0,
        dropout=0.0,
    )


class Step:
    """The step taken once, with what it left behind."""

    def __init__(self) -> None:
        self.numbers = np.load(REFERENCE)
        self.student, imagenet = tiny_network(), tiny_network().eval()
        self.student.load_state_dict(self.weights("student/"))
        imagenet.load_state_dict(self.weights("imagenet/"), strict=False)
        teacher_network = tiny_network()
        teacher_network.load_state_dict(self.weights("teacher/"), strict=False)
        self.teacher = MeanTeacher(teacher_network)
        groups = parameter_groups(self.student, learning_rate=LEARNING_RATE, weight_decay=0.01)
        self.result = self_training_step(
            self.student,
            self.teacher,
            imagenet.backbone,
            torch.optim.AdamW(groups),
            SelfTrainingBatch(self("img"), self("gt"), self("target_img"), self("valid")),
            self.recorded_choices(),
        )

    def __call__(self, name: str) -> torch.Tensor:
        return torch.as_tensor(self.numbers[name])

    def weights(self, prefix: str) -> dict[str, torch.Tensor]:
        names = [name for name in self.numbers.files if name.startswith(prefix)]
        return {name.removeprefix(prefix): self(name) for name in names}

    def recorded_choices(self) -> StepChoices:
        classes = self("gt").unique()
        source_box, mixed_box = (Box(*edges) for edges in self("boxes").tolist())
        return StepChoices(
            source_box, mixed_box, [classes[index] for index in self("class_index")], StrongAugmentation()
        )


@pytest.fixture(scope="module")
def step() -> Step:
    return Step()


def losses(result: StepResult) -> list[torch.Tensor]:
    source, mixed = result.source, result.mixed
    return [source.fused, source.detail, result.feature_distance, mixed.fused, mixed.detail]


def test_losses_are_the_authors(step) -> None:
    torch.testing.assert_close(torch.stack(losses(step.result)).double(), step("losses"), rtol=1e-5, atol=0)


def differing_share(labels_NHW: torch.Tensor, expected_NHW: torch.Tensor) -> float:
    return (labels_NHW != expected_NHW.long()).float().mean().item()


def test_pseudo_labels_masks_and_mixed_batch_are_the_authors(step) -> None:
    """A pixel whose two best classes tie goes either way with the CPU's order of summation: 1 in 131072 was seen."""
    assert differing_share(step.result.pseudo.labels_NHW, step("pseudo_label")) <= 1e-4
    mixed = step.result.mixed_batch
    assert differing_share(mixed.labels_NHW, step("mixed_lbl")) <= 1e-4
    assert torch.equal(mixed.weights_NHW, step("mixed_weight"))
    images = mixed.images_N3HW.contiguous().numpy().astype("<f4").tobytes()
    assert hashlib.sha256(images).hexdigest() == step.numbers["mixed_img_sha256"]


def test_gradients_are_the_authors(step) -> None:
    parameters = dict(step.student.named_parameters())
    for name, expected in zip(step.numbers["parameter_names"], step("grad_norms").tolist(), strict=True):
        # Mathematically zero: a shift that the batch norm after it takes away again.
        if "scale_attention.embed_layers" not in name or not name.endswith("bias"):
            # Biases before a norm sum cancelling terms, whose order depends on the number of threads.
            assert parameters[name].grad.norm().item() == pytest.approx(expected, rel=1e-3), name


def test_parameters_after_the_step_are_the_authors(step) -> None:
    """Sums to 1e-4 of the absolute values.

    AdamW moves even an entry whose gradient is rounding noise, such as a bias of attention's keys, by a whole step,
    whose sign depends on the CPU: each adds two steps to the tolerance.
    """
    gradients = {name: parameter.grad for name, parameter in step.student.named_parameters()}
    for network, sums in ((step.student, "student_sums"), (step.teacher.network, "teacher_sums")):
        parameters = dict(network.named_parameters())
        for name, expected in zip(step.numbers["parameter_names"], step(sums).tolist(), strict=True):
            values, gradient = parameters[name].double(), gradients[name].abs()
            noise = (gradient < max(1e-6 * gradient.max().item(), 1e-7)).sum().item()
            rate = LEARNING_RATE * (1 if name.startswith("backbone") else HEAD_FACTOR)
            tolerance = 1e-4 * values.abs().sum().item() + 2 * rate * noise
            assert values.sum().item() == pytest.approx(expected, abs=tolerance), name


def test_a_step_of_own_choices_learns_without_things_or_valid_pixels() -> None:
    """No thing in sight, no target pixel trusted, no reference encoder: nothing turns into NaN."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    student, teacher, imagenet = tiny_network(), MeanTeacher(tiny_network()), tiny_network().eval()
    images = torch.randn(2, 3, 128, 128, generator=generator)
    labels = torch.zeros(2, 128, 128, dtype=torch.uint8)
    labels[:, 64:] = 255
    batch = SelfTrainingBatch(images, labels, images.flip(0), torch.zeros(2, 128, 128))
    optimizer = torch.optim.AdamW(parameter_groups(student, 6e-5, 0.01))
    for reference_encoder in (imagenet.backbone, None):
        choices = draw_choices(labels, (64, 64), generator)
        result = self_training_step(student, teacher, reference_encoder, optimizer, batch, choices)
        assert (result.feature_distance is None) == (reference_encoder is None)
        assert all(loss.isfinite() for loss in losses(result) if loss is not None)
        assert all(parameter.isfinite().all() for parameter in student.parameters())
    assert int(teacher.updates) == 2


def test_choices_come_from_the_generator_alone() -> None:
    labels = torch.randint(19, (2, 256, 256), generator=torch.Generator().manual_seed(0))
    one, same, other = (draw_choices(labels, (128, 128), torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert (one.source_box, one.mixed_box, one.augmentation) == (same.source_box, same.mixed_box, same.augmentation)
    assert all(torch.equal(first, second) for first, second in zip(one.classes, same.classes, strict=True))
    assert (one.source_box, one.mixed_box) != (other.source_box, other.mixed_box)
    assert one.source_box.size == one.mixed_box.size == (128, 128)
