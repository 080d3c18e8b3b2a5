"""The scene parser: label map and boxes from one encoder over the derained image.

It sees the image alone (no features of the derainer): sharing an encoder cost
2.2 dB in Xu et al. (TIP 2021, Table V), and so the same parser serves dry frames,
other derainers, and a process of its own.

Detection is anchor-free, with one point per cell and a decoupled head (FCOS, YOLOX): each cell
of strides 8, 16 and 32 predicts a score per class of object (trained towards the overlap that
its box reaches) and the distances of the four edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import BasicBlock, ConvBlock, as_input, cells, convolved_cells, halved, pad_to_multiple

STRIDE = 32
LOGIT_STRIDE = 4
PRIOR_STRIDE = 8

PRIOR_SCORE = 0.01
"""Score of every cell before training (RetinaNet's initialisation)."""

NMS_OVERLAP = 0.4

ENLARGED = 1.5
"""By this factor small images are enlarged, before they are parsed."""


class LevelOutput(NamedTuple):
    """One level of the head.

    Attributes:
        scores: N x objects x h x w logits.
        edges: N x 4 x h x w distances left, top, right, bottom in units of the stride, > 0.
        stride: pixels per cell.
    """

    scores: Tensor
    edges: Tensor
    stride: int


class Candidates(NamedTuple):
    """Boxes before the suppression of those that show the same object.

    Attributes:
        scores: N x P x objects in 0..1.
        boxes: N x P x 4 (x0, y0, x1, y1) in pixels of the image; may reach beyond it.
        overlap: IoU above which the weaker of two boxes of a class is dropped; 1: none is.
    """

    scores: Tensor
    boxes: Tensor
    overlap: float


class Parse(NamedTuple):
    """Raw output of the parser.

    Attributes:
        logits: N x K x ceil(H/4) x ceil(W/4) class scores.
        levels: one :class:`LevelOutput` per stride 8, 16, 32; empty from a network without detection.
        features: N x C x h x w, for losses on features; the scene parser's fused ones, N x 64 x H'/8 x W'/8.
            None where nothing learns.
    """

    logits: Tensor
    levels: tuple[LevelOutput, ...]
    features: Tensor | None = None

    def probabilities(self) -> Tensor:
        """N x K x ceil(H/4) x ceil(W/4) class probabilities."""
        return self.logits.softmax(1)

    def candidates(self) -> Candidates:
        """The boxes of all levels; none from a network without detection."""
        if not self.levels:
            none = self.logits.new_zeros(len(self.logits), 0, 4)
            return Candidates(none, none, NMS_OVERLAP)
        return Candidates(*decode(self.levels), NMS_OVERLAP)


def _stage(inputs: int, outputs: int, dilations: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(ConvBlock(inputs, outputs, stride=2), *(BasicBlock(outputs, d) for d in dilations))


def encode(image: Tensor, stages: Sequence[nn.Module] | nn.ModuleList) -> list[Tensor]:
    """The output of every stage of a :class:`SceneParser`'s encoder.

    Shapes: ``image`` N x 3 x H x W in 0..1 -> maps N x C_s x H'/s x W'/s at strides s = 4, 8, 16, 32,
    H' and W' being the next multiples of 32.
    """
    pixels = as_input(pad_to_multiple(image * 2 - 1, STRIDE), stages[0])
    outputs = [convolved_cells(stages[0], pixels)]
    for stage in stages[1:]:
        outputs.append(stage(outputs[-1]))
    return outputs


class DetectionHead(nn.Module):
    """Decoupled head shared by all levels: two towers of two convolutions.

    Args:
        channels: channels of every input level.
        objects: number of classes.
        strides: pixels per cell of each level.
    """

    def __init__(self, channels: int, objects: int, strides: tuple[int, ...]):
        super().__init__()
        self.strides = strides
        self.score_tower = nn.Sequential(ConvBlock(channels, channels), ConvBlock(channels, channels))
        self.edge_tower = nn.Sequential(ConvBlock(channels, channels), ConvBlock(channels, channels))
        self.score = nn.Conv2d(channels, objects, 1)
        self.edge = nn.Conv2d(channels, 4, 1)
        assert self.score.bias is not None
        nn.init.constant_(self.score.bias, -math.log((1 - PRIOR_SCORE) / PRIOR_SCORE))
        self.level_scale = nn.Parameter(torch.ones(len(strides)))

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[LevelOutput, ...]:
        outputs = []
        for index, (x, stride) in enumerate(zip(levels, self.strides, strict=True)):
            edges = (self.edge(self.edge_tower(x)).float() * self.level_scale[index]).clamp(-6, 6).exp()
            outputs.append(LevelOutput(self.score(self.score_tower(x)).float(), edges, stride))
        return tuple(outputs)


class SceneParser(nn.Module):
    """Segmentation and detection on one encoder.

    Args:
        classes: K semantic classes.
        objects: number of detection classes.
        widths: channels at strides 4, 8, 16, 32.
        enlarged_below: the engine enlarges images whose longer side has fewer pixels, see
            :func:`enlarged_size`.

    Shapes: ``image`` N x 3 x H x W float32 in 0..1, any H, W >= 64.
    """

    def __init__(
        self,
        classes: int = 11,
        objects: int = 3,
        widths: tuple[int, int, int, int] = (32, 64, 128, 192),
        enlarged_below: int = 0,
    ):
        super().__init__()
        self.enlarged_below = enlarged_below
        w4, w8, w16, w32 = self.widths = tuple(widths)
        self.feature_channels = fused = 64
        self.classes, self.objects = classes, objects
        self.stage4 = nn.Sequential(ConvBlock(12, w4, stride=2), BasicBlock(w4))
        self.stage8 = _stage(w4, w8, (1, 1))
        self.stage16 = _stage(w8, w16, (1, 2, 1))
        self.stage32 = _stage(w16, w32, (1, 2, 4))
        self.context = nn.Conv2d(w32, w32, 1)
        self.lateral32, self.lateral16, self.lateral8 = (nn.Conv2d(w, fused, 1) for w in (w32, w16, w8))
        self.fuse32, self.fuse16, self.fuse8 = (ConvBlock(fused, fused) for _ in range(3))
        self.lateral4 = nn.Conv2d(w4, fused // 2, 1)
        self.narrow = nn.Conv2d(fused, fused // 2, 1)
        self.fuse4 = ConvBlock(fused // 2, fused // 2)
        self.classify = nn.Conv2d(fused // 2, classes, 1)
        self.detect = DetectionHead(fused, objects, strides=(8, 16, 32))

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The encoder: what makes the maps at strides 4, 8, 16 and 32, each of the one before."""
        return self.stage4, self.stage8, self.stage16, self.stage32

    def forward(self, image: Tensor) -> Parse:
        height, width = image.shape[-2:]
        x4, x8, x16, x32 = encode(image, self.stages)
        x32 = x32 + self.context(x32.mean((2, 3), keepdim=True))
        p32 = self.fuse32(self.lateral32(x32))
        p16 = self.fuse16(self.lateral16(x16) + _twice(p32))
        p8 = self.fuse8(self.lateral8(x8) + _twice(p16))
        p4 = self.fuse4(self.lateral4(x4) + _twice(self.narrow(p8)))
        rows, columns = cells(height, LOGIT_STRIDE), cells(width, LOGIT_STRIDE)
        return Parse(self.classify(p4)[..., :rows, :columns].float(), self.detect((p8, p16, p32)), p8)


def enlarged_size(height: int, width: int, below: int) -> tuple[int, int]:
    """The size at which an image is parsed: :data:`ENLARGED` times its own if the longer side is below."""
    if max(height, width) >= below:
        return height, width
    return round(ENLARGED * height), round(ENLARGED * width)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def prior_from_logits(logits: Tensor) -> Tensor:
    """The semantic prior, N x K x ceil(H/8) x ceil(W/8) in 0..1, from logits at stride 4."""
    return prior_from_probabilities(logits.softmax(1), LOGIT_STRIDE)


def prior_from_probabilities(probabilities: Tensor, stride: int) -> Tensor:
    """The semantic prior, N x K x ceil(H/8) x ceil(W/8), from class probabilities at stride 2 or 4."""
    height, width = probabilities.shape[-2:]
    if 2 * stride == PRIOR_STRIDE and height % 2 == 0 and width % 2 == 0:
        return halved(probabilities)
    return functional.avg_pool2d(probabilities, PRIOR_STRIDE // stride, ceil_mode=True)


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(height * width) x 2 pixel coordinates (x, y) of the cells' centres, row by row."""
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return (torch.stack((xs, ys), -1).reshape(-1, 2).float() + 0.5) * stride


def decode(levels: tuple[LevelOutput, ...]) -> tuple[Tensor, Tensor]:
    """All cells of all levels: scores N x P x objects (0..1), boxes N x P x 4 (x0, y0, x1, y1 in pixels)."""
    scores, boxes = [], []
    for level in levels:
        height, width = level.scores.shape[-2:]
        centres = cell_centres(height, width, level.stride, level.scores.device)
        edges = level.edges.flatten(2).transpose(1, 2) * level.stride
        boxes.append(torch.cat((centres - edges[..., :2], centres + edges[..., 2:]), -1))
        scores.append(level.scores.flatten(2).transpose(1, 2).sigmoid())
    return torch.cat(scores, 1), torch.cat(boxes, 1)
