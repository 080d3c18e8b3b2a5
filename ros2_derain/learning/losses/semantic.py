"""Losses of label maps: logits N x K x h x w, labels N x H x W of class ids 0..K-1, 255 = ignored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .image import single

IGNORED = 255


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


def unsupervised_focal(logits: Tensor, alpha: float = 1.0, gamma: float = 2.0) -> Tensor:
    """Focal loss on the class that the network itself finds most probable: mean -alpha (1-p)^gamma log p.

    Needs no labels: it rewards images of which the frozen network is certain. 0 where every
    pixel is certain; highest for K equal probabilities. SAPNet (WACVW 2022), Eq. 4 (alpha 1,
    gamma 2); printed weight 0.1 (Eq. 7).
    """
    log_p = single(logits).log_softmax(1).amax(1)
    return (-alpha * (1 - log_p.exp()) ** gamma * log_p).mean()
