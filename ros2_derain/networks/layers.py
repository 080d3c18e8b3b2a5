"""Building blocks that more than one network uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def published(variants: Mapping[str, Row], name: str, changes: Mapping[str, Any]) -> Row:
    """One row of a network's table of published sizes (frozen dataclasses), with some fields changed.

    Raises:
        ValueError: no row or no field of that name; the message lists the known ones.
    """
    if name not in variants:
        raise ValueError(f"no variant named {name!r}; known: {', '.join(variants)}")
    fields = [field.name for field in dataclasses.fields(variants[name])]
    unknown = [field for field in changes if field not in fields]
    if unknown:
        raise ValueError(f"no option named {', '.join(unknown)}; known: {', '.join(fields)}")
    return dataclasses.replace(variants[name], **changes)


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Check an option against its possible values.

    Raises:
        ValueError: ``value`` is none of them; the message lists them.
    """
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")


def as_input(image: Tensor, layer: nn.Module) -> Tensor:
    """N x C x H x W in the type of the layer's weights and in channels_last memory."""
    return image.to(next(layer.parameters()).dtype).contiguous(memory_format=torch.channels_last)


def conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size (or halves it at ``stride=2``)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=bias)


def small_conv3x3(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    """The last convolution of a residual, small at first: a fresh network begins near the identity."""
    layer = conv3x3(inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def convolved_cells(block: nn.Module, image: Tensor, more: Tensor | None = None) -> Tensor:
    """``block(cat((pixel_unshuffle(image, 2), more), 1))`` without rearranging the image.

    A 3x3 convolution of cells of 2x2 pixels is a 6x6 convolution of the pixels, of twice the stride. It needs
    no copies that rearrange and join its inputs.

    Args:
        block: a 3x3 convolution with a padding of 1, or layers that begin with one.
        image: N x C x H x W with even H and W.
        more: N x M x H/2 x W/2; the convolution has 4 C + M input channels.
    """
    if isinstance(block, nn.Sequential):
        first, *others = block
        x = convolved_cells(first, image, more)
        for layer in others:
            x = layer(x)
        return x
    assert isinstance(block, nn.Conv2d)
    outputs, inputs, stride = block.out_channels, image.shape[1], block.stride[0]
    fine = block.weight[:, : 4 * inputs].reshape(outputs, inputs, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3)
    fine = fine.reshape(outputs, inputs, 6, 6)
    x = functional.conv2d(image, fine, block.bias, stride=2 * stride, padding=2)
    if more is None:
        return x
    return x + functional.conv2d(more, block.weight[:, 4 * inputs :], stride=stride, padding=1)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the right and bottom edge until H and W divide by ``multiple`` (N x C x H x W)."""
    height, width = image.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not (right or bottom):
        return image
    return functional.pad(image, (0, right, 0, bottom), mode="replicate")


def cells(side: int, stride: int) -> int:
    """How many cells of a stride cover a side: the quotient, rounded up (as ONNX also rounds it)."""
    return (side + stride - 1) // stride


def resized(x: Tensor, like: Tensor) -> Tensor:
    """N x C x H x W at another map's height and width, bilinear."""
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Means of 2x2 cells, N x C x H x W with even H and W; avg_pool2d is several times slower on a CPU."""
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25


def crop_logits(logits: Tensor, image: Tensor, stride: int) -> Tensor:
    """Logits of a padded image without the padding: N x K x ceil(H/stride) x ceil(W/stride), float32."""
    height, width = image.shape[-2:]
    return logits[..., : cells(height, stride), : cells(width, stride)].float()


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


class SqueezeExcitation(nn.Module):
    """``sigmoid(W2 relu(W1 mean(x))) x``, N x C x H x W in and out (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(functional.relu(self.squeeze(mean))))


class ResidualBlock(nn.Module):
    """``x + [attention](conv(relu(conv(x))))``: no normalisation, for restoration.

    The last convolution starts small so that a fresh network begins near the identity.

    Args:
        channels: of input and output.
        hidden: channels between the convolutions; None: as many.
    """

    def __init__(self, channels: int, dilation: int = 1, attention: bool = False, hidden: int | None = None):
        super().__init__()
        hidden = hidden or channels
        self.first = conv3x3(channels, hidden, dilation=dilation)
        self.second = conv3x3(hidden, channels, dilation=dilation)
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


class BasicBlock(nn.Module):
    """ResNet's basic block: two 3x3 convolutions with batch normalisation and a skip."""

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Sequential(
            conv3x3(channels, channels, dilation=dilation, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)), inplace=True)


def fuse_normalisation(module: nn.Module) -> nn.Module:
    """Fold every batch normalisation into the convolution before it (for inference; in place)."""
    for block in module.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for index in range(len(block) - 1):
            convolution, normalisation = block[index], block[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(convolution, normalisation)
                block[index + 1] = nn.Identity()
    return module
