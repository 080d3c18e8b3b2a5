"""Tracks: ids that last through motion, misses and low scores, and end with a reset."""

import numpy as np
import pytest

from ros2_derain.planner import Tracker


def moving(start, velocity, frame, size=60.0):
    x, y = start[0] + velocity[0] * frame, start[1] + velocity[1] * frame
    return [x, y, x + size, y + size]


def run(tracker, frames, seconds=0.1, high_score=0.0):
    """Ids of frames, each a list of (box, score, class)."""
    found = []
    for detections in frames:
        boxes = [box for box, _, _ in detections]
        scores = [score for _, score, _ in detections]
        names = [name for *_, name in detections]
        found.append(tracker.update(np.array(boxes), np.array(scores), names, seconds, high_score))
    return found


def test_two_objects_that_pass_each_other_keep_their_ids():
    frames = [
        [(moving((100, 100), (25, 0), i), 0.9, "car"), (moving((700, 130), (-25, 0), i), 0.9, "car")]
        for i in range(25)
    ]
    assert run(Tracker(), frames) == [["1", "2"]] * 25


def test_an_object_that_is_missed_three_times_keeps_its_id():
    frames = [[(moving((100, 100), (20, 4), i), 0.8, "car")] for i in range(20)]
    for missed in (5, 6, 7, 12, 13, 14):
        frames[missed] = []
    ids = run(Tracker(), frames)
    assert {name for found in ids for name in found} == {"1"}


@pytest.mark.parametrize(
    ("missed", "seconds", "id_"),
    [(5, 1.0, "1"), (6, 1.0, "2"), (24, 0.04, "1"), (27, 0.04, "2")],
    ids=["five frames", "more than five and a second", "a second", "more than a second and five"],
)
def test_an_object_that_is_away_for_long_gets_a_new_id(missed, seconds, id_):
    frames = [[(moving((100, 100), (0, 0), 0), 0.8, "car")], *[[]] * missed]
    frames.append(frames[0])
    ids = run(Tracker(), frames, seconds)
    assert (ids[0], ids[-1]) == (["1"], [id_])


def test_low_scores_continue_tracks_and_neither_steal_nor_begin_one():
    near, shifted = moving((100, 100), (0, 0), 0), moving((115, 100), (0, 0), 0)
    high, low, other = (near, 0.9, "car"), (near, 0.35, "car"), (shifted, 0.9, "car")
    assert run(Tracker(), [[high], [low, other]], high_score=0.5) == [["1"], ["", "1"]]
    assert run(Tracker(), [[low], [high], [low], [low]], high_score=0.5) == [[""], ["1"], ["1"], ["1"]]
    assert run(Tracker(), [[low], [low]]) == [["1"], ["1"]]


def test_classes_are_not_mixed():
    box = moving((100, 100), (0, 0), 0)
    assert run(Tracker(), [[(box, 0.9, "car")], [(box, 0.9, "pedestrian")]]) == [["1"], ["2"]]


def test_a_reset_begins_anew_and_forgetting_goes_on():
    box = [(moving((100, 100), (0, 0), 0), 0.9, "car")]
    tracker = Tracker()
    assert run(tracker, [box]) == [["1"]]
    tracker.forget()
    assert run(tracker, [box]) == [["2"]]
    tracker.reset()
    assert run(tracker, [box]) == [["1"]]


def test_no_detections_and_no_time_are_no_error():
    box = [(moving((100, 100), (0, 0), 0), 0.9, "car")]
    assert run(Tracker(), [[], box, box, []], seconds=0.0) == [[], ["1"], ["1"], []]
