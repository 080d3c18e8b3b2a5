"""LoopNet: the default derainer, built for a closed loop in real time.

It takes from the five papers what pays at a few tens of GMAC: work below full
resolution (DANet), channel residual attention (SAPNet), a pyramid (MSPFN, PHP)
and a semantic prior that steers the restoration (UBCN's SAM, Eq. 5, folded from
one branch per class into one scale and shift per class). The whole correction is
scaled by how sure the network is that there is rain at all, so that a dry image
stays as it is.

Plain 3x3 convolutions on 2x2 pixel-unshuffled images, no attention over pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .derainer import Derainer, Restoration
from .layers import (
    ResidualBlock,
    as_input,
    cells,
    conv3x3,
    convolved_cells,
    pad_to_multiple,
    resized,
    small_conv3x3,
)

STRIDE = 16
"""The coarsest level: H and W are padded to a multiple of this inside."""

HEAD, RESIDUAL = 16, 12
"""Channels of the head, and those of them that are the residual: after the pixel shuffle 3, and 1 of expected
error."""


class PriorModulation(nn.Module):
    """Scale and shift features by what each pixel is: ``x * (1 + sum_c p_c g_c) + sum_c p_c b_c``.

    Without a prior (all zero) it is the identity. Source: UBCN (AAAI 2022), Eq. 5.
    """

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.per_class = nn.Conv2d(classes, 2 * channels, 1, bias=False)
        nn.init.normal_(self.per_class.weight, std=0.02)

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:
        channels = self.per_class.out_channels // 2
        scale = resized(_some(self.per_class, prior, slice(channels)), x)
        shift = resized(_some(self.per_class, prior, slice(channels, None)), x)
        return torch.addcmul(x + shift, x, scale)


class Up(nn.Module):
    """Twice the size by 1x1 convolution and pixel shuffle, then add the skip."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.expand = nn.Conv2d(inputs, 4 * outputs, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.expand(x), 2) + skip


class LoopNet(Derainer):
    """The derainer of the closed loop.

    Args:
        classes: K, number of channels of the semantic prior.
        widths: channels at strides 2, 4, 8 and 16.
        state: channels carried from frame to frame.

    Shapes as for every :class:`Derainer`; with H', W' the size padded to a multiple of 16, a restoration's
    ``features`` are N x widths[0] x H'/2 x W'/2, its ``state`` N x ``state`` x H'/2 x W'/2.
    """

    def __init__(
        self, classes: int = 11, widths: tuple[int, int, int, int] = (32, 64, 128, 256), state: int = 16
    ):
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.classes = classes
        self.state_channels = state
        self.stem = conv3x3(12 + state, half)
        self.half_in = ResidualBlock(half)
        self.down_quarter = conv3x3(half, quarter, stride=2)
        self.quarter_in = ResidualBlock(quarter)
        self.down_eighth = conv3x3(quarter, eighth, stride=2)
        self.down_sixteenth = conv3x3(eighth, sixteenth, stride=2)
        self.sixteenth = nn.Sequential(*(_narrow(sixteenth, dilation, True) for dilation in (1, 2)))
        self.is_rain = nn.Linear(2 * sixteenth, 1)
        self.up_eighth = Up(sixteenth, eighth)
        self.eighth_out = _narrow(eighth)
        self.up_quarter = Up(eighth, quarter)
        self.quarter_out = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.up_half = Up(quarter, half)
        self.half_out = nn.Sequential(ResidualBlock(half), ResidualBlock(half))
        self.remember = nn.Conv2d(half, 2 * state, 1)
        self.head = small_conv3x3(half, HEAD)

        self.again_down_quarter = conv3x3(half, quarter, stride=2)
        self.again_down_eighth = conv3x3(quarter, eighth, stride=2)
        self.modulate_eighth = PriorModulation(classes, eighth)
        self.again_eighth = _narrow(eighth, 1, True)
        self.again_up_quarter = Up(eighth, quarter)
        self.modulate_quarter = PriorModulation(classes, quarter)
        self.again_up_half = Up(quarter, half)
        self.again_head = small_conv3x3(half, HEAD)
        with torch.no_grad():
            self.is_rain.weight.mul_(0.1)
            self.is_rain.bias.fill_(2.0)

    def initial_state(self, rain: Tensor) -> Tensor:
        """Zeros, N x ``state`` x H'/2 x W'/2, in the type of the weights."""
        rows, columns = (cells(side, STRIDE) * (STRIDE // 2) for side in rain.shape[-2:])
        return self._zeros(rain, self.state_channels, rows, columns)

    def initial_prior(self, rain: Tensor) -> Tensor:
        """Zeros, N x K x ceil(H/8) x ceil(W/8), in the type of the weights."""
        return self._zeros(rain, self.classes, *(cells(side, 8) for side in rain.shape[-2:]))

    def _zeros(self, rain: Tensor, *shape: int) -> Tensor:
        return torch.zeros(rain.shape[0], *shape, dtype=self.stem.weight.dtype, device=rain.device)

    def coarse(self, rain: Tensor, state: Tensor | None = None, raining: Tensor | None = None) -> Restoration:
        """First estimate of the clean image; ``state`` comes from the previous frame, if any.

        ``raining`` (N bool) is for training: where it holds, the correction is not scaled down
        by a presence that is not sure yet.
        """
        features, presence, state = self._first_pass(rain, state)
        scale = presence if raining is None else presence.masked_fill(raining[:, None, None, None], 1.0)
        head = self.head(features)
        return self._restoration(rain, _residual(head), head, presence, scale, features, state)

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """A better estimate, knowing what each pixel is. ``prior=None`` means: not known.

        ``rain`` belongs to the contract of every derainer; here the features carry it.
        """
        image, _, presence, scale, features, state = restoration
        assert features is not None  # coarse() has set it
        features = self._second_pass(rain, features, prior)
        head = self.again_head(functional.relu(features))
        return self._restoration(image, _residual(head), head, presence, scale, features, state)

    def once(self, rain: Tensor, state: Tensor | None = None, prior: Tensor | None = None) -> Restoration:
        """``coarse``, then ``refine``; both residuals are added before they are brought to full size."""
        first, presence, state = self._first_pass(rain, state)
        features = self._second_pass(rain, first, prior)
        head = self.again_head(functional.relu(features))
        residual = _some(self.head, first, slice(RESIDUAL)).float() + _residual(head)
        return self._restoration(rain, residual, head, presence, presence, features, state)

    forward = once

    def _first_pass(self, rain: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Features, presence and the next state."""
        if state is None:
            state = self.initial_state(rain)
        state = as_input(state, self.stem)
        pixels = as_input(pad_to_multiple(rain - 0.5, STRIDE), self.stem)
        x1 = self.half_in(convolved_cells(self.stem, pixels, state))
        x2 = self.quarter_in(self.down_quarter(x1))
        x3 = functional.relu(self.down_eighth(x2))
        x4 = self.sixteenth(self.down_sixteenth(x3))
        presence = self._presence(x4)
        x3 = self.eighth_out(self.up_eighth(x4, x3))
        features = self.half_out(self.up_half(self.quarter_out(self.up_quarter(x3, x2)), x1))
        return features, presence, self._remembered(features, state)

    def _second_pass(self, rain: Tensor, x1: Tensor, prior: Tensor | None) -> Tensor:
        """Features, from those of the pass before."""
        if prior is None:
            prior = self.initial_prior(rain)
        prior = prior.to(x1.dtype)
        x2 = functional.relu(self.again_down_quarter(x1))
        x3 = self.again_eighth(self.modulate_eighth(self.again_down_eighth(x2), prior))
        x2 = functional.relu(self.modulate_quarter(self.again_up_quarter(x3, x2), prior))
        return self.again_up_half(x2, x1)

    def _presence(self, x: Tensor) -> Tensor:
        """N x 1 x 1 x 1: is there rain? From the mean and the mean deviation of every channel."""
        x = x.float()
        mean = x.mean((2, 3), keepdim=True)
        spread = (x - mean).abs().mean((2, 3))
        return torch.sigmoid(
            self.is_rain(torch.cat((mean.flatten(1), spread), 1).to(self.is_rain.weight.dtype)).float()
        )[:, :, None, None]

    def _remembered(self, features: Tensor, state: Tensor) -> Tensor:
        """The gated state: ``z state + (1 - z) tanh(candidate)``, z and candidate from the features."""
        keep = _some(self.remember, features, slice(self.state_channels))
        candidate = _some(self.remember, features, slice(self.state_channels, None))
        return torch.lerp(torch.tanh(candidate), state.to(keep.dtype), torch.sigmoid(keep))

    @staticmethod
    def _restoration(
        base: Tensor,
        residual: Tensor,
        head: Tensor,
        presence: Tensor,
        scale: Tensor,
        features: Tensor,
        state: Tensor | None,
    ) -> Restoration:
        """``base`` + the residual, N x 12 x H'/2 x W'/2; the expected error is the head's."""
        height, width = base.shape[-2:]
        residual = functional.pixel_shuffle(residual * scale, 2)[..., :height, :width]
        error = functional.pixel_shuffle(functional.softplus(head[:, RESIDUAL:].float()) * 0.1, 2)
        return Restoration(base + residual, error[..., :height, :width], presence, scale, features, state)


def _narrow(channels: int, dilation: int = 1, attention: bool = False) -> ResidualBlock:
    """A block of the coarse levels: of as many hidden channels as outputs, most never became active there."""
    return ResidualBlock(channels, dilation, attention, channels // 2)


def _residual(head: Tensor) -> Tensor:
    """The channels of a head that are the residual, N x 12 x h x w."""
    return head[:, :RESIDUAL].float()


def _some(layer: nn.Conv2d, x: Tensor, outputs: slice) -> Tensor:
    """Some of the output channels of a layer."""
    bias = None if layer.bias is None else layer.bias[outputs]
    return functional.conv2d(x, layer.weight[outputs], bias, padding=layer.padding)
