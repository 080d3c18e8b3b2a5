"""Counts of tracks, by hand."""

import numpy as np

from ros2_derain.metrics import Boxes, TrackScore


def boxes(*left, classes=None):
    corners = np.array([[x, 0, x + 10, 10] for x in left], float).reshape(-1, 4)
    return Boxes(corners, np.zeros(len(left), int) if classes is None else np.array(classes))


def score(*frames):
    found = TrackScore()
    for true, true_ids, got, ids in frames:
        found.add(true, true_ids, got, ids)
    return found


def test_constant_ids_have_no_switches():
    frame = (boxes(0, 50), ["a", "b"], boxes(1, 51), ["1", "2"])
    found = score(frame, frame, frame)
    assert (found.switches, found.fragmentations, found.matches, found.false) == (0, 0, 6, 0)
    assert found.accuracy == 1


def test_a_changed_id_is_a_switch_also_after_a_gap():
    first = (boxes(0), ["a"], boxes(0), ["1"])
    gone = (boxes(0), ["a"], boxes(), [])
    second = (boxes(0), ["a"], boxes(0), ["2"])
    assert score(first, second).switches == 1
    found = score(first, gone, second, first)
    assert (found.switches, found.fragmentations) == (2, 1)
    assert found.accuracy == 1 - (1 + 0 + 2) / 4


def test_swapped_ids_are_two_switches():
    found = score(
        (boxes(0, 50), ["a", "b"], boxes(0, 50), ["1", "2"]),
        (boxes(0, 50), ["a", "b"], boxes(0, 50), ["2", "1"]),
    )
    assert found.switches == 2


def test_an_object_keeps_its_id_while_that_still_matches():
    found = score((boxes(0), ["a"], boxes(0), ["1"]), (boxes(0), ["a"], boxes(0, 2), ["9", "1"]))
    assert (found.switches, found.false) == (0, 1)


def test_classes_and_small_overlaps_do_not_match():
    found = score((boxes(0, 50), ["a", "b"], boxes(0, 58, classes=[1, 0]), ["1", "2"]))
    assert (found.matches, found.false) == (0, 2)
    assert TrackScore().accuracy is None
