"""Confusion matrix, IoU and accuracies on maps small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros2_derain.metrics import (
    MetricError,
    accuracy_per_class,
    confusion,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 255, 1]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 255, 0, 0]], np.uint8)


def test_by_hand():
    matrix = confusion(PREDICTED, TRUTH, 4)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    assert iou_per_class(matrix)[:3].tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(iou_per_class(matrix)[3])
    assert mean_iou(matrix) == pytest.approx(1 / 3)
    assert accuracy_per_class(matrix)[:3].tolist() == [2 / 3, 2 / 3, 0.0]
    assert mean_accuracy(matrix) == pytest.approx(4 / 9)
    assert pixel_accuracy(matrix) == pytest.approx(4 / 7)


def test_a_class_predicted_but_never_true_lowers_the_iou_only():
    matrix = confusion(np.array([0, 0, 1], np.uint8), np.array([0, 0, 0], np.uint8), 3)
    assert mean_iou(matrix) == pytest.approx((2 / 3 + 0) / 2)
    assert mean_accuracy(matrix) == pytest.approx(2 / 3)


def test_matrices_of_frames_add_up():
    both = confusion(np.vstack((PREDICTED, TRUTH)), np.vstack((TRUTH, TRUTH)), 4)
    assert (both == confusion(PREDICTED, TRUTH, 4) + confusion(TRUTH, TRUTH, 4)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 19))
def test_the_truth_itself_is_perfect_and_nothing_is_out_of_bounds(seed, classes):
    predicted, truth = np.random.default_rng(seed).integers(0, classes, (2, 9, 7), dtype=np.uint8)
    perfect, real = confusion(truth, truth, classes), confusion(predicted, truth, classes)
    assert real.sum() == truth.size
    for measure in (mean_iou, mean_accuracy, pixel_accuracy):
        assert measure(perfect) == 1
        assert 0 <= measure(real) <= 1
    assert mean_iou(real) <= mean_accuracy(real)


@pytest.mark.filterwarnings("error")
def test_nothing_labelled_is_no_number():
    matrix = confusion(PREDICTED, np.full_like(TRUTH, 255), 4)
    assert all(np.isnan(measure(matrix)) for measure in (mean_iou, mean_accuracy, pixel_accuracy))


def test_a_label_outside_the_classes_is_named():
    with pytest.raises(MetricError, match=r"true label 2 is outside 0\.\.1"):
        confusion(TRUTH, TRUTH, 2)
    with pytest.raises(MetricError, match=r"predicted label 9 is outside 0\.\.3"):
        confusion(np.full_like(TRUTH, 9), TRUTH, 4)


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(MetricError, match=r"prediction is \(1, 4\), truth \(2, 4\)"):
        confusion(PREDICTED[:1], TRUTH, 4)
    with pytest.raises(MetricError, match="prediction is int64"):
        confusion(PREDICTED.astype(np.int64), TRUTH, 4)
