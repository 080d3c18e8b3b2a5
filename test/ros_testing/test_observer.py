"""Every frame is accounted for by the counters of sender, node and recorder, or a problem is reported."""

from collections import Counter

import pytest

from ros2_derain.ros_testing.observer import Status, account, unknown_stamps

STAMPS = list(range(100, 110))
ONCE = Counter(STAMPS)


def status(received, published, **dropped):
    values = {"frames_received": received, "frames_published": published}
    values |= {f"dropped.{cause.replace('__', '.')}": frames for cause, frames in dropped.items()}
    return Status(0, 0, "", {key: str(value) for key, value in values.items()})


def is_complete(found) -> bool:
    return found.frames_in == found.frames_out + sum(found.dropped.values())


def test_nothing_lost():
    found = account(10, ONCE, STAMPS, status(10, 10))
    assert (found.frames_in, found.frames_out, found.dropped, found.problems) == (10, 10, {}, ())


def test_each_cause_is_named_and_every_frame_accounted_for():
    found = account(20, ONCE, STAMPS, status(17, 12, replaced=4, refused__step=1))
    assert found.dropped == {"transport": 3, "replaced": 4, "refused.step": 1, "recorder": 2}
    assert is_complete(found)
    assert found.problems == ()


def test_a_frame_that_the_node_lost_silently_is_a_problem():
    found = account(10, ONCE, STAMPS[:8], status(10, 8, replaced=1))
    assert not is_complete(found)
    assert found.problems == (
        "frames unaccounted for: 1; 10 sent, 10 received, 8 published, 8 recorded, "
        "dropped by the node: replaced 1",
    )


def test_a_frame_counted_twice_is_a_problem():
    found = account(10, ONCE, STAMPS, status(10, 10, replaced=1))
    assert len(found.problems) == 1 and "frames accounted for twice: 1" in found.problems[0]


@pytest.mark.parametrize(
    ("received", "published", "expected"), [(11, 10, "transport is -1"), (10, 9, "recorder is -1")]
)
def test_more_frames_than_there_can_be_is_a_problem(received, published, expected):
    found = account(10, ONCE, STAMPS, status(received, published, replaced=received - published))
    assert any(expected in problem for problem in found.problems)


def test_an_output_published_twice_is_a_problem():
    found = account(10, ONCE, [*STAMPS, STAMPS[0]], status(10, 11))
    assert any("published more than once: 1, such as 100 ns" in problem for problem in found.problems)


def test_repeated_stamps_are_paired_by_order():
    sent = Counter({0: 6, 100: 1})
    found = account(7, sent, [0, 0, 0, 100, 0], status(6, 5, replaced=1))
    assert (found.frames_out, found.dropped, found.problems) == (5, {"transport": 1, "replaced": 1}, ())
    found = account(7, sent, [*7 * [0], 100], status(7, 8))
    assert "published more than once: 1, such as 0 ns" in found.problems[0]


def test_stamps_that_were_never_sent_are_named():
    assert unknown_stamps("detections", STAMPS, STAMPS) == []
    assert unknown_stamps("detections", [*STAMPS, 7], STAMPS) == [
        "stamps on detections that were never sent: 1, such as 7 ns"
    ]
