"""The books of camera, node and recorder: they balance, or somebody is told."""

import pytest

from ros2_derain.ros_testing.accounting import account, strangers

STAMPS = list(range(100, 110))


def balanced(books) -> bool:
    return books.frames_in == books.frames_out + sum(books.dropped.values())


def test_nothing_lost():
    books = account(10, STAMPS, received=10, published=10, dropped={})
    assert (books.frames_in, books.frames_out, books.dropped, books.problems) == (10, 10, {}, ())


def test_each_cause_is_named_and_the_books_balance():
    books = account(20, STAMPS, received=17, published=12, dropped={"replaced": 4, "refused.step": 1})
    assert books.dropped == {"transport": 3, "replaced": 4, "refused.step": 1, "recorder": 2}
    assert balanced(books)
    assert books.problems == ()


def test_a_frame_that_the_node_lost_silently_is_a_problem():
    books = account(10, STAMPS[:8], received=10, published=8, dropped={"replaced": 1})
    assert not balanced(books)
    assert books.problems == (
        "frames unaccounted for: 1; 10 sent, 10 received, 8 published, 8 recorded, "
        "the node says that it dropped {'replaced': 1}",
    )


def test_a_frame_counted_twice_is_a_problem():
    books = account(10, STAMPS, received=10, published=10, dropped={"replaced": 1})
    assert len(books.problems) == 1 and "frames accounted for twice: 1" in books.problems[0]


@pytest.mark.parametrize(
    ("received", "published", "said"), [(11, 10, "transport is -1"), (10, 9, "recorder is -1")]
)
def test_more_frames_than_there_can_be_is_a_problem(received, published, said):
    books = account(10, STAMPS, received, published, {"replaced": received - published})
    assert any(said in problem for problem in books.problems)


def test_an_output_published_twice_is_a_problem():
    books = account(10, [*STAMPS, STAMPS[0]], received=10, published=11, dropped={})
    assert any("published more than once: 1, such as 100 ns" in problem for problem in books.problems)


def test_stamps_that_the_camera_never_sent_are_named():
    assert strangers("detections", STAMPS, STAMPS) == []
    assert strangers("detections", [*STAMPS, 7], STAMPS) == [
        "stamps on detections that the camera never sent: 1, such as 7 ns"
    ]
