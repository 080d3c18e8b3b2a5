"""PHP: rain streaks of all sizes by parallel and hierarchical pyramids of dilated convolutions.

Xu et al., "Intensity-Aware Single-Image Deraining With Semantic and Color Regularization"
(IEEE TIP 2021). With the rainy image Y:

    X^c = Y + N1(Y)           rain removed, colours restored; held to the low-pass of the clean image
    X   = X^c + N2(X^c, Y)    details
    Phi(X^c)                  class scores of the same structure as N1, a regulariser in training

Contrast-aware pooling (Eq. 2), d1 a 1x1 and d2 a 3x3 convolution of dilation 2:

    C_a = sigmoid(d1(Y) - d2(Y)),    pooled = average((1 - C_a) Y)

One pyramid, with branches c_1, c_2, ... of growing dilation, summed from small to large:

    g_1 = c_1(x),  g_i = c_i(x) + g_{i-1},  f = concat(g_i),
    out = x + fuse(f sigmoid(T(f))),   T = [depthwise 3x3, SELU] twice

and a block stacks k = 4 of them, the hierarchical pyramid. All convolutions are 3x3 but d1 and
the last one of each network.

The paper leaves open, and this chooses: 32 channels at half resolution (stride 2 in the first
convolution, pixel shuffle after the last), two blocks; three branches, the small, medium and
large of its Table IV, of dilations 1, 2, 4 times the pyramid's number 1..4 in its block; a
residual link around each pyramid; N2 of 16 channels and three residual blocks at full
resolution; both networks add to the image they are given. 34 GMAC for 512 x 512: the printed
8 ms on a GTX 1080 Ti allow 30 to 60.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .derainer import SingleImageDerainer
from .layers import ResidualBlock, as_input, conv3x3, crop_logits, one_of, pad_to_multiple, published

BRANCHES = {"small": 1, "medium": 2, "large": 4}
"""The parallel branches' dilations in the first pyramid of a block."""

BLOCKS = ("php", "concat", "parallel", "hierarchical", "standard")
POOLINGS = ("contrast", "max", "none")


@dataclass(frozen=True)
class Variant:
    """A size of the PHP network; what is not at its default is a row of the paper's Table IV.

    Attributes:
        channels: inside N1 and Phi, at half resolution.
        blocks: number of PHP blocks in a row.
        pyramids: k, pyramids per block.
        block: ``php``; ``concat`` (branches not summed up from small to large); ``parallel``
            (the same dilations in every pyramid); ``hierarchical`` (one branch, growing
            dilation); ``standard`` (one branch of dilation 1, not reweighted).
        branches: those of ``small``, ``medium``, ``large`` that exist.
        pooling: ``contrast``, ``max`` or ``none``: what joins the first convolution's features.
        refinement: whether N2 exists; without it X = X^c.
        refinement_channels: inside N2, at full resolution.
    """

    channels: int = 32
    blocks: int = 2
    pyramids: int = 4
    block: str = "php"
    branches: tuple[str, ...] = ("small", "medium", "large")
    pooling: str = "contrast"
    refinement: bool = True
    refinement_channels: int = 16


VARIANTS = {
    "paper": Variant(),
    "light": Variant(channels=16, blocks=1, refinement_channels=8),
}
"""``paper`` as chosen above (the paper prints no size); ``light`` for small machines."""


class PhpRestoration(NamedTuple):
    """What the PHP network hands on.

    Attributes:
        image: X, N x 3 x H x W in 0..1 (not clamped).
        coarse: X^c, the image before its refinement, the same shape and scale.
    """

    image: Tensor
    coarse: Tensor


class ContrastPooling(nn.Module):
    """Eq. 2: average pooling that lets low contrast through and holds streaks back.

    Shape: N x 3 x H x W -> N x 3 x H/2 x W/2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(3, 3, 1)
        self.around = conv3x3(3, 3, dilation=2)

    def forward(self, image: Tensor) -> Tensor:
        contrast = torch.sigmoid(self.near(image) - self.around(image))
        return functional.avg_pool2d((1 - contrast) * image, 3, stride=2, padding=1, count_include_pad=False)


class Pyramid(nn.Module):
    """Parallel dilated convolutions, summed up from small to large, reweighted, fused, added to x.

    Args:
        channels: C, in and out.
        dilations: one branch each.
        accumulate: g_i = c_i(x) + g_{i-1}; otherwise g_i = c_i(x).
        reweight: multiply by sigmoid(T(f)).

    Shape: N x C x H x W in and out.
    """

    def __init__(
        self, channels: int, dilations: tuple[int, ...], accumulate: bool = True, reweight: bool = True
    ):
        super().__init__()
        self.accumulate = accumulate
        self.branches = nn.ModuleList(conv3x3(channels, channels, dilation=d) for d in dilations)
        wide = channels * len(dilations)
        self.weigh = None
        if reweight:
            self.weigh = nn.Sequential(_depthwise(wide), nn.SELU(), _depthwise(wide), nn.SELU())
        self.fuse = conv3x3(wide, channels)
        with torch.no_grad():
            self.fuse.weight.mul_(0.1)  # a fresh network begins near the identity

    def forward(self, x: Tensor) -> Tensor:
        scales: list[Tensor] = []
        for branch in self.branches:
            scale = functional.relu(branch(x))
            scales.append(scale + scales[-1] if self.accumulate and scales else scale)
        f = torch.cat(scales, 1)
        if self.weigh is not None:
            f = f * torch.sigmoid(self.weigh(f))
        return x + self.fuse(f)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


def php_block(variant: Variant) -> nn.Sequential:
    """The hierarchical pyramid: ``variant.pyramids`` pyramids of growing dilation."""
    single = variant.block in ("hierarchical", "standard")
    base = (1,) if single else tuple(d for name, d in BRANCHES.items() if name in variant.branches)
    grows = variant.block not in ("parallel", "standard")
    return nn.Sequential(
        *(
            Pyramid(
                variant.channels,
                tuple(dilation * (level if grows else 1) for dilation in base),
                accumulate=variant.block != "concat",
                reweight=variant.block != "standard",
            )
            for level in range(1, variant.pyramids + 1)
        )
    )


class PyramidNetwork(nn.Module):
    """The structure that N1 and Phi share.

    Shape: N x 3 x H x W, H and W even, -> N x outputs x H/2 x W/2.
    """

    def __init__(self, variant: Variant, outputs: int):
        super().__init__()
        self.pool = None
        if variant.pooling != "none":
            contrast = variant.pooling == "contrast"
            self.pool = ContrastPooling() if contrast else nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = conv3x3(3, variant.channels - (0 if self.pool is None else 3), stride=2)
        self.blocks = nn.Sequential(*(php_block(variant) for _ in range(variant.blocks)))
        self.last = nn.Conv2d(variant.channels, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        image = as_input(image, self.stem)
        x = functional.relu(self.stem(image))
        if self.pool is not None:
            x = torch.cat((x, self.pool(image)), 1)
        return self.last(self.blocks(x))


class Refinement(nn.Module):
    """N2: the details that X^c lacks, found in the rainy image. N x 3 x H x W twice -> the residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = conv3x3(6, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(3)))
        self.last = nn.Conv2d(channels, 3, 1)

    def forward(self, coarse: Tensor, rain: Tensor) -> Tensor:
        x = as_input(torch.cat((coarse, rain), 1), self.first)
        return self.last(self.blocks(functional.relu(self.first(x))))


class PhpNet(SingleImageDerainer):
    """The derainer: N1, then N2.

    Args:
        variant: row of :data:`VARIANTS`.
        changes: fields of :class:`Variant` to change.

    Shapes: ``rain`` N x 3 x H x W in 0..1, any H, W >= 64.

    Raises:
        ValueError: an unknown variant, option, block, branch or pooling.
    """

    def __init__(self, variant: str = "paper", **changes: object):
        super().__init__()
        self.variant = chosen = _chosen(variant, changes)
        self.derain = PyramidNetwork(chosen, 12)
        self.detail = Refinement(chosen.refinement_channels) if chosen.refinement else None

    def forward(self, rain: Tensor) -> PhpRestoration:
        height, width = rain.shape[-2:]
        residual = functional.pixel_shuffle(self.derain(pad_to_multiple(rain, 2)), 2)
        coarse = rain + residual[..., :height, :width]
        image = coarse if self.detail is None else coarse + self.detail(coarse, rain)
        return PhpRestoration(image, coarse)


class PhpSegmenter(nn.Module):
    """Phi: class scores of X^c, by a network of N1's structure. It regularises; run time needs it not.

    Args:
        classes: K.
        variant: row of :data:`VARIANTS`; ``changes`` as for :class:`PhpNet`.

    Shapes: N x 3 x H x W in 0..1 -> logits N x K x ceil(H/2) x ceil(W/2), float32.

    Raises:
        ValueError: an unknown variant, option, block, branch or pooling.
    """

    def __init__(self, classes: int = 11, variant: str = "paper", **changes: object):
        super().__init__()
        self.classes = classes
        self.network = PyramidNetwork(_chosen(variant, changes), classes)

    def forward(self, image: Tensor) -> Tensor:
        return crop_logits(self.network(pad_to_multiple(image, 2)), image, 2)


def _chosen(variant: str, changes: dict[str, object]) -> Variant:
    chosen = published(VARIANTS, variant, changes)
    one_of("block", chosen.block, BLOCKS)
    one_of("pooling", chosen.pooling, POOLINGS)
    if not chosen.branches:
        raise ValueError(f"branches names at least one of {', '.join(BRANCHES)}")
    for branch in chosen.branches:
        one_of("branch", branch, BRANCHES)
    return chosen
