"""Losses: differentiable functions of tensors that return a scalar tensor.

``image`` compares a restored image with the clean one, ``perception`` trains label maps
and the detection head; ``features`` compares in a frozen feature space and aligns the
features of derained and clean images. The recipes combine them as each of the five papers
does, with its printed weights.

Images are N x 3 x H x W, RGB in 0..1. Half-precision inputs are computed in float32,
also under autocast; float64 stays float64.
"""

from .features import (
    SceneFeatures,
    alignment,
    contrast_ratio,
    contrastive,
    discrimination,
    perceptual_distance,
)
from .image import (
    charbonnier,
    colour,
    edge,
    expected_error,
    low_frequency,
    psnr_shortfall,
    regional,
    restoration,
    ssim,
)
from .perception import (
    class_weights,
    detection,
    dice,
    giou_loss,
    lovasz,
    quality_focal,
    segmentation,
    unsupervised_focal,
)

__all__ = [
    "SceneFeatures",
    "alignment",
    "charbonnier",
    "class_weights",
    "colour",
    "contrast_ratio",
    "contrastive",
    "detection",
    "dice",
    "discrimination",
    "edge",
    "expected_error",
    "giou_loss",
    "lovasz",
    "low_frequency",
    "perceptual_distance",
    "psnr_shortfall",
    "quality_focal",
    "regional",
    "restoration",
    "segmentation",
    "ssim",
    "unsupervised_focal",
]
