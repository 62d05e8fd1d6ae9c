"""The alignment of a round composes to FADA's loop, and leaves alone what it should."""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F

from adaptation.learning.methods.fada import ClassDiscriminator, adversarial_loss, discriminator_loss, soften
from adaptation.learning.methods.self_training import SelfTrainingBatch, SelfTrainingSettings, labelled_losses
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box
from adaptation.learning.rounds.alignment import Alignment, DomainView
from adaptation.learning.rounds.self_training import SelfTraining
from exchange.jobs.recipes import AlignmentConfig, SelfTrainingConfig
from tests.rounds.small_round import CONFIG
from tests.rounds.test_round_trainings import crops

CONFIG_16 = AlignmentConfig(adversarial_weight=0.5, hidden_channels=16)


def view(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 8, 4, 4, generator=generator), 4 * torch.randn(2, 19, 16, 16, generator=generator)


def test_the_discriminator_learns_and_the_encoder_is_pushed_as_in_fadas_loop() -> None:
    alignment = Alignment(CONFIG_16, channels=8, iterations=10, seed=3)
    torch.manual_seed(3)
    plain = ClassDiscriminator(8, 19, 16)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-4, betas=(0.9, 0.99))
    for iteration in range(3):
        (fs, ps), (ft, pt) = view(2 * iteration), view(2 * iteration + 1)
        mine, theirs = ft.clone().requires_grad_(), ft.clone().requires_grad_()
        target = DomainView(mine, soften(pt))
        loss = alignment.encoder_loss(target)
        loss.backward()
        assert all(parameter.grad is None for parameter in alignment.discriminator.parameters()) or iteration > 0
        expected = adversarial_loss(plain(theirs, (16, 16)), soften(pt), 0.5)
        expected.backward()
        assert torch.equal(loss, expected)
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)
        optimizer.param_groups[0]["lr"] = 1e-4 * (1 - iteration / 10) ** 0.9
        optimizer.zero_grad()
        judged = plain(fs, (16, 16)), plain(ft, (16, 16))
        discriminator_loss(judged[0], soften(ps), judged[1], soften(pt)).backward()
        optimizer.step()
        alignment.learn(DomainView(fs, soften(ps)), target, iteration)
        for own, other in zip(alignment.discriminator.parameters(), plain.parameters(), strict=True):
            assert torch.equal(own, other)


def test_alignment_moves_the_encoder_and_resumes_to_the_bit(start: Path) -> None:
    torch.set_num_threads(1)

    def learner(alignment: AlignmentConfig | None) -> SelfTraining:
        settings = SelfTrainingConfig(feature_distance_weight=0.0, alignment=alignment)
        return SelfTraining(CONFIG, settings, load_network(start), None, None, 10, 5)

    plain, aligned = learner(None), learner(CONFIG_16)
    for iteration in range(3):
        for each in (plain, aligned):
            each.step(crops(iteration), iteration)
    moved = [
        not torch.equal(*pair) for pair in zip(plain.student.parameters(), aligned.student.parameters(), strict=True)
    ]
    assert any(moved)
    resumed = learner(CONFIG_16)
    resumed.restore(copy.deepcopy(aligned.state()))
    for each in (aligned, resumed):
        each.step(crops(3), 3)
    assert aligned.alignment is not None
    assert resumed.alignment is not None
    for own, other in (
        (aligned.student, resumed.student),
        (aligned.alignment.discriminator, resumed.alignment.discriminator),
    ):
        for name, tensor in own.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_what_the_discriminator_sees_and_the_sources_loss_are_of_fadas_temperature_and_size(start: Path) -> None:
    network = load_network(start).train()
    batch = crops(0)
    images_N3HW = normalize(torch.from_numpy(batch.source.images_NHWC))
    labels_NHW = torch.from_numpy(batch.source.labels_NHW)
    height, width = labels_NHW.shape[-2:]
    logits = network.forward_train(images_N3HW, Box(0, CONFIG.detail_hw[0], 0, CONFIG.detail_hw[1]))
    seen = DomainView.of(CONFIG_16, logits, (height, width))
    enlarged_NKHW = F.interpolate(logits.fused_NKHW, size=(height, width), mode="bilinear", align_corners=False)
    torch.testing.assert_close(seen.soft_NKHW, (enlarged_NKHW / 1.8).softmax(dim=1).clamp(max=0.9))
    settings = SelfTrainingSettings(detail_weight=0.0)
    pair = SelfTrainingBatch(images_N3HW, labels_NHW, images_N3HW)
    loss, _ = labelled_losses(network, logits, None, pair, settings, temperature=1.8)
    expected = F.cross_entropy(enlarged_NKHW / 1.8, labels_NHW.long(), ignore_index=255, reduction="none").mean()
    torch.testing.assert_close(loss.total, expected)
