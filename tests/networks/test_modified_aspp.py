"""The modified ASPP against the numbers of the two papers' released code, which agree to the bit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from adaptation.learning.networks.modified_aspp import ModifiedASPPHead


@torch.no_grad()
def test_embedding_and_logits(reference: Callable) -> None:
    arrays = reference("modified_aspp")
    head = ModifiedASPPHead((8, 16, 24, 32), (4, 8, 8, 8), 19).eval()
    assert list(head.state_dict()) == arrays["keys"].tolist()
    stream = np.random.RandomState(42)
    for (key, weight), total in zip(head.state_dict().items(), arrays["weight_sums"], strict=True):
        drawn = stream.randn(*weight.shape) * (0.05 if weight.ndim > 1 else 0.1)
        drawn += 1 if "weight" in key and weight.ndim == 1 else 0
        weight.copy_(torch.from_numpy(drawn))
        assert weight.double().sum().item() == pytest.approx(total)
    dense = torch.from_numpy(stream.randn(2, 32, 8, 16)).float()
    embedding = head.embed([dense] * 4)
    torch.testing.assert_close(embedding, torch.from_numpy(arrays["embedding"]).float(), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(head.classify(embedding), torch.from_numpy(arrays["logits"]), atol=3e-5, rtol=0)


def test_size_of_the_published_head() -> None:
    with torch.device("meta"):
        head = ModifiedASPPHead((256, 512, 1024, 2048), (4, 8, 8, 8), 19)
    assert round(sum(parameter.numel() for parameter in head.parameters()) / 1e6, 2) == 22.56
