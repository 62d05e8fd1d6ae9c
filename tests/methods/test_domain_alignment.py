"""Class-wise adversarial alignment against the authors' reference numbers, and its sampler."""

from itertools import islice

import pytest
import torch

from adaptation.learning.methods.fada import (
    ClassDiscriminator,
    adversarial_loss,
    balanced_class_weights,
    class_balanced_images,
    discriminator_loss,
    polynomial_rate,
    soften,
)

SIZE = (32, 64)
LAYERS = {"trunk.0": "D.0", "trunk.2": "D.2", "source_head": "cls1", "target_head": "cls2"}


@pytest.fixture
def numbers(reference):
    return reference("domain_alignment")


@pytest.fixture
def discriminator(numbers) -> ClassDiscriminator:
    module = ClassDiscriminator(in_channels=32, num_classes=19, hidden=32)
    module.load_state_dict(
        {
            f"{ours}.{kind}": numbers[f"D:{theirs}.{kind}"]
            for ours, theirs in LAYERS.items()
            for kind in ("weight", "bias")
        }
    )
    return module


def test_soft_targets_are_the_authors(numbers) -> None:
    for domain in ("src", "tgt"):
        soft = soften(numbers[f"{domain}_logits"])
        torch.testing.assert_close(soft[..., ::2, ::2], numbers[f"{domain}_soft"], rtol=1e-5, atol=0)
        assert soft.max() == pytest.approx(0.9)


def test_discriminator_gives_the_authors_logits(numbers, discriminator) -> None:
    for domain in ("src", "tgt"):
        logits = discriminator(numbers[f"{domain}_feat"], SIZE)
        torch.testing.assert_close(logits[..., ::4, ::4], numbers[f"{domain}_D"], rtol=1e-5, atol=5e-6)


def test_adversarial_loss_is_the_authors(numbers, discriminator) -> None:
    features = numbers["tgt_feat"].clone().requires_grad_()
    loss = adversarial_loss(discriminator(features, SIZE), soften(numbers["tgt_logits"]))
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers["loss_adv"], rtol=1e-5, atol=0)
    torch.testing.assert_close(features.grad, numbers["grad_tgt_feat_of_adv"], rtol=1e-5, atol=1e-10)


def test_discriminator_loss_is_the_authors(numbers, discriminator) -> None:
    loss = discriminator_loss(
        discriminator(numbers["src_feat"], SIZE),
        soften(numbers["src_logits"]),
        discriminator(numbers["tgt_feat"], SIZE),
        soften(numbers["tgt_logits"]),
    )
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers["loss_D_src"] + numbers["loss_D_tgt"], rtol=1e-5, atol=0)
    for ours, theirs in LAYERS.items():
        for kind in ("weight", "bias"):
            gradient = discriminator.get_parameter(f"{ours}.{kind}").grad
            torch.testing.assert_close(gradient, numbers[f"Dgrad:{theirs}.{kind}"], rtol=1e-5, atol=1e-7)


def test_learning_rates_are_the_authors(numbers) -> None:
    for base, last, name in (
        (2.5e-4, 62500, "lr_features"),
        (1e-4, 62500, "lr_discriminator"),
        (5e-4, 31250, "lr_source_only"),
    ):
        for iteration, expected in zip(numbers["lr_iterations"].tolist(), numbers[name].tolist(), strict=True):
            if iteration < last:
                assert polynomial_rate(base, iteration, last) == pytest.approx(expected, rel=1e-12)


def test_class_odds_are_the_authors(numbers) -> None:
    torch.testing.assert_close(balanced_class_weights(numbers["sampler_dist"]), numbers["sampler_weights"])


def test_images_of_rare_classes_come_up_more_often() -> None:
    classes_of_image = [[0]] * 90 + [[0, 1]] * 9 + [[0, 2]]
    drawn = list(islice(class_balanced_images(classes_of_image, 4, torch.Generator().manual_seed(0)), 3000))
    share = sum(2 in classes_of_image[image] for image in drawn) / len(drawn)
    assert share > 0.2
    assert set(drawn) == set(range(100))


def test_an_image_comes_back_only_when_all_of_its_class_have_come() -> None:
    drawn = list(islice(class_balanced_images([[0]] * 7, 1, torch.Generator().manual_seed(0)), 21))
    assert [sorted(drawn[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="no image holds any class"):
        next(class_balanced_images([[], []], 3, torch.Generator()))
