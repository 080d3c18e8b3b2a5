"""A short demo through the real pipeline, by the command that a user types."""

import json
import re
import subprocess
import sys

import pytest
from limits import HANG_S
from rosbags.highlevel import AnyReader

FRAMES = 12


def demo(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ros2_derain.cli", "demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
    )


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--two-processes",)])
def test_demo_records_measures_and_reports(small_clip, rainy_model, tmp_path, more):
    out = tmp_path / "out"
    ended = demo(
        *("--out", out, "--clip", small_clip, "--model", rainy_model, "--fps", 10, "--device", "cpu"), *more
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"of {FRAMES} frames came out" in ended.stdout

    summary = json.loads((out / "summary.json").read_text())
    assert summary["problems"] == []
    assert summary["frames_in"] == FRAMES
    assert summary["frames_in"] == summary["frames_out"] + sum(summary["dropped"].values())
    assert summary["topics"]["derain/image"] == summary["frames_out"] > 0
    assert summary["topics"]["derain/rain_rate"] == summary["frames_out"]
    assert summary["rain_rate_mean"] == pytest.approx(100, rel=0.1)
    assert summary["rain_rate_true"] == 150
    assert summary["psnr_rain"] < 40
    assert summary["device"] == "cpu" and summary["model"] == "rainy"
    for stage in ("gate", "derain", "parse", "end_to_end_image", "end_to_end_detections"):
        found = summary["latency_ms"][stage]
        assert 0 < found["p50"] <= found["p95"] <= found["p99"] <= found["max"]

    sent = {int(line.split(",")[1]) for line in (out / "sent.csv").read_text().splitlines()[1:]}
    assert len(sent) == FRAMES
    with AnyReader([out / "bag"]) as bag:
        types = {connection.topic: connection.msgtype for connection in bag.connections}
        assert types["/detections"] == "vision_msgs/msg/Detection2DArray"
        for connection, _, raw in bag.messages([c for c in bag.connections if c.topic == "/detections"]):
            stamp = bag.deserialize(raw, connection.msgtype).header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec in sent

    page = (out / "report.html").read_text()
    assert "✓ Passed" in page and "Test &amp; pattern" in page
    assert page.count("<img ") == 12 and page.count("<svg") == 6
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_model_that_is_not_there_is_named_with_the_log_of_the_pipeline(small_clip, tmp_path):
    ended = demo("--out", tmp_path, "--clip", small_clip, "--model", "nonsense", "--frames", 2)
    assert ended.returncode == 2
    assert "the pipeline ended with status 1; the end of" in ended.stderr
    assert "no model named 'nonsense'" in ended.stderr
    assert not (tmp_path / "summary.json").exists()


def test_a_foreign_folder_in_place_of_the_bag_is_left_alone(small_clip, tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "thesis.txt").write_text("precious")
    ended = demo("--out", tmp_path, "--clip", small_clip)
    assert ended.returncode == 2
    assert "thesis.txt, which is no part of a bag" in ended.stderr
    assert (tmp_path / "bag" / "thesis.txt").read_text() == "precious"
