"""Targets and loss of the anchor-free head.

Centre sampling by size (FCOS): a cell is positive for the smallest box whose centre
is within 1.5 strides and whose longest edge fits the cell's level. Scores are trained
towards the overlap that the predicted box reaches (quality focal loss), edges by GIoU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks.detection import LevelOutput, cell_centres, decode

RADIUS = 1.5
SIZE_OF_STRIDE = {8: (0.0, 64.0), 16: (48.0, 160.0), 32: (128.0, 1e6)}
"""Longest box edge in pixels that each level is responsible for; they overlap on purpose."""


def detection(levels: tuple[LevelOutput, ...], boxes: Tensor, known: Tensor) -> Tensor:
    """Loss of a batch.

    Args:
        levels: output of the head.
        boxes: N x M x 5 (class, x0, y0, x1, y1 in pixels); class -1 = no box.
        known: N bool; images whose boxes are unknown do not count.
    """
    scores, predicted = decode(levels)
    logits = torch.cat([level.scores.flatten(2).transpose(1, 2) for level in levels], 1)
    centres, strides = _cells(levels)
    quality = torch.zeros_like(scores)
    box_losses = []
    for image in range(len(boxes)):
        cell, box = assign(centres, strides, boxes[image])
        if len(cell) == 0 or not known[image]:
            continue
        target = boxes[image, box]
        overlap, giou = generalised_iou(predicted[image, cell], target[:, 1:])
        quality[image, cell, target[:, 0].long()] = overlap.detach().clamp(min=0)
        box_losses.append(1 - giou)
    focus = (scores.detach() - quality).abs().square()
    score_loss = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * focus
    positives = max(1.0, sum(len(losses) for losses in box_losses))
    total = (score_loss.sum((1, 2)) * known).sum() / positives
    if box_losses:
        total = total + 2.0 * torch.cat(box_losses).sum() / positives
    return total


def assign(centres: Tensor, strides: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of (cell index, box index): each cell at most once, smallest box first.

    Args:
        centres: P x 2 pixel coordinates; strides: P.
        boxes: M x 5, class -1 = no box.
    """
    middle = (boxes[:, 1:3] + boxes[:, 3:5]) / 2
    size = boxes[:, 3:5] - boxes[:, 1:3]
    near = (centres[:, None] - middle).abs().amax(-1) < RADIUS * strides[:, None]
    inside = ((centres[:, None] > boxes[:, 1:3]) & (centres[:, None] < boxes[:, 3:5])).all(-1)
    tiny = size.amax(-1) < 16
    limits = torch.tensor([SIZE_OF_STRIDE[int(s)] for s in strides.unique()], device=boxes.device)
    level = torch.searchsorted(strides.unique().contiguous(), strides.contiguous())
    longest = size.amax(-1)
    fits = (longest >= limits[level, 0:1]) & (longest < limits[level, 1:2])
    candidate = near & (inside | tiny) & fits & (boxes[:, 0] >= 0)
    area = torch.where(candidate, size.prod(-1).expand_as(candidate), torch.inf)
    smallest, box = area.min(1)
    cell = torch.nonzero(torch.isfinite(smallest))[:, 0]
    return cell, box[cell]


def _cells(levels: tuple[LevelOutput, ...]) -> tuple[Tensor, Tensor]:
    centres, strides = [], []
    for level in levels:
        cells = cell_centres(*level.scores.shape[-2:], level.stride, level.scores.device)
        centres.append(cells)
        strides.append(cells.new_full((len(cells),), level.stride))
    return torch.cat(centres), torch.cat(strides)


def generalised_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(IoU, GIoU) of M pairs of boxes, each M x 4 (x0, y0, x1, y1). Rezatofighi et al., CVPR 2019."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = overlap / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)
