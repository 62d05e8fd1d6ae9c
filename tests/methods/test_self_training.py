"""The parts of HRDA's self-training against the authors' reference numbers, and their guards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from adaptation.learning.methods.self_training import (
    ColorJitter,
    MeanTeacher,
    StrongAugmentation,
    augment_strongly,
    choose_classes,
    class_masks,
    class_mix,
    color_jitter,
    downscale_labels,
    draw_strong_augmentation,
    feature_distance,
    gaussian_blur,
    inside_margins,
    mean_distance,
    pseudo_label_weight,
    pseudo_labels,
    teacher_alpha,
)
from adaptation.learning.networks.hrda import HRDA, build_hrda
from adaptation.learning.networks.normalization import MEAN_RGB, STD_RGB, denormalize, normalize


@pytest.fixture
def numbers(reference):
    return reference("self_training")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_network(seed: int) -> HRDA:
    torch.manual_seed(seed)
    return build_hrda(
        "mit_custom",
        "light",
        embed_dims=(8, 16, 40, 64),
        num_heads=(1, 2, 5, 8),
        depths=(1, 1, 1, 1),
        sr_ratios=(8, 4, 2, 1),
        channels=16,
        attention_channels=8,
    )


def test_alpha_is_the_authors(numbers) -> None:
    for iteration, alpha in zip(numbers["alpha_at"].tolist(), numbers["alpha"].tolist(), strict=True):
        assert teacher_alpha(iteration) == pytest.approx(alpha, rel=1e-12)


def test_the_teacher_follows_parameters_and_leaves_statistics_alone() -> None:
    student, teacher = small_network(0), MeanTeacher(small_network(1))
    untouched = {name: buffer.clone() for name, buffer in teacher.network.named_buffers()}
    teacher.update(student)
    for own, followed in zip(teacher.network.parameters(), student.parameters(), strict=True):
        assert torch.equal(own, followed)
    before = [parameter.clone() for parameter in student.parameters()]
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
        for buffer in student.buffers():
            buffer.add_(1)
    teacher.update(student)
    for own, start in zip(teacher.network.parameters(), before, strict=True):
        torch.testing.assert_close(own, start + 0.5)
        assert not own.requires_grad
    assert all(torch.equal(buffer, untouched[name]) for name, buffer in teacher.network.named_buffers())


def test_a_resumed_teacher_goes_on() -> None:
    student, teacher = small_network(0), MeanTeacher(small_network(1))
    for _ in range(3):
        teacher.update(student)
    resumed = MeanTeacher(small_network(2))
    resumed.load_state_dict(teacher.state_dict())
    assert resumed.updates == 3
    student.load_state_dict(small_network(3).state_dict())
    for each in (teacher, resumed):
        each.update(student)
    states = zip(teacher.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in states)


def test_the_teacher_labels_without_dropout_by_the_batch_statistics() -> None:
    teacher = MeanTeacher(small_network(0))
    images = torch.randn(2, 3, 64, 64, generator=seeded())
    statistics = {name: buffer.clone() for name, buffer in teacher.network.named_buffers() if "running_mean" in name}
    first, second = (teacher.logits(images, (32, 32)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (2, 19, 64, 64)
    assert not first.requires_grad
    moved = dict(teacher.network.named_buffers())
    assert not any(torch.equal(moved[name], buffer) for name, buffer in statistics.items())


def test_pseudo_labels_and_weights_are_the_authors(numbers) -> None:
    logits = F.interpolate(numbers["pseudo/logits_small"], size=(128, 128), mode="bilinear", align_corners=False)
    pseudo = pseudo_labels(logits)
    assert torch.equal(pseudo.labels_NHW.byte(), numbers["pseudo/plain/label"][:, 0])
    for valid, name in (
        (None, "plain"),
        (inside_margins(128, 128, top=15, bottom=30), "v1_top15_bottom30"),
        (numbers["pseudo/v2_valid_mask"][:, 0], "v2_mask"),
    ):
        assert torch.equal(pseudo_label_weight(pseudo.confidence_NHW, 0.968, valid), numbers[f"pseudo/{name}/weight"])


def test_margins_of_cityscapes_frames_are_the_authors() -> None:
    assert int(inside_margins(1024, 2048, 30, 240, 30, 30).sum()) == 1498952


def test_class_masks_and_mixing_are_the_authors(numbers) -> None:
    labels = numbers["classmix/labels"][:, 0]
    masks = class_masks(labels, list(numbers["classmix_chosen"]))
    assert torch.equal(masks, numbers["classmix/masks"][:, 0].bool())
    for name in ("data", "target", "weight"):
        source, target = numbers[f"onemix/{name}"].split(1)
        mixed = class_mix(masks[:1], source, target)
        assert torch.equal(mixed.squeeze(), numbers[f"onemix/out_{name}"].squeeze())


def test_half_of_the_batch_s_classes_are_chosen_for_each_sample(numbers) -> None:
    labels = numbers["classmix/labels"][:, 0]
    chosen = choose_classes(labels, seeded())
    assert [len(classes) for classes in chosen] == [9, 9]
    assert all(torch.isin(classes, labels.unique()).all() and len(classes.unique()) == 9 for classes in chosen)
    assert not torch.equal(*chosen)
    assert [len(classes) for classes in choose_classes(torch.tensor([[[0, 1, 255]]]), seeded())] == [2]


def test_downscaled_labels_are_the_authors(numbers) -> None:
    labels = numbers["downscale/in"][:, 0]
    for factor, share in ((8, 0.75), (16, 0.5), (32, 0.75)):
        expected = numbers[f"downscale/f{factor}_r{share}"][:, 0]
        assert torch.equal(downscale_labels(labels, factor, share).byte(), expected)
    tied = numbers["downscale_tie_in"][None]
    for share in (75, 50):
        expected = numbers[f"downscale_tie_out{share}"][None]
        assert torch.equal(downscale_labels(tied, 4, share / 100).byte(), expected)


def test_feature_distance_is_the_authors(numbers) -> None:
    features, reference, mask = numbers["fd/f1"], numbers["fd/f2"], numbers["fd/mask"][:, 0]
    everywhere = torch.ones_like(mask)
    torch.testing.assert_close(
        mean_distance(features, reference, mask), numbers["fd_masked"].float(), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        mean_distance(features, reference, everywhere), numbers["fd_unmasked"].float(), rtol=1e-5, atol=0
    )
    things = torch.full((2, 16, 16), 13)
    torch.testing.assert_close(feature_distance(features, reference, things), numbers["fd_unmasked"].float())


@given(label=st.sampled_from([0, 13, 255]), same=st.booleans())
def test_feature_distance_and_its_gradient_are_finite(label: int, same: bool) -> None:
    features = torch.randn(1, 4, 2, 2, generator=seeded()).requires_grad_()
    other = features.detach().clone() if same else torch.zeros(1, 4, 2, 2)
    distance = feature_distance(features, other, torch.full((1, 8, 8), label))
    distance.backward()
    assert (distance > 0) == (label == 13 and not same)
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_color_jitter_is_the_authors(numbers, draw: int) -> None:
    factors, order = numbers["jitter_parameters"][draw].tolist(), tuple(numbers["jitter_order"][draw].tolist())
    jittered = color_jitter(numbers["blur_in"], [ColorJitter(*factors, order)])
    torch.testing.assert_close(jittered[..., ::4, ::4], numbers[f"jitter_out{draw}"], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("sigma_px", [0.15, 0.7, 1.15])
def test_blur_is_the_authors(numbers, sigma_px: float) -> None:
    blurred = gaussian_blur(numbers["blur_in"], [sigma_px])
    torch.testing.assert_close(blurred[..., ::4, ::4], numbers[f"blur_sigma{sigma_px}"], rtol=1e-5, atol=5e-6)


def test_blur_kernels_span_what_the_authors_span(numbers) -> None:
    for side, kernel in zip(numbers["blur_sides"].tolist(), numbers["blur_kernels"].tolist(), strict=True):
        line = torch.zeros(1, 1, side, side)
        line[..., side // 2, side // 2] = 1
        reach = gaussian_blur(line.expand(1, 1, side, side), [1e3])[0, 0, side // 2].nonzero()
        assert len(reach) == kernel


def test_nearly_black_pixels_lose_saturation_as_in_kornia() -> None:
    """Its saturation is chroma / (value + 1e-6): of a red of 1e-4, blue and green then become 9.9e-7."""
    rgb_13HW = torch.tensor([1e-4, 0, 0]).view(1, 3, 1, 1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) / 255 for values in (MEAN_RGB, STD_RGB))
    same = ColorJitter(1.0, 1.0, 1.0, 0.0, (2,))
    _, green, blue = denormalize(color_jitter((rgb_13HW - mean) / std, [same])).flatten().tolist()
    assert (green, blue) == (pytest.approx(9.9e-7, abs=2e-7), pytest.approx(9.9e-7, abs=2e-7))


def test_each_image_is_augmented_by_its_own_draw() -> None:
    images = torch.randn(1, 3, 32, 32, generator=seeded()).expand(2, 3, 32, 32)
    jitters = (ColorJitter(1.0, 1.0, 1.0, 0.0, (0, 1, 2, 3)), ColorJitter(1.2, 1.0, 1.0, 0.0, (0, 1, 2, 3)))
    augmented = augment_strongly(images, StrongAugmentation(jitters=jitters))
    assert (augmented[1] - augmented[0]).mean() > 0.1
    assert torch.equal(augment_strongly(images, StrongAugmentation()), images)


def test_four_batches_in_five_are_jittered_and_half_are_blurred() -> None:
    generator = seeded()
    drawn = [draw_strong_augmentation(2, generator) for _ in range(1000)]
    jittered = [augmentation.jitters for augmentation in drawn if augmentation.jitters is not None]
    blurred = [augmentation.blur_sigmas_px for augmentation in drawn if augmentation.blur_sigmas_px is not None]
    assert 760 < len(jittered) < 840
    assert 450 < len(blurred) < 550
    for one, other in jittered:
        assert one != other
        for jitter in (one, other):
            assert max(abs(jitter.brightness - 1), abs(jitter.contrast - 1), abs(jitter.saturation - 1)) <= 0.2
            assert abs(jitter.hue) <= 0.2
            assert sorted(jitter.order) == [0, 1, 2, 3]
    assert all(0.15 <= sigma_px <= 1.15 for sigmas_px in blurred for sigma_px in sigmas_px)


@given(seed=st.integers(0, 99), value=st.sampled_from([0.0, 0.5, 1.0]))
def test_grey_black_and_white_survive_the_jitter(seed: int, value: float) -> None:
    images = normalize(torch.full((1, 4, 4, 3), int(255 * value), dtype=torch.uint8))
    (jitters,) = [draw_strong_augmentation(1, seeded(seed), jitter_probability=1.0).jitters]
    changed = denormalize(color_jitter(images, jitters))
    assert changed.isfinite().all()
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6
