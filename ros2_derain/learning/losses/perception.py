"""Losses of the scene parser: of its label maps, and targets and loss of its anchor-free head.

Label maps: logits N x K x h x w, labels N x H x W of class ids 0..K-1, 255 = ignored.

Boxes: centre sampling by size (FCOS): a cell is positive for the smallest box whose centre
is within 1.5 strides and whose longest edge fits the cell's level. Scores are trained
towards the overlap that the predicted box reaches (quality focal loss), edges by GIoU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks.scene_parser import LevelOutput, cell_centres, decode

from .image import pair, single

IGNORED = 255

RADIUS = 1.5
SIZE_OF_STRIDE = {8: (0.0, 64.0), 16: (48.0, 160.0), 32: (128.0, 1e6)}
"""Longest box edge in pixels that each level is responsible for; they overlap on purpose."""


def class_weights(pixels: Sequence[int], power: float = 0.4) -> Tensor:
    """Weights of K classes by how rare they are: (all pixels / the class's pixels)^power, mean 1.

    ``power`` 0 weighs all alike, 1 makes every class count as much as any other.
    """
    counts = torch.as_tensor(pixels, dtype=torch.float32)
    weights = (counts.sum() / counts.clamp(min=1)) ** power
    return weights / weights.mean()


def segmentation(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, weighted by class (``weights``: K); the logits are upsampled to the labels' size.

    At least 0; log K for uniform logits; 0 with a gradient of zero when no pixel is
    labelled. UBCN (AAAI 2022), Eq. 3 and 4, weight 1 each; Xu et al. (TIP 2021), Eq. 5, weight 0.05.
    """
    logits = functional.interpolate(
        single(logits), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    known = labels != IGNORED
    losses = functional.cross_entropy(
        logits, labels.long(), weight=weights, ignore_index=IGNORED, reduction="none"
    )[known]
    shares = torch.ones_like(losses) if weights is None else weights[labels[known].long()]
    return losses.sum() / shares.sum().clamp(min=1e-6)


def lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovasz-softmax: the convex extension of 1 - IoU, averaged over the classes present in the batch.

    0 for a certain and right prediction, 1 for a certain and wrong one; 0 when no pixel is labelled.
    Computed at the logits' size with the label nearest to each cell's centre: it sorts all pixels
    once per class. Berman et al. (CVPR 2018), section 3 and Algorithm 1.
    """
    labels = functional.interpolate(labels[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")
    labels = labels[:, 0].long()
    known = labels != IGNORED
    probabilities = single(logits).softmax(1).movedim(1, 0)[:, known]
    truth = labels[known] == torch.arange(len(probabilities), device=labels.device)[:, None]
    present = truth.any(1)
    if not present.any():
        return 0 * single(logits).sum()
    truth = truth[present].to(probabilities.dtype)
    errors, order = (truth - probabilities[present]).abs().sort(dim=1, descending=True)
    return (errors * _jaccard_steps(truth.gather(1, order))).sum(1).mean()


def _jaccard_steps(truth: Tensor) -> Tensor:
    """By how much 1 - IoU grows when the next pixel is wrong as well; C x P, worst pixels first."""
    total = truth.sum(1, keepdim=True)
    jaccard = 1 - (total - truth.cumsum(1)) / (total + (1 - truth).cumsum(1))
    return torch.diff(jaccard, dim=1, prepend=torch.zeros_like(total))


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice overlap of two soft masks over the whole batch: 0 for equal certain masks, at most 1.

    Shapes: ``logits`` and ``target`` (0..1) alike. Milletari et al. (3DV 2016), with squares in the sum.
    """
    predicted, target = torch.sigmoid(single(logits)), single(target)
    common = (predicted * target).sum()
    return 1 - (2 * common + 1) / (predicted.square().sum() + target.square().sum() + 1)


def unsupervised_focal(logits: Tensor, alpha: float = 1.0, gamma: float = 2.0) -> Tensor:
    """Focal loss on the class that the network itself finds most probable: mean -alpha (1-p)^gamma log p.

    Needs no labels: it rewards images of which the frozen network is certain. 0 where every
    pixel is certain; highest for K equal probabilities. SAPNet (WACVW 2022), Eq. 4 (alpha 1,
    gamma 2); printed weight 0.1 (Eq. 7).
    """
    log_p = single(logits).log_softmax(1).amax(1)
    return (-alpha * (1 - log_p.exp()) ** gamma * log_p).mean()


def detection(levels: tuple[LevelOutput, ...], boxes: Tensor, known: Tensor) -> Tensor:
    """Loss of a batch: (quality focal loss of all cells + 2 GIoU loss of the positive ones) / positives.

    At least 0; 0 when no image's boxes are known.

    Args:
        levels: output of the head for N images.
        boxes: N x M x 5 (class, x0, y0, x1, y1 in pixels); class -1 = no box.
        known: N bool; images whose boxes are unknown do not count.
    """
    scores, predicted = decode(levels)
    logits = torch.cat([level.scores.flatten(2).transpose(1, 2) for level in levels], 1)
    centres, strides = _cells(levels)
    quality = torch.zeros_like(scores)
    matched, targets = [predicted.new_zeros(0, 4)], [boxes.new_zeros(0, 4)]
    for image in torch.nonzero(known)[:, 0].tolist():
        cell, box = assign(centres, strides, boxes[image])
        target = boxes[image, box]
        overlap, _ = generalised_iou(predicted[image, cell].detach(), target[:, 1:])
        quality[image, cell, target[:, 0].long()] = overlap
        matched.append(predicted[image, cell])
        targets.append(target[:, 1:])
    pairs = torch.cat(matched), torch.cat(targets)
    positives = max(1, len(pairs[0]))
    score_loss = quality_focal(logits, quality).sum((1, 2))[known].sum()
    return score_loss / positives + 2.0 * giou_loss(*pairs)


def assign(centres: Tensor, strides: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of (cell index, box index): each cell at most once, smallest box first.

    FCOS (ICCV 2019) with centre sampling; a box under 16 pixels needs no cell's centre inside it.

    Args:
        centres: P x 2 pixel coordinates (x, y).
        strides: P, pixels per cell.
        boxes: M x 5 (class, x0, y0, x1, y1 in pixels), class -1 = no box.
    """
    if not len(boxes):
        return strides.new_zeros(0, dtype=torch.long), strides.new_zeros(0, dtype=torch.long)
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
        height, width = level.scores.shape[-2:]
        cells = cell_centres(height, width, level.stride, level.scores.device)
        centres.append(cells)
        strides.append(cells.new_full((len(cells),), level.stride))
    return torch.cat(centres), torch.cat(strides)


def quality_focal(logits: Tensor, quality: Tensor) -> Tensor:
    """|sigmoid(logit) - quality|^2 x binary cross-entropy, per element of any equal shapes.

    ``quality`` is 0..1: the overlap that a positive cell's box reaches, 0 for the background. 0 where
    the score is the quality; with qualities of 0 and 1 only it is the focal loss (gamma 2, no alpha).
    Li et al. (NeurIPS 2020), Eq. 2; the factor before the cross-entropy carries no gradient here.
    """
    focus = (logits.detach().sigmoid() - quality).square()
    return focus * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def giou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean 1 - GIoU of M pairs of boxes, each M x 4 (x0, y0, x1, y1).

    0 at equality, towards 2 for boxes far apart, where it still has a gradient; 0 for no pairs.
    Rezatofighi et al. (CVPR 2019), Algorithm 1.
    """
    return (1 - generalised_iou(predicted, target)[1]).sum() / max(1, len(predicted))


def generalised_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(IoU 0..1, GIoU -1..1) of M pairs of boxes, each M x 4 (x0, y0, x1, y1). Rezatofighi et al."""
    a, b = pair(a, b)
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = overlap / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)
