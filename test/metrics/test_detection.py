"""Average precision and matches, on boxes few enough to match by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros2_derain.metrics import Boxes, MetricError, average_precision, box_iou, match_boxes

NONE = np.zeros((0, 4))
CAR, BUS = [0, 0, 10, 10], [20, 0, 40, 10]


def random_images(seed: int, scored: bool) -> list[Boxes]:
    random = np.random.default_rng(seed)
    images = []
    for count in random.integers(0, 6, 3):
        low = random.uniform(0, 50, (count, 2))
        corners = np.hstack((low, low + random.uniform(1, 40, (count, 2))))
        scores = random.uniform(0, 1, count) if scored else None
        images.append(Boxes(corners, random.integers(0, 2, count), scores))
    return images


def test_iou_by_hand():
    shifted = [[5, 0, 15, 10], [20, 20, 21, 21], CAR]
    assert box_iou(np.array([CAR], float), np.array(shifted, float))[0] == pytest.approx([50 / 150, 0, 1])


def test_the_truth_found_is_perfect():
    truth = [Boxes([CAR, BUS], [0, 1]), Boxes(NONE, [])]
    found = [Boxes([CAR, BUS], [0, 1], [0.9, 0.8]), Boxes(NONE, [], [])]
    result = average_precision(found, truth, 2)
    assert (result.ap50, result.ap) == (1, 1)


def test_a_false_alarm_before_the_second_hit_by_hand():
    """Hit, false alarm, hit: precision 1 up to half the recall, 2/3 beyond; 51 and 50 of 101 levels."""
    truth = [Boxes([CAR], [0]), Boxes([CAR], [0])]
    found = [Boxes([CAR, BUS], [0, 0], [0.9, 0.8]), Boxes([CAR], [0], [0.7])]
    assert average_precision(found, truth, 1).ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_box_of_iou_0_72_counts_at_five_of_ten_thresholds():
    found = [Boxes([[0, 0, 10, 7.2]], [0], [0.5])]
    result = average_precision(found, [Boxes([CAR], [0])], 1)
    assert result.ap50 == pytest.approx(1)
    assert result.ap == pytest.approx(0.5)


def test_a_class_absent_from_the_truth_is_no_number_and_not_in_the_mean():
    found = [Boxes([CAR, BUS], [0, 2], [0.9, 0.8])]
    result = average_precision(found, [Boxes([CAR, BUS], [0, 1])], 3)
    assert result.ap50_per_class[:2].tolist() == [1, 0]
    assert np.isnan(result.ap50_per_class[2]) and np.isnan(result.ap_per_class[2])
    assert result.ap50 == 0.5


def test_boxes_in_an_image_without_truth_are_false_alarms():
    truth = [Boxes(NONE, []), Boxes([CAR], [0])]
    found = [Boxes([CAR], [0], [0.9]), Boxes([CAR], [0], [0.8])]
    assert average_precision(found, truth, 1).ap50 == pytest.approx(0.5)


@pytest.mark.filterwarnings("error")
def test_nothing_found_is_zero_and_no_truth_no_number():
    truth, nothing = [Boxes([CAR], [0])], [Boxes(NONE, [], [])]
    assert average_precision(nothing, truth, 2).ap50 == 0
    assert np.isnan(average_precision(nothing, [Boxes(NONE, [])], 2).ap)
    assert np.isnan(average_precision([], [], 2).ap50)


def test_matches_by_hand():
    truth = [Boxes([CAR, BUS], [0, 0]), Boxes([CAR], [0]), Boxes([CAR], [1])]
    found = [
        # A hit, a second box on the same truth, and one too far off the bus.
        Boxes([[0, 0, 10, 8], CAR, [20, 0, 30, 10]], [0, 0, 0], [0.9, 0.6, 0.8]),
        Boxes([CAR], [0], [0.4]),  # below the score threshold
        Boxes([CAR], [0], [0.9]),  # another class
    ]
    result = match_boxes(found, truth, 2)
    assert (result.hits, result.false_alarms, result.misses) == (1, 3, 3)
    assert result.precision == 0.25
    assert result.recall == 0.25
    assert result.mean_iou == pytest.approx(0.8)
    assert result.best_iou == pytest.approx((1 + 0.5 + 0 + 0) / 4)


def test_a_box_whose_best_truth_is_taken_takes_the_next():
    truth = [Boxes([CAR, [0, 0, 10, 9]], [0, 0])]
    found = [Boxes([CAR, CAR], [0, 0], [0.9, 0.8])]
    result = match_boxes(found, truth, 1)
    assert (result.hits, result.mean_iou) == (2, pytest.approx(0.95))


def test_an_iou_on_the_threshold_matches():
    found = [Boxes([[0, 0, 10, 6]], [0], [0.5])]
    assert match_boxes(found, [Boxes([CAR], [0])], 1).recall == 1


@pytest.mark.filterwarnings("error")
def test_empty_images_have_no_precision_and_no_recall():
    result = match_boxes([Boxes(NONE, [], [])], [Boxes(NONE, [])], 1)
    assert np.isnan([result.precision, result.recall, result.mean_iou, result.best_iou]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_bounds(seed):
    found, truth = random_images(seed, scored=True), random_images(seed + 1, scored=False)
    precise = average_precision(found, truth, 2)
    assert np.isnan(precise.ap) or 0 <= precise.ap <= precise.ap50 <= 1
    matches = match_boxes(found, truth, 2, iou=0.5, score=0.3)
    assert matches.hits + matches.misses == sum(map(len, truth))
    assert matches.hits + matches.false_alarms == sum((b.scores >= 0.3).sum() for b in found)
    assert np.isnan(matches.mean_iou) or 0.5 <= matches.mean_iou <= 1
    stricter = match_boxes(found, truth, 2, iou=0.7, score=0.3)
    assert stricter.hits <= matches.hits


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([CAR], [0, 1]), r"differ: \[1, 2\]"),
        (([[5, 5, 5, 9]], [0]), r"\[5.0, 5.0, 5.0, 9.0\] is not x0 < x1"),
        (([[0, 0, np.nan, 9]], [0]), "is not x0 < x1"),
    ],
)
def test_boxes_that_are_none_are_refused(arguments, message):
    with pytest.raises(MetricError, match=message):
        Boxes(*arguments)


@pytest.mark.parametrize("metric", [average_precision, match_boxes])
def test_lists_that_do_not_fit_are_refused(metric):
    truth, found = [Boxes([CAR], [3])], [Boxes([CAR], [0], [0.9])]
    with pytest.raises(MetricError, match="true box of class 3, outside 0..1"):
        metric(found, truth, 2)
    with pytest.raises(MetricError, match="of 1 images, true ones of 2"):
        metric(found, truth * 2, 4)
    with pytest.raises(MetricError, match="no scores"):
        metric(truth, truth, 4)
