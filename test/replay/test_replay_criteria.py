"""Criteria of a replay: how they are read, judged and reported."""

import pytest

from ros2_derain import resources
from ros2_derain.replay import ReplayError, criteria

SUMMARY = {
    "frames": {"unread": 0, "warned": 2},
    "rain": {"raining": 0.25},
    "latency_ms": {"total": {"p95": 83.2}},
    "injected": {
        "50": {"frames": 9, "recovery": {"miou": 0.9, "ap50": None}},
        "150": {"frames": 9, "recovery": {"miou": 0.71, "ap50": 0.5}},
    },
}


def judged(text: str, tmp_path, summary=SUMMARY) -> list[dict]:
    path = tmp_path / "criteria.yaml"
    path.write_text(text)
    return criteria.judge(criteria.read(path), summary)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("latency_ms.total.p95 < 100", ""),
        ("latency_ms.total.p95 <= 83.2", ""),
        ("latency_ms.total.p95 < 83.2", "latency_ms.total.p95 is 83.2"),
        ("frames.unread == 0", ""),
        ("frames.warned != 2", "frames.warned is 2"),
        ("injected.150.recovery.miou >= 0.8", "injected.150.recovery.miou is 0.71"),
        ("injected.*.recovery.miou > 0.7", ""),
        ("injected.*.recovery.miou >= 0.8", "injected.150.recovery.miou is 0.71"),
        ("injected.*.recovery.ap50 >= 1e-1", "injected.50.recovery.ap50 is not known"),
        ("injected.250.frames > 0", "the summary has no injected.250.frames"),
        ("latency_ms.total < 100", "latency_ms.total is no number"),
    ],
)
def test_a_condition_reports_what_breaks_it(tmp_path, condition, why):
    (verdict,) = judged(f"mine: {condition}", tmp_path)
    assert verdict["why"] == why and verdict["met"] is not bool(why)


def test_a_failure_is_a_line_with_the_name(tmp_path):
    verdicts = judged("fast enough: latency_ms.total.p95 < 10\nfine: frames.unread == 0\n", tmp_path)
    assert criteria.failures(verdicts) == [
        "fast enough: latency_ms.total.p95 is 83.2, expected latency_ms.total.p95 < 10"
    ]


def test_a_criterion_whose_condition_does_not_hold_is_not_judged(tmp_path):
    text = "dry:\n  require: frames.warned == 0\n  when: rain.raining == 0\n"
    (verdict,) = judged(text, tmp_path)
    assert verdict["met"] is None and "rain.raining is 0.25" in verdict["why"]
    (verdict,) = judged(text, tmp_path, SUMMARY | {"rain": {"raining": 0}})
    assert verdict["met"] is False and criteria.failures([verdict])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold lines"),
        ("- a\n- b\n", "must hold lines"),
        ("p95: below 100 ms\n", "'p95': 'below 100 ms' is not"),
        ("p95: {need: a < 1}\n", "'p95': it is neither"),
        ("p95: 3\n", "'p95': it is neither"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_malformed_criteria_file_is_refused_with_the_name(tmp_path, text, message):
    with pytest.raises(ReplayError, match=message):
        judged(text, tmp_path)


def test_the_shipped_example_is_read_and_judged():
    verdicts = criteria.judge(criteria.read(resources.path("config/criteria.yaml")), SUMMARY)
    met = {verdict["name"]: verdict["met"] for verdict in verdicts}
    assert met["p95 latency"] and met["recovery"] and met["no warning on a dry bag"] is None
    dry_only = criteria.judge(
        criteria.read(resources.path("config/criteria.yaml")), SUMMARY | {"injected": {}}
    )
    assert {verdict["name"]: verdict["met"] for verdict in dry_only}["recovery"] is None
