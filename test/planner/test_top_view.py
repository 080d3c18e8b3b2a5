"""The image from above: places in metres are drawn where its scales say."""

import numpy as np
import pytest

from ros2_derain.planner import PRIORS
from ros2_derain.planner.boxes3d import LOW_TRUST, Lifted
from ros2_derain.planner.top_view import BOX, LEFT_PX, UNSURE, VEHICLE, Area, Labelled, draw_top_view

AREA = Area()
ROAD = (140, 86, 75)


def box(ahead, left, marks=()):
    covariance = np.diag([0.01, 0.01, 0.01])
    place = np.array([ahead, left, 0.0])
    lifted = Lifted(0, place, place, PRIORS["car"], covariance, ahead, False, marks)
    return Labelled(lifted, "car #1")


def drawn(boxes=(), ground=None):
    ground = np.zeros((*AREA.shape, 3), np.uint8) if ground is None else ground
    whole = draw_top_view(AREA, ground, boxes, (0.0, 0.0), {"road": ROAD})
    return whole[: AREA.shape[0], LEFT_PX : LEFT_PX + AREA.shape[1]]


def extent(view, colour):
    """Nearest and farthest place ahead and to the left of the pixels of a colour."""
    shown = AREA.places()[(view == colour).all(2)]
    return shown.min(0), shown.max(0)


def test_places_and_pixels_agree():
    places = AREA.places()[::7, ::5].reshape(-1, 2)
    rows, columns = np.mgrid[: AREA.shape[0] : 7, : AREA.shape[1] : 5]
    np.testing.assert_array_equal(AREA.pixels(places), np.column_stack((columns.ravel(), rows.ravel())))
    assert (places[0] > places[-1]).all()  # forward is up, left is left


@pytest.mark.parametrize(("marks", "colour"), [((), BOX), ((LOW_TRUST,), UNSURE)])
def test_a_box_is_drawn_where_it_stands_and_doubt_is_shown(marks, colour):
    view = drawn([box(30.0, 6.0, marks)])
    view[:, 170:] = 0  # its text
    low, high = extent(view, colour)
    np.testing.assert_allclose(low, (30 - 4.5 / 2, 6 - 1.8 / 2), atol=0.2)
    np.testing.assert_allclose(high, (30 + 4.5 / 2, 6 + 1.8 / 2), atol=0.2)


def test_this_vehicle_is_around_its_camera():
    low, high = extent(drawn(), VEHICLE)
    assert low[0] < 0 < high[0] and low[1] == pytest.approx(-high[1], abs=0.2)


def test_ground_has_its_colour_and_the_rest_none():
    ground = np.zeros((*AREA.shape, 3), np.uint8)
    places = AREA.places()
    ground[(np.abs(places - (20, 5)) < 2).all(2)] = ROAD
    low, high = extent(drawn(ground=ground), ROAD)
    np.testing.assert_allclose((*low, *high), (18, 3, 22, 7), atol=0.2)


def test_boxes_outside_and_side_by_side_are_no_error():
    drawn([box(900.0, -40.0), box(-3.0, 19.9), *[box(20.0, 0.1 * i) for i in range(30)]])
