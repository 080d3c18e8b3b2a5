"""Counters and rules: what makes a node warn, and the message."""

from dataclasses import replace

import pytest

from ros2_derain.engine import Mode
from ros2_derain.nodes.diagnostics import Condition, Percentiles, Statistics, judge, status

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


def counters(received=10, published=10, dropped=(), missed=0, idle_s=0.1, age=None):
    statistics = Statistics()
    for _ in range(received):
        statistics.received()
    for _ in range(published):
        statistics.published({"total": 5.0}, 20.0)
    for cause, frames in dict(dropped).items():
        statistics.dropped(cause, frames)
    for _ in range(missed):
        statistics.count("priors_missed")
    snapshot = replace(statistics.snapshot(), idle_s=idle_s)
    return replace(snapshot, age=Percentiles(age, age, age, age)) if age else snapshot


@pytest.mark.parametrize(
    ("condition", "level", "text"),
    [
        (Condition(counters(), True, Mode.LOOP), OK, "active"),
        (Condition(counters(), True, Mode.DRY), OK, "active"),
        (Condition(counters(), False, Mode.LOOP), OK, "inactive"),
        (Condition(counters(idle_s=60.0), False), OK, "inactive"),
        (Condition(counters(idle_s=1.5), True), WARN, "no frame for 1.5 s"),
        (Condition(counters(idle_s=6.0), True), ERROR, "active; no frame for 6.0 s"),
        (Condition(counters(10, 9, {"replaced": 1}), True), OK, "active"),
        (Condition(counters(10, 8, {"replaced": 2}), True), WARN, "2 of 10 frames dropped: replaced 2"),
        (Condition(counters(3, 0, {"refused.step": 3}), True), ERROR, "every frame is refused: step"),
        (Condition(counters(), True, Mode.ONE_ITERATION), WARN, "mode is one_iteration"),
        (Condition(counters(), True, Mode.PASS_THROUGH, "CUDA error"), ERROR, "unprocessed: CUDA error"),
        (
            Condition(counters(age=80.0), True, budget_ms=50.0),
            WARN,
            "80 ms old (p95), above the budget",
        ),
        (Condition(counters(age=80.0), True, budget_ms=0.0), OK, "active"),
        (Condition(counters(missed=2), True), WARN, "2 of 10 frames went on without a semantic prior"),
    ],
)
def test_every_rule_gives_its_level_and_names_the_cause(condition, level, text):
    judged, message = judge(condition)
    assert judged == level and text in message


def test_a_window_holds_what_happened_since_the_last_snapshot():
    statistics = Statistics()
    statistics.received()
    statistics.dropped("replaced")
    first = statistics.snapshot()
    statistics.received()
    statistics.published({"total": 1.0}, 2.0)
    second = statistics.snapshot()
    assert (first.window.received, first.window.dropped) == (1, {"replaced": 1})
    assert (second.window.received, second.window.published, second.window.dropped) == (1, 1, {})
    assert (second.received, second.published, second.dropped) == (2, 1, {"replaced": 1})


def test_percentiles_are_of_the_latest_frames():
    statistics = Statistics()
    for milliseconds in range(1, 101):
        statistics.published({"derain": float(milliseconds)}, float(milliseconds))
    found = statistics.snapshot().latency["derain"]
    assert (found.p50, found.max) == (50.5, 100.0) and found.p95 == pytest.approx(95.05)


def test_a_status_lists_drops_latencies_and_facts():
    condition = Condition(counters(10, 9, {"replaced": 1}), True, Mode.LOOP)
    message = status("front/derain_node", "cpu", condition, {"model": "m"})
    values = {pair.key: pair.value for pair in message.values}
    assert message.name == "front/derain_node: pipeline" and message.hardware_id == "cpu"
    assert values["frames_received"] == "10" and values["dropped.replaced"] == "1"
    assert values["latency_ms.total.p95"] == "5.00" and values["age_ms.p99"] == "20.00"
    assert values["mode"] == "loop" and values["model"] == "m"
