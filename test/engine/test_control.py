"""The ladder and the gate, step by step."""

from ros2_derain.engine.control import Ladder, RainGate
from ros2_derain.engine.scene import Mode

SECOND = 10**9


def test_faults_step_down_to_pass_through_and_no_further():
    ladder, seen = Ladder(), []
    for stamp in range(5):
        seen.append(ladder.step)
        ladder.fault(stamp)
    assert seen == [Mode.LOOP, Mode.ONE_ITERATION, Mode.DERAIN_ONLY, Mode.PASS_THROUGH, Mode.PASS_THROUGH]


def test_one_slow_frame_is_tolerated_several_in_a_row_are_not():
    ladder = Ladder()
    for over in (True, True, False, True, True):
        ladder.frame(0, over, patience=3, recover_after_s=5)
    assert ladder.step is Mode.LOOP
    ladder.frame(0, True, patience=3, recover_after_s=5)
    assert ladder.step is Mode.ONE_ITERATION


def test_quiet_time_steps_up_one_at_a_time():
    ladder = Ladder()
    ladder.fault(0)
    ladder.fault(0)
    steps = []
    for second in (1, 4, 5, 6, 9, 10):
        ladder.frame(second * SECOND, False, 3, recover_after_s=5)
        steps.append(ladder.step)
    down, one, loop = Mode.DERAIN_ONLY, Mode.ONE_ITERATION, Mode.LOOP
    assert steps == [down, down, one, one, one, loop]


def test_a_failed_trial_doubles_the_wait():
    ladder = Ladder()
    ladder.fault(0)
    ladder.frame(5 * SECOND, False, 3, 5)
    assert ladder.step is Mode.LOOP
    ladder.fault(6 * SECOND)
    ladder.frame(12 * SECOND, False, 3, 5)
    assert ladder.step is Mode.ONE_ITERATION, "5 s are no longer enough"
    ladder.frame(16 * SECOND, False, 3, 5)
    assert ladder.step is Mode.LOOP


def test_a_jump_back_in_time_restarts_the_quiet_time():
    ladder = Ladder()
    ladder.fault(100 * SECOND)
    ladder.frame(1 * SECOND, False, 3, 5)
    ladder.frame(5 * SECOND, False, 3, 5)
    assert ladder.step is Mode.ONE_ITERATION
    ladder.frame(6 * SECOND, False, 3, 5)
    assert ladder.step is Mode.LOOP


def test_the_gate_has_hysteresis():
    gate = RainGate()
    seen = [gate.update(rate, 5.0, 2.5) for rate in (0, 4, 5, 4, 3, 2, 4, 6)]
    assert seen == [False, False, True, True, True, False, False, True]
