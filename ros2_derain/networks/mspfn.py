"""MSPFN: rain streaks look alike at every scale, so the scales of a pyramid help each other.

Jiang et al., "Multi-Scale Progressive Fusion Network for Single Image Deraining" (CVPR 2020).
Scales k = 1/4, 1/2, 1, coarsest first; C = 64 channels; every convolution is 3x3 and followed
by a PReLU; ``up`` is a transposed convolution of stride 2; r_k = conv(rain_k) are the first features.

    both fusions:  y_k = x_k + unit_k(x_k + carried_k)
                   carried_1/4 = 0, carried_1/2 = up(y_1/4),
                   carried_1 = up(up(y_1/4)) + up(y_1/2)
    coarse (CFM):  x = r, once; unit = RRU: conv C -> 32, ConvLSTM, conv -> C
    fine (FFM):    x = the y before, M times; unit = URAB: stride 2, N CAUs, up, with a skip
    RM:            per scale conv(y_fine, y_coarse); coarse to fine by up and concatenation;
                   conv -> 32, conv -> 3: the rain R
    result:        rain - R

The ConvLSTMs have 32, 64 and 128 filters (paper; the released code has twice as many) and, as in
the released code, are stepped once from a zero state: gated convolutions, whose recurrent half
(``from_state``) counts among the parameters and is used only with ``steps`` > 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .derainer import ImageRestoration, SingleImageDerainer
from .layers import SqueezeExcitation, as_input, conv3x3, one_of, pad_to_multiple, published, small_conv3x3

PYRAMIDS = ("gaussian", "average")
FUSIONS = ("progressive", "image")


@dataclass(frozen=True)
class Variant:
    """A size of MSPFN, and what of it is switched off.

    Attributes:
        modules: M, fine fusion modules in a row; 0 is Table 2's Model3 (no FFM).
        units: N, channel attention units per URAB.
        channels: C, of the features at every scale.
        narrow: channels before each ConvLSTM and before the last convolution.
        filters: of the ConvLSTM of each scale, coarsest first; their number is that of the scales,
            so that ``(128,)`` is Table 2's Model1 (single scale).
        halvings: how often a URAB halves the resolution.
        coarse: False is Table 2's Model2 (no CFM).
        fusion: ``progressive``, or ``image`` for Table 2's Model4: scales meet only in the image,
            where each one's rain is upsampled and added to the next one's, as in LPNet.
        pyramid: ``gaussian`` (paper) or ``average`` (released code).
        steps: how often the ConvLSTMs are stepped over their input.
    """

    modules: int = 17
    units: int = 1
    channels: int = 64
    narrow: int = 32
    filters: tuple[int, ...] = (32, 64, 128)
    halvings: int = 1
    coarse: bool = True
    fusion: str = "progressive"
    pyramid: str = "gaussian"
    steps: int = 1


_ABLATED = Variant(modules=10, units=3)

VARIANTS = {
    "m17n1": Variant(),
    "m30n1": Variant(modules=30),
    "m17n2": Variant(units=2),
    "m13n2": Variant(modules=13, units=2),
    "m10n3": _ABLATED,
    "m8n5": Variant(modules=8, units=5),
    "m6n3": Variant(modules=6, units=3),
    "m5n1": Variant(modules=5),
    "light": Variant(modules=5, channels=32, filters=(32, 32, 32), halvings=2),
    "single_scale": replace(_ABLATED, filters=(128,)),
    "without_cfm": replace(_ABLATED, coarse=False),
    "without_ffm": Variant(modules=0),
    "image_fusion": replace(_ABLATED, fusion="image"),
}
"""Rows of the paper's Tables 2 and 3; ``m17n1`` is the final model, ``light`` the MSPFN*."""


class ConvLSTM(nn.Module):
    """A convolutional LSTM stepped ``steps`` times over one input, from a zero state.

    ``c' = sigmoid(f + 1) c + sigmoid(i) tanh(g)``, ``h' = sigmoid(o) tanh(c')`` with
    ``i, g, o, f = conv(x) + conv(h)``. The first step has no use for f and conv(h).

    Shape: N x inputs x H x W -> N x filters x H x W.
    """

    def __init__(self, inputs: int, filters: int, steps: int):
        super().__init__()
        self.steps = steps
        self.from_input = conv3x3(inputs, 4 * filters)
        self.from_state = conv3x3(filters, 4 * filters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        driven = self.from_input(x)
        i, g, o, _ = driven.chunk(4, 1)
        cell = torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        for _ in range(self.steps - 1):
            i, g, o, f = (driven + self.from_state(hidden)).chunk(4, 1)
            cell = torch.sigmoid(f + 1) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
        return hidden


class ChannelAttentionUnit(nn.Module):
    """CAU: ``x + a * conv(prelu(conv(x)))`` with channel weights a (RCAB of RCAN, ECCV 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(channels, channels),
            nn.PReLU(channels, init=0),
            conv3x3(channels, channels),
            SqueezeExcitation(channels, reduction=4, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResidualAttentionBlock(nn.Module):
    """URAB: down by strided convolutions, N CAUs, up again, each up with the skip of its size.

    The sum around it is the fusion's. Shape: N x C x H x W in and out.
    """

    def __init__(self, channels: int, units: int, halvings: int):
        super().__init__()
        self.downs = nn.ModuleList(_convolution(channels, channels, 2) for _ in range(halvings))
        self.units = nn.Sequential(*(ChannelAttentionUnit(channels) for _ in range(units)))
        self.ups = nn.ModuleList(_up(2 * channels, channels) for _ in range(halvings))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = self.units(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(torch.cat((skip, x), 1))
        return x


class Fusion(nn.Module):
    """One fusion over the scales: ``y_k = x_k + unit_k(x_k + carried_k)``, coarsest first.

    ``carried_k`` is the sum of all coarser results, each upsampled scale by scale.

    Args:
        units: one per scale, C channels in and out.
        channels: C.
        fused: False leaves out ``carried``, so that the scales never meet.
    """

    def __init__(self, units: Sequence[nn.Module], channels: int, fused: bool):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.ups = nn.ModuleList(
            nn.ModuleList(_up(channels, channels) for _ in range(coarser if fused else 0))
            for coarser in range(len(units))
        )

    def forward(self, scales: list[Tensor]) -> list[Tensor]:
        results: list[Tensor] = []
        carried: list[Tensor] = []
        for x, unit, ups in zip(scales, self.units, self.ups, strict=True):
            carried = [up(y) for up, y in zip(cast(nn.ModuleList, ups), carried, strict=False)]
            results.append(x + unit(sum(carried, x)))
            carried.append(results[-1])
        return results


class Reconstruction(nn.Module):
    """RM: fine and coarse features of all scales, N x C x H_k x W_k each -> the rain, N x 3 x H x W."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels, finer = variant.channels, len(variant.filters) - 1
        self.merges = nn.ModuleList(_convolution(2 * channels, channels) for _ in variant.filters)
        self.ups = nn.ModuleList(_up((1 + bool(k)) * channels, channels) for k in range(finer))
        self.head = _head((1 + bool(finer)) * channels, variant.narrow)

    def forward(self, fine: list[Tensor], coarse: list[Tensor]) -> Tensor:
        merged = [merge(torch.cat(pair, 1)) for merge, *pair in zip(self.merges, fine, coarse, strict=True)]
        x = merged[0]
        for up, y in zip(self.ups, merged[1:], strict=True):
            x = torch.cat((y, up(x)), 1)
        return self.head(x)


class ImageReconstruction(nn.Module):
    """LPNet's fusion in place of the RM's: ``R_k = head_k(features_k) + bilinear_up2(R_(k-1))``."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        self.merges = nn.ModuleList(_convolution(2 * channels, channels) for _ in variant.filters)
        self.heads = nn.ModuleList(_head(channels, variant.narrow) for _ in variant.filters)

    def forward(self, fine: list[Tensor], coarse: list[Tensor]) -> Tensor:
        residuals = [
            head(merge(torch.cat(pair, 1)))
            for merge, head, *pair in zip(self.merges, self.heads, fine, coarse, strict=True)
        ]
        rain = residuals[0]
        for finer in residuals[1:]:
            rain = finer + functional.interpolate(rain, scale_factor=2, mode="bilinear")
        return rain


class BinomialHalf(nn.Module):
    """Half the size after a binomial filter (1, 3, 3, 1) / 8, centred like a 2x2 average."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor((0.125, 0.375, 0.375, 0.125))
        self.register_buffer("kernel", torch.outer(taps, taps).repeat(3, 1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(padded, self.kernel.to(image.dtype), stride=2, groups=3)


class MSPFN(SingleImageDerainer):
    """The derainer.

    Args:
        variant: row of :data:`VARIANTS`.
        changes: fields of :class:`Variant` to change.

    Shapes: ``rain`` N x 3 x H x W in 0..1, any H and W; so is the result. Inside, the image is in -1..1
    and padded to a multiple of 2^(scales - 1 + halvings), 8 for the published sizes and 16 for the light
    one.

    Raises:
        ValueError: an unknown variant, option, fusion or pyramid; no scale; less than one step.
    """

    def __init__(self, variant: str = "m17n1", **changes: object):
        super().__init__()
        self.variant = v = published(VARIANTS, variant, changes)
        one_of("fusion", v.fusion, FUSIONS)
        one_of("pyramid", v.pyramid, PYRAMIDS)
        if not v.filters or v.steps < 1:
            raise ValueError(f"filters={v.filters}, steps={v.steps}: at least one scale and one step")
        fused = v.fusion == "progressive"
        self.multiple = 2 ** (len(v.filters) - 1 + v.halvings)
        self.first = nn.ModuleList(_convolution(3, v.channels) for _ in v.filters)
        recurrent = [_recurrent_unit(v, filters) for filters in v.filters] if v.coarse else []
        self.coarse_fusion = Fusion(recurrent, v.channels, fused) if v.coarse else nn.Identity()
        fine = (Fusion(_attention_units(v), v.channels, fused) for _ in range(v.modules))
        self.fine_fusion = nn.Sequential(*fine)
        self.reconstruct = (Reconstruction if fused else ImageReconstruction)(v)
        self.shrink = BinomialHalf() if v.pyramid == "gaussian" else nn.AvgPool2d(2)

    def forward(self, rain: Tensor) -> ImageRestoration:
        height, width = rain.shape[-2:]
        images = self._pyramid(2 * pad_to_multiple(rain, self.multiple) - 1)
        features = [first(as_input(x, first)) for first, x in zip(self.first, images, strict=True)]
        coarse = self.coarse_fusion(features)
        streaks = self.reconstruct(self.fine_fusion(coarse), coarse)
        return ImageRestoration(rain - streaks[..., :height, :width].to(rain.dtype) / 2)

    def _pyramid(self, image: Tensor) -> list[Tensor]:
        """The image at all scales, coarsest first."""
        images = [image]
        for _ in self.variant.filters[1:]:
            images.append(self.shrink(images[-1]))
        return images[::-1]


def _recurrent_unit(variant: Variant, filters: int) -> nn.Sequential:
    """RRU without its skip: C -> narrow -> ConvLSTM -> C."""
    return nn.Sequential(
        _convolution(variant.channels, variant.narrow),
        ConvLSTM(variant.narrow, filters, variant.steps),
        _convolution(filters, variant.channels),
    )


def _attention_units(variant: Variant) -> list[nn.Module]:
    return [
        ResidualAttentionBlock(variant.channels, variant.units, variant.halvings) for _ in variant.filters
    ]


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv3x3(inputs, outputs, stride, bias=False), nn.PReLU(outputs, init=0))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size by a transposed 3x3 convolution of stride 2, then PReLU."""
    transposed = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(transposed, nn.PReLU(outputs, init=0))


def _head(inputs: int, narrow: int) -> nn.Sequential:
    """Features -> rain of three channels."""
    return nn.Sequential(*_convolution(inputs, narrow), small_conv3x3(narrow, 3, bias=False))
