"""The benchmark, by the command that a user types."""

import json
import subprocess
import sys

import pytest
from limits import HANG_S

from ros2_derain import cli


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ros2_derain.cli", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
    )


def test_engine_alone(rainy_model, tmp_path):
    ended = bench(
        "--size",
        "160x96",
        "--frames",
        5,
        "--model",
        rainy_model,
        "--device",
        "cpu",
        "--engine-only",
        "--cameras",
        3,
        "--json",
        tmp_path / "out" / "bench.json",
    )
    assert ended.returncode == 0, ended.stderr
    assert "engine alone:" in ended.stdout and "end to end" not in ended.stdout
    result = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert result["size"] == [160, 96] and result["device"] == "cpu" and result["model"] == "rainy"
    assert result["engine"]["fps"] > 0 and result["engine"]["frames"] == 5
    latency = result["engine"]["latency_ms"]
    assert list(latency) == ["gate", "derain", "parse", "total"]
    assert latency["total"]["max"] >= latency["derain"]["p50"] > 0
    together = result["cameras"]
    assert together["cameras"] == 3 and together["frames"] >= 6 and together["cost"] > 0
    assert 0.5 <= together["least_share"] <= 1, "every camera gets its share, even in two repeats"
    assert "3 cameras on one model" in ended.stdout
    assert result["commit"] and result["machine"]["cores"] >= 1 and result["versions"]["torch"]


def test_runtimes_are_compared_in_turn(rainy_model, tmp_path):
    for name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
    file = tmp_path / "runtimes.json"
    given = ["--model", rainy_model, "--device", "cpu", "--precision", "float32", "--engine-only"]
    ended = bench(
        "--size", "160x96", "--frames", 4, *given, "--runtime", "torch,openvino,onnxruntime", "--json", file
    )
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(file.read_text())["runtimes"]
    assert [row["runtime"] for row in rows] == ["torch", "openvino", "onnxruntime"]
    assert rows[0]["ratio"] == 1 and rows[0]["psnr_db"] is None and rows[0]["label_agreement"] == 1
    for row in rows:
        assert row["frames"] == 4 and row["fps"] > 0 and row["latency_ms"]["total"]["p50"] > 0
        assert row["psnr_db"] is None or row["psnr_db"] > 90
        assert row["label_agreement"] > 0.999
    line = next(line for line in ended.stdout.splitlines() if line.split()[:1] == ["openvino"])
    assert f"{rows[1]['ratio']:.2f}" in line


def test_an_unknown_runtime_is_named():
    ended = bench("--runtime", "torch,tvm")
    assert ended.returncode == 2 and "--runtime: 'tvm' is not one of auto, torch" in ended.stderr


@pytest.mark.slow
def test_end_to_end(rainy_model, tmp_path):
    ended = bench(
        "--size",
        "160x96",
        "--frames",
        10,
        "--model",
        rainy_model,
        "--device",
        "cpu",
        "--json",
        tmp_path / "b.json",
    )
    assert ended.returncode == 0, ended.stderr
    whole = json.loads((tmp_path / "b.json").read_text())["end_to_end"]
    assert whole["frames_in"] == 10 and 0 < whole["frames_out"] <= 10
    latency = whole["latency_ms"]
    assert 0 < latency["end_to_end_image"]["p50"] < latency["end_to_end_detections"]["p50"]
    assert latency["derain"]["p50"] < latency["end_to_end_image"]["p50"]
    overhead = whole["overhead_ms"]
    assert 0 < overhead["image"]["p50"] < latency["end_to_end_image"]["max"]
    assert 0 < overhead["detections"]["p50"] < latency["end_to_end_detections"]["max"]
    assert "overhead, detections" in ended.stdout


def test_cost_and_errors_in_metres_are_printed(tmp_path, capsys):
    options = ("--planner", "--size", "320x180", "--json", str(tmp_path / "planner.json"))
    assert cli.main(["bench", *options]) == 0
    printed = capsys.readouterr().out
    assert "ground points, stride 4" in printed and "| 30 | +0.00 |" in printed
    errors = json.loads((tmp_path / "planner.json").read_text())["planner"]["errors"]
    assert all(abs(row["exact"]) < 0.01 * row["distance_m"] for row in errors)
    assert all(row["looks_down_1_deg"] > 0 > row["looks_up_1_deg"] for row in errors)
