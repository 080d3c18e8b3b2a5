"""Agreement of label maps, from one confusion matrix.

The sums run over all pixels of all frames before anything is divided (as Cityscapes and
VOC do): add the matrices of the frames, then take :func:`mean_iou`, :func:`mean_accuracy`
and :func:`pixel_accuracy`. Long, Shelhamer and Darrell, "Fully convolutional networks
for semantic segmentation", CVPR 2015, section 5, defines all three.
"""

from __future__ import annotations

import numpy as np

from .image import MetricError

IGNORED = 255


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """classes x (classes + 1) int64 counts, rows = truth, columns = prediction (last: unlabelled).

    Pixels whose truth is 255 do not count; a prediction of 255 counts as wrong for its
    true class.

    Args:
        predicted, truth: uint8 label maps of equal shape.

    Raises:
        MetricError: shapes differ, types are not uint8, or a label is outside 0..classes-1
            and is not 255.
    """
    if predicted.shape != truth.shape:
        raise MetricError(f"prediction is {predicted.shape}, truth {truth.shape}: they must be equal")
    if predicted.dtype != np.uint8 or truth.dtype != np.uint8:
        raise MetricError(f"prediction is {predicted.dtype}, truth {truth.dtype}: both must be uint8")
    counts = np.bincount(truth.ravel().astype(np.intp) * 256 + predicted.ravel(), minlength=256 * 256)
    counts = counts.reshape(256, 256)
    _check_labels("true", counts[:IGNORED].sum(1), classes)
    _check_labels("predicted", counts.sum(0)[:IGNORED], classes)
    return np.column_stack((counts[:classes, :classes], counts[:classes, IGNORED])).astype(np.int64)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union per class, 0..1; NaN for a class neither true nor predicted.

    Args:
        matrix: classes x (classes + 1), from :func:`confusion` (the last column: unlabelled).
    """
    hits = _hits(matrix)
    return _ratio(hits, matrix.sum(1) + matrix[:, : len(matrix)].sum(0) - hits)


def accuracy_per_class(matrix: np.ndarray) -> np.ndarray:
    """Share of a class's true pixels that are right, 0..1; NaN for a class that is never true."""
    return _ratio(_hits(matrix), matrix.sum(1))


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of :func:`iou_per_class` over the classes that occur, 0..1 (mIoU); NaN if none does."""
    return _mean(iou_per_class(matrix))


def mean_accuracy(matrix: np.ndarray) -> float:
    """Mean of :func:`accuracy_per_class` over the true classes, 0..1 (mPA); NaN if there is none."""
    return _mean(accuracy_per_class(matrix))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of labelled pixels that are right, 0..1 (PA); NaN if none is labelled."""
    labelled = matrix.sum()
    return float(_hits(matrix).sum() / labelled) if labelled else float("nan")


def _hits(matrix: np.ndarray) -> np.ndarray:
    return matrix[:, : len(matrix)].diagonal().astype(float)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratios = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _check_labels(kind: str, counts: np.ndarray, classes: int) -> None:
    outside = np.flatnonzero(counts[classes:])
    if outside.size:
        raise MetricError(
            f"{kind} label {classes + outside[0]} is outside 0..{classes - 1} and not {IGNORED} (unlabelled)"
        )
