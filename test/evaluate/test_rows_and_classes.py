"""Parts of ``evaluate`` that need no model: ranks, tables, class names, boxes, recovery."""

import numpy as np
import pytest

from ros2_derain.data.images import side_by_side, split_side_by_side
from ros2_derain.evaluate.conditions import CAMERA_IMAGE, Condition, ConditionGrid, ParserInput
from ros2_derain.reporting import statistics, tables

CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)


def test_spearman():
    assert statistics.spearman([1, 2, 3, 4], [10, 20, 30, 5000]) == pytest.approx(1)
    assert statistics.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ranks 1 2.5 2.5 4 and 1 3 2 4: covariance 4.5, variances 4.5 and 5.
    assert statistics.spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert statistics.spearman([1, 1, 1], [1, 2, 3]) is None


def test_a_table_is_aligned_and_marks_what_is_missing():
    rows = [
        {"rate_mm_h": 0.0, "input": "dry", "psnr_db": None, "miou": 0.5},
        {"rate_mm_h": 150.0, "input": "closed_loop x3", "psnr_db": 21.234},
    ]
    assert tables.table(rows).splitlines() == [
        "mm/h  parser input    PSNR dB  mIoU %",
        "   0  dry             inf       50.00",
        " 150  closed_loop x3  21.23         –",
    ]


def test_strips_come_apart_as_they_were_put_together():
    parts = [np.full((4, 5, 3), value, np.uint8) for value in (1, 2, 3)]
    strip = side_by_side(parts)
    assert strip.shape == (4, 23, 3)
    for part, again in zip(parts, split_side_by_side(strip, 3), strict=True):
        assert np.array_equal(part, again)


def figures(ap50: float, gauge: bool) -> dict:
    """The figures of a condition with boxes."""
    boxes = {"car": {"ap50": ap50, "ap": ap50 / 2}}
    read = {"read_mm_h": [90.0, 110.0], "gate_open": [True, True], "untouched": [False, False]}
    return {
        "image": {"psnr_db": 20.0},
        "parsers": {"own": {"miou": 0.4, "ap50": ap50, "boxes": boxes}},
        "gauge": read if gauge else None,
    }


def test_recovery_is_the_fraction_of_the_loss_that_the_loop_restores():
    loop = ParserInput("temporal")
    grid = ConditionGrid((100.0,), (1, 2), (loop,))
    assert list(grid) == [
        Condition(0.0, 1, CAMERA_IMAGE),
        *(Condition(100.0, seed, each) for seed in (1, 2) for each in (CAMERA_IMAGE, loop)),
    ]
    measured = {
        Condition(0.0, 1, CAMERA_IMAGE): figures(0.8, False),
        Condition(100.0, 1, CAMERA_IMAGE): figures(0.1, False),
        Condition(100.0, 2, CAMERA_IMAGE): figures(0.3, False),
        Condition(100.0, 1, loop): figures(0.6, True),
        Condition(100.0, 2, loop): figures(0.7, True),
    }
    dry, rain, temporal = grid.rows(measured)
    assert (dry["input"], rain["input"], temporal["input"]) == ("dry", "rain", "temporal")
    assert temporal["recovery"] == pytest.approx((0.65 - 0.2) / (0.8 - 0.2))
    assert temporal["boxes"]["car"]["recovery"] == pytest.approx(0.75)
    assert "recovery" not in rain["boxes"]["car"] and temporal["read_mm_h"] == 100
    (rate,) = grid.gauge(measured)["rates"]
    assert rate == {
        **{"rate_mm_h": 100.0, "read_mm_h": 100.0, "gate_open": 1.0, "untouched": 0.0},
        **{"diagnosed_warn": 1.0, "diagnosed_error": 0.5},
    }
