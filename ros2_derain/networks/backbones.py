"""Encoders of the segmentation networks: an image in, four feature maps of falling size out.

Written from their papers: ResNet (He et al., CVPR 2016), dilated in its last two stages where
PSPNet needs it (Zhao et al., CVPR 2017), HRNetV2 (Wang et al., TPAMI 2020), and a light one for
real time. Every encoder takes N x 3 x H x W in 0..1 with H and W multiples of 32, says how many
``channels`` its maps have, and starts from random weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import BasicBlock, ConvBlock, as_input, one_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, what published weights expect: encoders see (image - mean) / std."""

BRANCH_END = 0.2
"""Scale of the last normalisation of a residual branch at the start (1 is usual): so that a fresh
encoder, whose running means are still 0 and 1, does not explode over 33 blocks in evaluation mode."""


class Normalise(nn.Module):
    """(image - mean) / std of ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 with a skip; four times as many channels leave it as are inside."""

    def __init__(self, inputs: int, inner: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        outputs = 4 * inner
        self.reduce = _unit(inputs, inner, 1)
        self.look = ConvBlock(inner, inner, stride, dilation)
        self.expand = _unit(inner, outputs, 1, relu=False, scale=BRANCH_END)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else _unit(inputs, outputs, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.skip(x) + self.expand(self.look(self.reduce(x))), inplace=True)


class ResNet(nn.Module):
    """ResNet of bottlenecks, without its classifier.

    Args:
        blocks: per stage: (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) ResNet-101.
        dilated: keep stride 8 in the last two stages, with dilations 2 and 4, as PSPNet does.

    Shapes: four maps of 256, 512, 1024 and 2048 channels at strides 4, 8, 16, 32 (or 4, 8, 8, 8).
    """

    channels = (256, 512, 1024, 2048)

    def __init__(self, blocks: tuple[int, int, int, int], dilated: bool = False):
        super().__init__()
        self.normalise = Normalise()
        self.stem = _unit(3, 64, 7, 2)
        strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
        stages, inputs = [], 64
        for outputs, count, stride, dilation in zip(self.channels, blocks, strides, dilations, strict=True):
            stages.append(_bottlenecks(inputs, outputs // 4, count, stride, dilation))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(as_input(self.normalise(image), self.stem))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        return _through(self.stages, x)


class Exchange(nn.Module):
    """HRNet's fusion: every resolution gets the sum of all of them.

    Coarser ones come through 1x1 and nearest upsampling, finer ones through a chain of 3x3
    convolutions of stride 2, itself unchanged.
    """

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(*_unit(widths[source], widths[target], 1, relu=False), upsample)
        steps = [ConvBlock(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, _unit(widths[source], widths[target], 3, 2, relu=False))

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs = []
        for paths in self.paths:
            inputs = zip(cast(nn.ModuleList, paths), maps, strict=True)
            outputs.append(functional.relu(functools.reduce(torch.add, (path(x) for path, x in inputs))))
        return tuple(outputs)


class ExchangeModule(nn.Module):
    """Four basic blocks on every resolution, then :class:`Exchange`."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(4))) for w in widths)
        self.exchange = Exchange(widths)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.exchange(tuple(branch(x) for branch, x in zip(self.branches, maps, strict=True)))


class HRNet(nn.Module):
    """HRNetV2: resolutions 1/4 to 1/32 side by side, exchanged again and again.

    Two 3x3 convolutions of stride 2 (64 channels), four bottlenecks (256), then stages of 2, 3 and
    4 resolutions with 1, 4 and 3 exchange modules.

    Args:
        width: channels at stride 4; doubled at every coarser one (18: HRNet-W18).

    Shapes: four maps of width x (1, 2, 4, 8) channels at strides 4, 8, 16, 32.
    """

    def __init__(self, width: int = 18):
        super().__init__()
        self.channels = tuple(width * 2**level for level in range(4))
        self.normalise = Normalise()
        self.stem = nn.Sequential(ConvBlock(3, 64, stride=2), ConvBlock(64, 64, stride=2))
        self.first = _bottlenecks(64, 64, 4)
        self.split = nn.ModuleList(
            (ConvBlock(256, self.channels[0]), ConvBlock(256, self.channels[1], stride=2))
        )
        self.coarser = nn.ModuleList(
            ConvBlock(a, b, stride=2) for a, b in zip(self.channels[1:3], self.channels[2:], strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ExchangeModule(self.channels[:resolutions]) for _ in range(modules)))
            for resolutions, modules in ((2, 1), (3, 4), (4, 3))
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.first(self.stem(as_input(self.normalise(image), self.stem)))
        maps = self.stages[0](tuple(branch(x) for branch in self.split))
        for stage, coarser in zip(self.stages[1:], self.coarser, strict=True):
            maps = stage((*maps, coarser(maps[-1])))
        return maps


class LightEncoder(nn.Module):
    """Plain 3x3 stages: a strided convolution and one to three basic blocks each.

    Shapes: four maps of 32, 64, 128 and 192 channels at strides 4, 8, 16, 32.
    """

    channels = (32, 64, 128, 192)

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.stem = ConvBlock(3, 16, stride=2)
        stages, inputs = [], 16
        for outputs, dilations in zip(self.channels, ((1,), (1, 1), (1, 2), (1, 2, 4)), strict=True):
            blocks = (BasicBlock(outputs, dilation) for dilation in dilations)
            stages.append(nn.Sequential(ConvBlock(inputs, outputs, stride=2), *blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return _through(self.stages, self.stem(as_input(self.normalise(image), self.stem)))


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "resnet50": functools.partial(ResNet, (3, 4, 6, 3)),
    "resnet50_dilated": functools.partial(ResNet, (3, 4, 6, 3), dilated=True),
    "resnet101": functools.partial(ResNet, (3, 4, 23, 3)),
    "hrnet18": HRNet,
    "light": LightEncoder,
}


def backbone_of(backbone: str | nn.Module) -> nn.Module:
    """An encoder by its name in :data:`BACKBONES`, or the given module itself.

    Raises:
        ValueError: no encoder of that name.
    """
    if isinstance(backbone, nn.Module):
        return backbone
    one_of("backbone", backbone, BACKBONES)
    return BACKBONES[backbone]()


def _unit(
    inputs: int, outputs: int, size: int, stride: int = 1, relu: bool = True, scale: float = 1.0
) -> nn.Sequential:
    """Convolution, batch normalisation with this scale at the start and, with ``relu``, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    normalisation = nn.BatchNorm2d(outputs)
    nn.init.constant_(normalisation.weight, scale)
    layers = (convolution, normalisation)
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def _bottlenecks(inputs: int, inner: int, count: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = Bottleneck(inputs, inner, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(4 * inner, inner, 1, dilation) for _ in range(count - 1)))


def _through(stages: nn.ModuleList, x: Tensor) -> tuple[Tensor, ...]:
    outputs = []
    for stage in stages:
        x = stage(x)
        outputs.append(x)
    return tuple(outputs)
