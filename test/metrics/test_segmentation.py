"""Confusion matrix, IoU and accuracy on maps small enough to count by hand."""

import numpy as np
import pytest

from ros2_derain.metrics.segmentation import confusion, iou_per_class, mean_iou, pixel_accuracy

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 255, 1]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 255, 0, 0]], np.uint8)


def test_by_hand():
    matrix = confusion(PREDICTED, TRUTH, 4)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    assert iou_per_class(matrix)[:3].tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(iou_per_class(matrix)[3])
    assert mean_iou(matrix) == pytest.approx(1 / 3)
    assert pixel_accuracy(matrix) == pytest.approx(4 / 7)


def test_matrices_of_frames_add_up():
    both = confusion(np.vstack((PREDICTED, TRUTH)), np.vstack((TRUTH, TRUTH)), 4)
    assert (both == confusion(PREDICTED, TRUTH, 4) + confusion(TRUTH, TRUTH, 4)).all()


def test_a_label_outside_the_classes_is_named():
    with pytest.raises(ValueError, match="label 2 is outside 0..1"):
        confusion(TRUTH, TRUTH, 2)
