"""Agreement of label maps, from one confusion matrix."""

from __future__ import annotations

import numpy as np

IGNORED = 255


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """classes x (classes + 1) int64 counts, rows = truth, columns = prediction (last: unlabelled).

    Pixels whose truth is 255 do not count; a prediction of 255 counts as wrong for its
    true class.

    Args:
        predicted, truth: uint8 label maps of equal shape.

    Raises:
        ValueError: shapes differ, or a true label is outside 0..classes-1.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"prediction is {predicted.shape}, truth {truth.shape}")
    known = truth != IGNORED
    truth, predicted = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    if truth.size and truth.max() >= classes:
        raise ValueError(f"true label {truth.max()} is outside 0..{classes - 1}")
    predicted = np.minimum(predicted, classes)
    counts = np.bincount(truth * (classes + 1) + predicted, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union per class, 0..1; NaN for a class neither true nor predicted.

    Args:
        matrix: classes x (classes + 1), from :func:`confusion` (the last column: unlabelled).
    """
    classes = len(matrix)
    hits = matrix[:, :classes].diagonal().astype(float)
    union = matrix.sum(1) + matrix[:, :classes].sum(0) - hits
    return np.divide(hits, union, out=np.full(classes, np.nan), where=union > 0)


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of :func:`iou_per_class` over the classes that occur, 0..1 (mIoU)."""
    return float(np.nanmean(iou_per_class(matrix)))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of labelled pixels that are right, 0..1 (PA)."""
    return float(matrix[:, : len(matrix)].diagonal().sum() / max(1, matrix.sum()))
