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

    summary = json.loads((out / "summary.json").read_text())
    assert summary["problems"] == [] and summary["composed"] is not bool(more)
    frames, nodes = summary["frames"], summary["live"]["nodes"]
    assert f"{frames['read']} of {FRAMES} frames processed" in ended.stdout
    assert frames["in"] == FRAMES == frames["read"] + frames["dropped"]
    derained = nodes["derain_node"]
    assert derained["frames_in"] == FRAMES
    for counts in nodes.values():
        assert counts["frames_in"] == counts["frames_out"] + sum(counts["dropped"].values())
    topics = summary["live"]["topics"]
    assert topics["image"] == FRAMES and topics["camera_info"] == FRAMES
    assert topics["derain/image"] == topics["derain/rain_rate"] == derained["frames_out"] > 0
    assert summary["rain"]["mean_mm_h"] == pytest.approx(100, rel=0.1)
    assert summary["rain_rate_true"] == 150
    glass = summary["through_glass"]
    assert glass["coverage"] == 0 and glass["mode"] == "loop" and 0 < glass["true_coverage"] < 0.3
    images = summary["truth"]["images"]
    assert images["frames"] == frames["read"] and images["input"]["psnr_db"] < 40
    assert images["output"]["psnr_db"] is not None and 0 < images["output"]["ssim"] < 1
    assert summary["device"] == "cpu" and summary["model"] == "rainy"
    for node, stage in (("derain_node", "gate"), ("derain_node", "derain"), ("segmentation_node", "parse")):
        found = nodes[node]["latency_ms"][stage]
        assert 0 < found["p50"] <= found["p95"] <= found["p99"] <= found["max"]
    for stage in ("image", "total"):
        found = summary["latency_ms"][stage]
        assert 0 < found["p50"] <= found["p95"] <= found["p99"] <= found["max"]

    with AnyReader([out / "output"]) as bag:
        connections = {connection.topic: connection for connection in bag.connections}
        assert connections["/detections"].msgtype == "vision_msgs/msg/Detection2DArray"
        sent = stamps(bag, connections["/image"])
        assert len(sent) == FRAMES and stamps(bag, connections["/detections"]) <= sent

    page = (out / "report.html").read_text()
    assert "Test &amp; pattern" in page and "150 mm/h" in page and "✓ Passed" in page
    assert "Through wet glass" in page and "the gauge finds 0.0 %" in page
    assert page.count("<img ") >= 12 and page.count("<svg") >= 8 and "Image quality" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def stamps(bag, connection) -> set[int]:
    """The stamps in ns of a topic."""
    found = (
        bag.deserialize(raw, connection.msgtype).header.stamp for _, _, raw in bag.messages([connection])
    )
    return {stamp.sec * 10**9 + stamp.nanosec for stamp in found}


def test_a_model_that_is_not_there_is_named(small_clip, tmp_path):
    ended = demo("--out", tmp_path, "--clip", small_clip, "--model", "nonsense", "--frames", 2)
    assert ended.returncode == 2
    assert "no model named 'nonsense'" in ended.stderr
    assert not (tmp_path / "summary.json").exists()


def test_a_pipeline_that_does_not_start_is_shown_with_its_log(small_clip, rainy_model, tmp_path):
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("/**/derain_node:\n  ros__parameters:\n    iterations: 99\n")
    ended = demo(
        *("--out", tmp_path / "out", "--clip", small_clip, "--model", rainy_model, "--frames", 2),
        *("--params-file", parameters, "--device", "cpu"),
    )
    assert ended.returncode == 2
    assert "the pipeline ended with status 1; the end of" in ended.stderr
    assert "iterations" in ended.stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_foreign_folder_is_left_alone(small_clip, rainy_model, tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "thesis.txt").write_text("precious")
    ended = demo("--out", tmp_path, "--clip", small_clip, "--model", rainy_model)
    assert ended.returncode == 2
    assert "this command did not make it" in ended.stderr
    assert (tmp_path / "bag" / "thesis.txt").read_text() == "precious"
