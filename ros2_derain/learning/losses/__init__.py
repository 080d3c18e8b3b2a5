"""Losses: differentiable functions of tensors that return a scalar tensor.

``image`` compares a restored image with the clean one, ``semantic`` trains label maps,
``boxes`` the detection head; ``contrastive`` compares in the frozen feature space of
``features``, ``adversarial`` aligns the features of derained and clean images.
The recipes put them together as each of the five papers does, with its printed weights.

Images are N x 3 x H x W, RGB in 0..1. Half-precision inputs are computed in float32,
also under autocast; float64 stays float64.
"""

from .adversarial import alignment, discrimination
from .boxes import detection, giou_loss, iou_loss, quality_focal
from .contrastive import contrast_ratio, contrastive, perceptual_distance
from .features import SceneFeatures
from .image import charbonnier, colour, edge, expected_error, low_frequency, restoration, ssim
from .semantic import (
    class_weights,
    feature_consistency,
    lovasz,
    ohem,
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
    "discrimination",
    "edge",
    "expected_error",
    "feature_consistency",
    "giou_loss",
    "iou_loss",
    "lovasz",
    "low_frequency",
    "ohem",
    "perceptual_distance",
    "quality_focal",
    "restoration",
    "segmentation",
    "ssim",
    "unsupervised_focal",
]
