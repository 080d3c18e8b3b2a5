"""Building blocks that more than one network uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


def conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size (or halves it at ``stride=2``)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=bias)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the right and bottom edge until H and W divide by ``multiple`` (N x C x H x W)."""
    height, width = image.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not (right or bottom):
        return image
    return functional.pad(image, (0, right, 0, bottom), mode="replicate")


class ChannelResidualAttention(nn.Module):
    """SAPNet's CRA: channel weights with a linear path around the bottleneck.

    ``a = sigmoid(W2 relu(W1 g) + Ws g)`` with ``g`` the global mean; returns ``a * x``.
    Shape: N x C x H x W in and out. Source: SAPNet (WACVW 2022), section 3.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)
        self.skip = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(functional.relu(self.squeeze(mean))) + self.skip(mean))


class ResidualBlock(nn.Module):
    """``x + [attention](conv(relu(conv(x))))``: no normalisation, for restoration.

    The last convolution starts small so that a fresh network begins near the identity.
    """

    def __init__(self, channels: int, dilation: int = 1, attention: bool = False):
        super().__init__()
        self.first = conv3x3(channels, channels, dilation=dilation)
        self.second = conv3x3(channels, channels, dilation=dilation)
        self.attention = ChannelResidualAttention(channels) if attention else nn.Identity()
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.second(functional.relu(self.first(x), inplace=True))) + x


class ConvBlock(nn.Sequential):
    """conv3x3, batch normalisation, ReLU: for perception."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1):
        super().__init__(
            conv3x3(inputs, outputs, stride, dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def fuse_normalisation(module: nn.Module) -> nn.Module:
    """Fold every batch normalisation into the convolution before it (for inference; in place)."""
    for block in module.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for index in range(len(block) - 1):
            if isinstance(block[index], nn.Conv2d) and isinstance(block[index + 1], nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(block[index], block[index + 1])
                block[index + 1] = nn.Identity()
    return module
