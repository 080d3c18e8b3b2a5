"""Metrics: functions on NumPy arrays, no files, no devices. They raise :class:`MetricError`."""

from .detection import (
    AveragePrecision,
    Boxes,
    Matches,
    average_precision,
    box_iou,
    match_boxes,
)
from .image import (
    MetricError,
    fsim,
    fsimc,
    luma,
    phase_congruency,
    psnr,
    psnr_y,
    ssim,
    ssim_y,
)
from .niqe import PristineModel, block_features, fit_aggd, fit_pristine, niqe
from .segmentation import (
    accuracy_per_class,
    confusion,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from .temporal import (
    Motion,
    label_flicker,
    motion_between,
    warp_error,
    warp_image,
    warp_labels,
)
from .tracking import TrackScore

__all__ = [
    "AveragePrecision",
    "Boxes",
    "Matches",
    "MetricError",
    "Motion",
    "PristineModel",
    "TrackScore",
    "accuracy_per_class",
    "average_precision",
    "block_features",
    "box_iou",
    "confusion",
    "fit_aggd",
    "fit_pristine",
    "fsim",
    "fsimc",
    "iou_per_class",
    "label_flicker",
    "luma",
    "match_boxes",
    "mean_accuracy",
    "mean_iou",
    "motion_between",
    "niqe",
    "phase_congruency",
    "pixel_accuracy",
    "psnr",
    "psnr_y",
    "ssim",
    "ssim_y",
    "warp_error",
    "warp_image",
    "warp_labels",
]
