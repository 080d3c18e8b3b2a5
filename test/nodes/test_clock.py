"""The nodes' clock: ages under simulated time, and a clock that jumps back."""

import pytest
import rig
from rosgraph_msgs.msg import Clock

from ros2_derain import messages


@pytest.fixture
def simulated(make_rig):
    """A rig under simulated time and the publisher of its /clock."""
    made = make_rig(use_sim_time=True)
    clock = made.client.node.create_publisher(Clock, "/clock", 10)

    def set_time(seconds):
        clock.publish(Clock(clock=messages.to_header(int(seconds * 1e9), "").stamp))
        now = lambda: made.derain.get_clock().now().nanoseconds == int(seconds * 1e9)  # noqa: E731
        assert made.client.until(now)

    assert made.client.until(lambda: clock.get_subscription_count() >= 2)
    set_time(100.0)
    made.activate()
    return made, set_time


def frame_at(made, seconds):
    return made.pass_through(header=messages.to_header(int(seconds * 1e9), "camera"))


def test_ages_are_by_the_simulated_clock(simulated):
    made, _ = simulated
    frame_at(made, 99.5)
    age = made.counters().age
    assert age.max == pytest.approx(500.0)


def test_a_clock_that_jumps_back_resets_the_state_and_frames_go_on(simulated):
    made, set_time = simulated
    frame_at(made, 99.9)
    set_time(110.0)
    memory = made.derain.engine.restorer._memory
    assert memory is not None
    set_time(50.0)
    assert made.client.until(made.derain._reset_requested.is_set)
    frame_at(made, 49.9)
    assert not made.derain._reset_requested.is_set()
    frame_at(made, 49.95)
    assert made.client.stamps(rig.outputs.LABEL_MAP)[-1] == 49_950_000_000


def test_diagnostics_are_stamped_by_the_simulated_clock(simulated):
    made, set_time = simulated
    set_time(100.2)
    assert made.client.until(lambda: made.client.diagnosed("derain_node") is not None)
