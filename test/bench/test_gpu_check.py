"""The check of GPUs, run to its end on a CPU."""

import json

import pytest

from ros2_derain.bench import gpu_check


def test_it_runs_to_the_end_on_a_cpu(rainy_model, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "CPU_SIZES", ((96, 64), (160, 90)))
    assert gpu_check.main(["--out", str(tmp_path), "--model", rainy_model, "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert found["device"] == "cpu" and found["peak_tflops"] > 0 and found["failures"] == []
    assert {row["runtime"] for row in found["rows"]} | {text.split()[0] for text in found["skipped"]} == {
        "torch",
        "openvino",
        "onnxruntime",
    }
    for row in found["rows"]:
        assert row["latency_ms"]["total"]["p50"] > 0 and row["fps_of_three"] > 0 and 0 < row["peak_share"]
    page = (tmp_path / "gpu_check.md").read_text()
    assert page.count("| torch |") == 2 and "of peak" in page


def test_what_there_is_no_time_for_is_named(rainy_model, tmp_path):
    given = ["--out", str(tmp_path), "--model", rainy_model, "--device", "cpu", "--seconds", "0"]
    assert gpu_check.main(given) == 1
    skipped = json.loads((tmp_path / "gpu_check.json").read_text())["skipped"]
    assert "torch at 160x90: no time left" in skipped


def test_a_runtime_that_disagrees_fails(rainy_model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(gpu_check, "CPU_SIZES", ((96, 64),))
    monkeypatch.setattr(gpu_check, "PARITY_DB", 1000.0)
    assert gpu_check.main(["--out", str(tmp_path), "--model", rainy_model, "--device", "cpu"]) == 1
    assert "Disagrees:" in (tmp_path / "gpu_check.md").read_text()
