"""Losses: functions of tensors that return a scalar tensor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-3


def charbonnier(estimate: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Mean of sqrt((a - b)^2 + eps^2), any equal shapes; >= eps. MSPFN (CVPR 2020), Eq. 1."""
    return torch.sqrt((estimate - target).square() + epsilon**2).mean()


def edge(estimate: Tensor, target: Tensor) -> Tensor:
    """Charbonnier between the Laplacians (centre 8, others -1) of N x 3 x H x W images. MSPFN, Eq. 2."""
    return charbonnier(_laplacian(estimate - target), torch.zeros((), device=estimate.device))


def _laplacian(image: Tensor) -> Tensor:
    """9 x (value - mean of its 3x3 neighbourhood) = 8 x centre - neighbours."""
    return 9 * (image - functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1))


def colour(estimate: Tensor, target: Tensor) -> Tensor:
    """1 - mean cosine between the pixels' RGB vectors, N x 3 x H x W; 0..2. Xu et al. (TIP 2021), L_col."""
    norms = (estimate.square().sum(1) * target.square().sum(1)).clamp(min=1e-6).sqrt()
    return 1 - ((estimate * target).sum(1) / norms).mean()


def restoration(estimate: Tensor, target: Tensor) -> Tensor:
    """Charbonnier + 0.05 edge + 0.1 colour."""
    return charbonnier(estimate, target) + 0.05 * edge(estimate, target) + 0.1 * colour(estimate, target)


def expected_error(predicted: Tensor, estimate: Tensor, target: Tensor) -> Tensor:
    """How far the predicted absolute error (N x 1 x H x W) is from the real one; trains no image."""
    error = (estimate.detach().clamp(0, 1) - target).abs().mean(1, keepdim=True)
    return functional.smooth_l1_loss(predicted, error, beta=0.02)


def segmentation(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Class-weighted cross-entropy; logits N x K x h x w are upsampled to labels N x H x W (255 = ignored).

    Zero (with a gradient) when no pixel is labelled.
    """
    logits = functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    losses = functional.cross_entropy(
        logits, labels.long(), weight=weights, ignore_index=255, reduction="sum"
    )
    known = labels != 255
    return losses / weights[labels[known].long()].sum().clamp(min=1.0)
