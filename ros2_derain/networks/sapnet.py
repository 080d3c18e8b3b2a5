"""SAPNet: a recurrent stage of dilated residual blocks, repeated on its own result.

Zheng et al., "SAPNet: Segmentation-Aware Progressive Network for Perceptual Contrastive
Deraining" (WACV Workshops 2022). With y the rainy image, x_0 = y, h_0 = c_0 = 0, stage t is

    f   = relu(conv(y, x_{t-1}))                     6 -> 32 channels
    i, f, g, o = gates(f, h_{t-1})                   sigmoid, sigmoid, tanh, sigmoid
    c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)       ConvLSTM
    x_t = y + conv(blocks(h_t))                      5 blocks, dilations 1, 2, 4, 8, 16

and all six stages share their weights. 180,483 parameters, 265.0 GMAC for 512 x 512.

Where paper and released code differ this follows the code: no peephole terms in the gates
(Eq. 2 prints them), two convolutions with attention per block instead of one, the rainy image
added to every stage's result. Weights are registered in the order of the authors' checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbones import backbone_of
from .derainer import ImageRestoration, SingleImageDerainer
from .layers import (
    ChannelResidualAttention,
    SqueezeExcitation,
    as_input,
    conv3x3,
    crop_logits,
    one_of,
    pad_to_multiple,
    published,
    resized,
)


@dataclass(frozen=True)
class Variant:
    """A size of SAPNet.

    Attributes:
        stages: how often the stage is repeated per image.
        channels: of the features, and of each half of the state.
        dilations: one residual block each.
        attention: ``cra``, ``se`` or ``ca`` (the paper's Table 2).
    """

    stages: int = 6
    channels: int = 32
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    attention: str = "cra"


VARIANTS = {
    "paper": Variant(),
    "video": Variant(stages=1),
}
"""``paper`` as published; ``video`` has the same weights and one stage per frame."""


def _channel_attention(channels: int) -> nn.Module:
    """Table 2's CA: squeeze and excitation with biases and a reduction of 8, as in the released code."""
    return SqueezeExcitation(channels, 8, bias=True)


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "cra": ChannelResidualAttention,
    "se": SqueezeExcitation,
    "ca": _channel_attention,
}


class DilatedBlock(nn.Sequential):
    """``relu(x + [conv, attention, relu] x 2)``, N x C x H x W; convolutions 3x3 of one dilation."""

    def __init__(self, channels: int, dilation: int, attention: str):
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [conv3x3(channels, channels, dilation=dilation), ATTENTIONS[attention](channels)]
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return functional.relu(y + x, inplace=True)


class SAPNet(SingleImageDerainer):
    """The derainer.

    Args:
        variant: row of :data:`VARIANTS`.
        changes: fields of :class:`Variant` to change.

    Shapes: ``rain`` N x 3 x H x W in 0..1, any H and W.

    Raises:
        ValueError: an unknown variant, option or attention.
    """

    def __init__(self, variant: str = "paper", **changes: object):
        super().__init__()
        self.variant = chosen = published(VARIANTS, variant, changes)
        one_of("attention", chosen.attention, ATTENTIONS)
        channels = chosen.channels
        self.head = conv3x3(6, channels)
        self.blocks = nn.Sequential(*(DilatedBlock(channels, d, chosen.attention) for d in chosen.dilations))
        self.input_gate, self.forget_gate, self.candidate, self.output_gate = (
            conv3x3(2 * channels, channels) for _ in range(4)
        )
        self.tail = conv3x3(channels, 3)

    def forward(self, rain: Tensor) -> ImageRestoration:
        image = rain
        zeros = self.head.weight.new_zeros(rain.shape[0], self.variant.channels, *rain.shape[-2:])
        hidden = cell = zeros.contiguous(memory_format=torch.channels_last)
        for _ in range(self.variant.stages):
            image, hidden, cell = self.stage(rain, image, hidden, cell)
        return ImageRestoration(image)

    def stage(
        self, rain: Tensor, image: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, h_t and c_t from y, x_{t-1} and the state h_{t-1}, c_{t-1} (N x C x H x W each)."""
        features = functional.relu(self.head(as_input(torch.cat((rain, image), 1), self.head)))
        gates = (self.input_gate, self.forget_gate, self.candidate, self.output_gate)
        weight = torch.cat([gate.weight for gate in gates])  # the four convolutions run as one
        bias = torch.cat([gate.bias for gate in gates if gate.bias is not None])
        x = functional.conv2d(torch.cat((features, hidden), 1), weight, bias, padding=1)
        i, f, g, o = x.chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        return rain + self.tail(self.blocks(hidden)), hidden, cell


class BackgroundSegmenter(nn.Module):
    """UBS, the unsupervised background segmentation that SAPNet's loss looks through.

    A feature pyramid (FPN) over a frozen encoder, whose own weights are drawn from N(0, std) and
    never trained: top-down sum of 1x1 laterals (256 channels), each level through 3x3 256 -> 256
    and 3x3 256 -> 128, all at the finest size, concatenated, 3x3 to the classes. The paper
    concatenates in the top-down path; the released code adds, and so does this. Gradients flow to
    the image, none to a weight. Always in evaluation mode, whatever the module around it is set to.

    Args:
        backbone: name of an encoder (``resnet101`` as in the paper, but without weights; ``light``)
            or a module that maps N x 3 x H x W in 0..1 to four feature maps of falling size, of its
            ``channels``.
        classes: K (21 in the paper: VOC).
        std: standard deviation of the decoder's weights (0.05 in the paper, 0.01 in the code).

    Shapes: N x 3 x H x W in 0..1 -> logits N x K x ceil(H/4) x ceil(W/4); H, W >= 64.

    Raises:
        ValueError: no encoder of that name.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "resnet101",
        classes: int = 21,
        std: float = 0.05,
    ):
        super().__init__()
        self.backbone = backbone_of(backbone)
        widths = cast("tuple[int, ...]", self.backbone.channels)
        self.std = std
        self.laterals = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in widths)
        self.levels = nn.ModuleList(nn.Sequential(conv3x3(256, 256), conv3x3(256, 128)) for _ in widths)
        self.classify = conv3x3(128 * len(widths), classes)
        self.redraw()
        self.requires_grad_(False).eval()

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """New random decoder weights, as the released code has for every training step."""
        for part in (self.laterals, self.levels, self.classify):
            for convolution in part.modules():
                if isinstance(convolution, nn.Conv2d):
                    nn.init.normal_(convolution.weight, std=self.std, generator=generator)
                    if convolution.bias is not None:
                        nn.init.zeros_(convolution.bias)

    def train(self, mode: bool = True) -> BackgroundSegmenter:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.backbone(pad_to_multiple(image, 32))
        top = None
        outputs = []
        for lateral, level, x in reversed(list(zip(self.laterals, self.levels, maps, strict=True))):
            x = lateral(x)
            top = x if top is None else x + resized(top, x)
            outputs.append(level(top))
        finest = outputs[-1]
        logits = self.classify(torch.cat([resized(x, finest) for x in outputs], 1))
        return crop_logits(logits, image, 4)
