"""The ladder and the gate, step by step."""

import pytest

from ros2_derain.engine.control import Gate, Ladder
from ros2_derain.engine.scene import Mode
from ros2_derain.engine.settings import EngineSettings

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


SETTINGS = EngineSettings(
    gate_open_mm_h=5.0,
    gate_close_mm_h=2.5,
    gate_open_coverage=0.02,
    gate_close_coverage=0.01,
    gate_open_contrast_loss=0.3,
    gate_close_contrast_loss=0.2,
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("measure", "values"),
    [
        ("mm_h", (0, 4, 5, 4, 3, 2, 4, 6)),
        ("coverage", (0, 0.015, 0.02, 0.015, 0.01, 0.009, 0.015, 0.03)),
        ("contrast_loss", (NAN, 0.25, 0.3, 0.25, 0.2, 0.19, 0.25, 0.9)),
    ],
)
def test_the_gate_has_hysteresis_in_every_measure(measure, values):
    gate = Gate()
    others = dict.fromkeys(("mm_h", "coverage", "contrast_loss"), NAN)
    seen = [
        gate.update({**others, measure: value}, SETTINGS, 2 * SECOND * index)
        for index, value in enumerate(values)
    ]
    assert seen == [False, False, True, True, True, False, False, True]


def test_the_gate_closes_when_the_last_measure_lets_it():
    gate = Gate()
    drive = [
        ({"mm_h": 6, "coverage": 0.0}, {"mm_h"}),
        ({"mm_h": 3, "coverage": 0.03}, {"mm_h", "coverage"}),
        ({"mm_h": 2, "coverage": 0.012}, {"coverage"}),
        ({"mm_h": 4, "coverage": 0.012}, {"coverage"}),
        ({"mm_h": 4, "coverage": 0.005}, set()),
    ]
    for index, (measured, open_for) in enumerate(drive):
        assert gate.update(measured, SETTINGS, 2 * SECOND * index) == bool(open_for)
        assert gate.open_for == open_for


def test_coverage_opens_the_gate_where_it_stays_or_has_been_from_the_start():
    sign, water = {"coverage": 0.05}, {"coverage": 0.05}
    gate = Gate()
    assert not gate.update({"coverage": 0.0}, SETTINGS, 0)
    for tenth in range(1, 12):
        assert not gate.update(sign, SETTINGS, tenth * SECOND // 10), "a sign passes by"
    assert not gate.update({"coverage": 0.0}, SETTINGS, 12 * SECOND // 10)
    opened = [t for t in range(13, 40) if gate.update(water, SETTINGS, t * SECOND // 10)]
    assert opened[0] == 25, "water stays"
    gate.reset()
    assert gate.update(water, SETTINGS, 50 * SECOND // 10), "the first frame of a drive"
