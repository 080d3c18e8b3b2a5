"""Anchor-free detection: one point per cell, a decoupled head (FCOS, YOLOX).

Each cell of strides 8, 16 and 32 says how much it is the inside of each class of
object (a score that is trained towards the overlap its box reaches) and how far
the four edges are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layers import ConvBlock

PRIOR_SCORE = 0.01
"""Score of every cell before training (RetinaNet's initialisation)."""


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
