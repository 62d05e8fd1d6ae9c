"""The Mix Transformer encoder (SegFormer: Xie et al., NeurIPS 2021), written from the paper."""

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.layers import DropPath
from exchange.networks import Encoder


class MixTransformerSizes(NamedTuple):
    """What differs between the variants; one entry per stage."""

    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    depths: tuple[int, ...]
    sr_ratios: tuple[int, ...]
    """Keys and values are computed on a map smaller by this factor in each direction."""


def _published(first: int, depths: tuple[int, ...]) -> MixTransformerSizes:
    dims = (32, 64, 160, 256) if first == 32 else (64, 128, 320, 512)
    return MixTransformerSizes(dims, (1, 2, 5, 8), depths, (8, 4, 2, 1))


MIX_TRANSFORMERS: dict[Encoder, MixTransformerSizes] = {
    "mit_b0": _published(32, (2, 2, 2, 2)),
    "mit_b1": _published(64, (2, 2, 2, 2)),
    "mit_b2": _published(64, (3, 4, 6, 3)),
    "mit_b3": _published(64, (3, 4, 18, 3)),
    "mit_b4": _published(64, (3, 8, 27, 3)),
    "mit_b5": _published(64, (3, 6, 40, 3)),
}

MLP_RATIO = 4
BLOCK_NORM_EPS = 1e-6  # of the blocks' and stages' norms; those after a convolution keep torch's 1e-5


class PatchEmbed(nn.Module):
    """Overlapping patches: a strided convolution, then LayerNorm over the channels of each token."""

    def __init__(self, inputs: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, dim, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps_NCHW: Tensor) -> tuple[Tensor, int, int]:
        maps_NCHW = self.proj(maps_NCHW)
        height, width = maps_NCHW.shape[-2:]
        return self.norm(maps_NCHW.flatten(2).transpose(1, 2)), height, width


class Attention(nn.Module):
    """Self-attention whose keys and values come from a map reduced by a strided convolution."""

    def __init__(self, dim: int, heads: int, sr_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.sr_ratio = sr_ratio
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def forward(self, tokens_NLC: Tensor, height: int, width: int) -> Tensor:
        reduced_NMC = tokens_NLC
        if self.sr_ratio > 1:
            maps = tokens_NLC.transpose(1, 2).unflatten(2, (height, width))
            reduced_NMC = self.norm(self.sr(maps).flatten(2).transpose(1, 2))
        query = self.q(tokens_NLC).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = self.kv(reduced_NMC).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed_NHLD = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed_NHLD.transpose(1, 2).flatten(2))


class DepthwiseConv(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, tokens_NLC: Tensor, height: int, width: int) -> Tensor:
        maps = tokens_NLC.transpose(1, 2).unflatten(2, (height, width))
        return self.dwconv(maps).flatten(2).transpose(1, 2)


class MixFeedForward(nn.Module):
    """A two-layer perceptron with a depthwise convolution between, which stands in for position embeddings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.dwconv = DepthwiseConv(MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, tokens_NLC: Tensor, height: int, width: int) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(tokens_NLC), height, width)))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, sr_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, heads, sr_ratio)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = MixFeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens_NLC: Tensor, height: int, width: int) -> Tensor:
        tokens_NLC = tokens_NLC + self.drop_path(self.attn(self.norm1(tokens_NLC), height, width))
        return tokens_NLC + self.drop_path(self.mlp(self.norm2(tokens_NLC), height, width))


class MixTransformer(nn.Module):
    """Four stages at strides 4, 8, 16 and 32; each stage's normalised map is its output and the next one's input.

    An image side must be at least 29 pixels: the first stage's 8x8 reduction needs eight tokens.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, sizes: MixTransformerSizes, drop_path: float = 0.1) -> None:
        super().__init__()
        self.channels = sizes.embed_dims
        blocks_total = sum(sizes.depths)
        rates = iter([drop_path * i / max(blocks_total - 1, 1) for i in range(blocks_total)])
        inputs = 3
        for stage, (dim, heads, depth, sr_ratio) in enumerate(zip(*sizes, strict=True), start=1):
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            self.add_module(f"patch_embed{stage}", PatchEmbed(inputs, dim, kernel, stride))
            blocks = [Block(dim, heads, sr_ratio, next(rates)) for _ in range(depth)]
            self.add_module(f"block{stage}", nn.ModuleList(blocks))
            self.add_module(f"norm{stage}", nn.LayerNorm(dim, eps=BLOCK_NORM_EPS))
            inputs = dim
        self.apply(_initialise)

    def forward(self, images_N3HW: Tensor) -> list[Tensor]:
        maps = images_N3HW
        features = []
        for stage in range(1, 5):
            tokens, height, width = self.get_submodule(f"patch_embed{stage}")(maps)
            for block in self.get_submodule(f"block{stage}").children():
                tokens = block(tokens, height, width)
            tokens = self.get_submodule(f"norm{stage}")(tokens)
            maps = tokens.transpose(1, 2).unflatten(2, (height, width))
            features.append(maps)
        return features


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
