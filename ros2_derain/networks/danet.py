"""DANet: most of the work at half the resolution, and the rain that was found says where to look again.

Jiang et al., "DANet: Image Deraining via Dynamic Association Learning" (IJCAI 2022). With I the
rainy image, I_S its bilinear half and C = 48 channels (64 in the diamond variant):

    B_S = I_S - R_S,  R_S = DSN(I)                               Eq. 1
    f   = F(I) + sigmoid(conv(R_S)) * F(I) + conv(B_S)           Eq. 2, ALM; F: 3x3, stride 2
    B   = RSN(f) + bilinear_up2(B_S)                             Eq. 3, with a pixel shuffle inside

DSN and RSN are dual-branch networks at half resolution: n RCABs in a row (ORB) beside a U-net of
three levels (EDB), joined by an SFB. An SFB is ``x + a * dsc(x, y)``: a depth-wise separable
convolution (DSC) of both, weighted per channel by attention.

Where paper and released code differ, or the paper is silent:

- ALM follows the released code. It costs 2,592 parameters and 0.17 GMAC, which is what Table 1
  prints for it; the version with an SFB in the paper's text costs ten times that.
- DSN sees the full image as its 2x2 pixels (pixel unshuffle), at the same cost. The released code
  stacks the four quadrants of the image, which lie on unrelated pixels.
- Two RCABs per stage as the text says; the released diamond network has one. The reduction of the
  attention isn't given for C = 48; 8 comes nearest to the printed size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .derainer import SingleImageDerainer
from .layers import SqueezeExcitation, as_input, cells, conv3x3, pad_to_multiple, published, small_conv3x3

LEVELS = 3
"""Of the EDB, each at half the resolution of the one before."""


@dataclass(frozen=True)
class Variant:
    """A size of DANet, and what of it is switched off (Table 1).

    Attributes:
        channels: C.
        orb_blocks: n, RCABs of the ORB.
        encoder_blocks, decoder_blocks: RCABs per stage of the EDB.
        reduction: of the channel attention.
        alm: False: RSN sees F(I) only.
        sfb: False: every SFB is a concatenation and a 1x1 convolution.
        dsc: False: the encoder's RCABs have plain convolutions.
        orb, edb: False leaves out that branch; at least one is needed.
        sr: False is DANet*: everything at full resolution, no pixel shuffle at the end.
    """

    channels: int = 48
    orb_blocks: int = 5
    encoder_blocks: int = 2
    decoder_blocks: int = 2
    reduction: int = 8
    alm: bool = True
    sfb: bool = True
    dsc: bool = True
    orb: bool = True
    edb: bool = True
    sr: bool = True


VARIANTS = {
    "danet": Variant(),
    "diamond": Variant(channels=64, orb_blocks=10, encoder_blocks=1, decoder_blocks=1, reduction=4),
    "without_alm": Variant(alm=False),
    "without_sfb": Variant(sfb=False, orb_blocks=6),
    "without_dsc": Variant(dsc=False, orb_blocks=4, encoder_blocks=1),
    "without_orb": Variant(orb=False, encoder_blocks=5, decoder_blocks=3),
    "without_edb": Variant(edb=False, orb_blocks=16),
    "full_resolution": Variant(sr=False, encoder_blocks=4),
}
"""Rows of the paper's Tables 1 and 2. Table 1's costs show that an ablated network was made deeper
or shallower elsewhere, to make up for the part left out; these depths come nearest to its figures."""


class DanetRestoration(NamedTuple):
    """What DANet hands on.

    Attributes:
        image: B, N x 3 x H x W in 0..1 (not clamped).
        half: B_S, N x 3 x ceil(H/2) x ceil(W/2), for the loss of DSN; H x W without ``sr``.
    """

    image: Tensor
    half: Tensor


class SeparableConvolution(nn.Sequential):
    """DSC: depth-wise 3x3, then point-wise 1x1; N x inputs x H x W -> N x outputs x H x W."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs), nn.Conv2d(inputs, outputs, 1)
        )


class FusionBlock(nn.Module):
    """SFB of two: ``x + a * dsc(x, y)``; all N x C x H x W."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.mix = SeparableConvolution(2 * channels, channels)
        self.attention = SqueezeExcitation(channels, reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.attention(self.mix(torch.cat((x, y), 1)))


class ScaleFusionBlock(nn.Module):
    """SFB of four: ``f = dsc(x, dsc(y, dsc(z, w)))``, then ``f + a * f``; all N x C x H x W."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.mixes = nn.ModuleList(SeparableConvolution(2 * channels, channels) for _ in range(LEVELS))
        self.attention = SqueezeExcitation(channels, reduction)

    def forward(self, *scales: Tensor) -> Tensor:
        *others, x = scales
        for mix, y in zip(self.mixes, reversed(others), strict=True):
            x = mix(torch.cat((y, x), 1))
        return x + self.attention(x)


class Concatenation(nn.Module):
    """What takes the place of an SFB without it: a 1x1 convolution of all inputs."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.mix = nn.Conv2d(inputs * channels, channels, 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.mix(torch.cat(inputs, 1))


class ChannelAttentionBlock(nn.Module):
    """RCAB: ``x + a * conv(prelu(conv(x)))`` with channel weights a (RCAN, ECCV 2018)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(channels, channels, bias=False),
            nn.PReLU(),
            conv3x3(channels, channels, bias=False),
            SqueezeExcitation(channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class EncoderBlock(nn.Module):
    """The encoder's RCAB: separable convolutions, and an SFB instead of the sum with x."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        self.body = nn.Sequential(
            _encoder_convolution(variant),
            nn.PReLU(),
            _encoder_convolution(variant),
            SqueezeExcitation(channels, variant.reduction),
        )
        self.fuse = _fusion(variant)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.body(x), x)


class EncoderStage(nn.Module):
    """Blocks, fused with what came in; N x C x H x W in and out."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.blocks = nn.Sequential(*(EncoderBlock(variant) for _ in range(variant.encoder_blocks)))
        self.fuse = _fusion(variant)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(x, self.blocks(x))


class DecoderStage(nn.Module):
    """The stage below and the encoder's three scales, fused; then as an encoder stage, with plain RCABs."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.gather = _fusion(variant, 1 + LEVELS)
        self.blocks = nn.Sequential(*_blocks(variant, variant.decoder_blocks))
        self.fuse = _fusion(variant)

    def forward(self, *scales: Tensor) -> Tensor:
        x = self.gather(*scales)
        return self.fuse(x, self.blocks(x))


class Resample(nn.Module):
    """Bilinear resize by ``factor`` and a 1x1 convolution."""

    def __init__(self, channels: int, factor: float):
        super().__init__()
        self.factor = factor
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(_resized(x, self.factor))


class EncoderDecoder(nn.Module):
    """EDB: a U-net whose every decoder stage sees all scales of the encoder.

    Level k = 0, 1, 2 has 1/2, 1/4, 1/8 of the size that comes in and goes out: a multiple of 8.
    """

    def __init__(self, variant: Variant):
        super().__init__()
        channels, levels = variant.channels, range(LEVELS)
        self.downs = nn.ModuleList(Resample(channels, 0.5) for _ in levels)
        self.encoders = nn.ModuleList(EncoderStage(variant) for _ in levels)
        self.across = nn.ModuleList(
            nn.ModuleList(Resample(channels, 2.0 ** (other - level)) for other in levels if other != level)
            for level in levels
        )
        self.decoders = nn.ModuleList(DecoderStage(variant) for _ in levels)
        self.ups = nn.ModuleList(Resample(channels, 2) for _ in levels)

    def forward(self, x: Tensor) -> Tensor:
        encoded = []
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            x = encoder(down(x))
            encoded.append(x)
        for level in reversed(range(LEVELS)):
            paths = cast(nn.ModuleList, self.across[level])
            others = encoded[:level] + encoded[level + 1 :]
            others = [across(y) for across, y in zip(paths, others, strict=True)]
            x = self.ups[level](self.decoders[level](x, encoded[level], *others))
        return x


class OriginalResolution(nn.Module):
    """ORB: ``x + conv(RCABs(x))``."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        blocks = _blocks(variant, variant.orb_blocks)
        self.body = nn.Sequential(*blocks, conv3x3(channels, channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class DualBranch(nn.Module):
    """ORB and EDB side by side, joined by an SFB; N x C x H x W in and out, H and W multiples of 8."""

    def __init__(self, variant: Variant):
        super().__init__()
        branches: list[nn.Module] = [OriginalResolution(variant)] if variant.orb else []
        branches += [EncoderDecoder(variant)] if variant.edb else []
        self.branches = nn.ModuleList(branches)
        self.fuse = _fusion(variant) if len(branches) == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(*(branch(x) for branch in self.branches))


class SubsampledNet(nn.Module):
    """DSN: I and I_S -> R_S, the rain at half resolution (Eq. 1)."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        self.small = nn.Sequential(conv3x3(3, channels, bias=False), *_blocks(variant, 1))
        self.sr = variant.sr
        if variant.sr:
            self.pixels = nn.Sequential(conv3x3(12, channels, bias=False), *_blocks(variant, 1))
            self.join = conv3x3(2 * channels, channels, bias=False)
        self.branches = DualBranch(variant)
        self.tail = small_conv3x3(channels, 3, bias=False)

    def forward(self, image: Tensor, small: Tensor) -> Tensor:
        x = self.small(small)
        if self.sr:
            x = self.join(torch.cat((x, self.pixels(functional.pixel_unshuffle(image, 2))), 1))
        return self.tail(self.branches(x))


class Association(nn.Module):
    """ALM: what DSN found steers the features of the rainy image (Eq. 2); without ``alm`` only F(I)."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        self.alm = variant.alm
        self.image = conv3x3(3, channels, stride=2 if variant.sr else 1, bias=False)
        if variant.alm:
            self.mask = conv3x3(3, channels, bias=False)
            self.background = conv3x3(3, channels, bias=False)

    def forward(self, image: Tensor, rain: Tensor, background: Tensor) -> Tensor:
        features = self.image(image)
        if not self.alm:
            return features
        return torch.addcmul(features, features, self.mask(rain).sigmoid()) + self.background(background)


class ResolutionNet(nn.Module):
    """RSN: features of the ALM -> residual at full resolution, by pixel shuffle (Eq. 3)."""

    def __init__(self, variant: Variant):
        super().__init__()
        channels = variant.channels
        self.branches = DualBranch(variant)
        enlarge = (conv3x3(channels, 2 * channels, bias=False), nn.PixelShuffle(2)) if variant.sr else ()
        inner = channels // 2 if variant.sr else channels
        self.tail = nn.Sequential(*enlarge, small_conv3x3(inner, 3, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.branches(x))


class DANet(SingleImageDerainer):
    """The derainer.

    Args:
        variant: row of :data:`VARIANTS`.
        changes: fields of :class:`Variant` to change.

    Shapes: ``rain`` N x 3 x H x W in 0..1, any H and W (inside padded to a multiple of 16, or 8
    without ``sr``); see :class:`DanetRestoration` for what comes out.

    Raises:
        ValueError: an unknown variant or option; both branches left out.
    """

    def __init__(self, variant: str = "danet", **changes: object):
        super().__init__()
        self.variant = v = published(VARIANTS, variant, changes)
        if not (v.orb or v.edb):
            raise ValueError("orb and edb are both off: at least one branch is needed")
        self.sampling = 2 if v.sr else 1
        self.dsn = SubsampledNet(v)
        self.alm = Association(v)
        self.rsn = ResolutionNet(v)

    def forward(self, rain: Tensor) -> DanetRestoration:
        height, width = rain.shape[-2:]
        step = self.sampling
        padded = pad_to_multiple(rain, step * 2**LEVELS)
        small = functional.avg_pool2d(padded, 2) if step == 2 else padded
        first = self.alm.image
        image = as_input(padded, first)
        streaks = self.dsn(image, as_input(small, first))
        half = small - streaks.to(rain.dtype)
        residual = self.rsn(self.alm(image, streaks, as_input(half, first)))
        clean = residual.to(rain.dtype) + (_resized(half, 2) if step == 2 else half)
        return DanetRestoration(
            clean[..., :height, :width], half[..., : cells(height, step), : cells(width, step)]
        )


def _fusion(variant: Variant, inputs: int = 2) -> nn.Module:
    if not variant.sfb:
        return Concatenation(inputs, variant.channels)
    return (FusionBlock if inputs == 2 else ScaleFusionBlock)(variant.channels, variant.reduction)


def _encoder_convolution(variant: Variant) -> nn.Module:
    if variant.dsc:
        return SeparableConvolution(variant.channels, variant.channels)
    return conv3x3(variant.channels, variant.channels, bias=False)


def _blocks(variant: Variant, count: int) -> list[nn.Module]:
    return [ChannelAttentionBlock(variant.channels, variant.reduction) for _ in range(count)]


def _resized(x: Tensor, factor: float) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
