"""The drill: faults that pass and faults that fail, overload and soak verdicts, and the real pipeline."""

import argparse
import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from ros2_derain import cli
from ros2_derain.drill import CheckFailed, command, load
from ros2_derain.drill.load import ProcessUsage
from ros2_derain.drill.test_pipeline import Fault, Outcome, Settings

ON_ONE_PIPELINE = (
    "camera-repeats-frames",
    "encoding-changes",
    "frame-id-changes",
    "stamps-ahead",
    "stamps-jump-back",
    "junk-images",
    "derainer-not-finite",
    "device-out-of-memory",
    "parser-not-finite",
    "parameter-abuse",
    "sigterm",
)
WITH_A_PLANNER = (
    "planner-without-calibration",
    "planner-calibration-of-another-size",
    "planner-transform-missing",
    "planner-transform-old",
    "planner-cloud-empty",
    "planner-cloud-nan",
    "planner-cloud-of-a-million",
    "planner-horizon-inside",
)
ON_TWO_PROCESSES = ("segmentation-node-dies", "derain-node-dies")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "runtime"),
    [
        pytest.param(ON_ONE_PIPELINE, "torch", id="composed, torch"),
        pytest.param(ON_ONE_PIPELINE, "openvino", id="composed, openvino"),
        pytest.param(ON_TWO_PROCESSES, "openvino", id="two processes"),
        pytest.param(WITH_A_PLANNER, "torch", id="with a planner"),
    ],
)
def test_the_pipeline_passes_its_faults(rainy_model, tmp_path, names, runtime):
    """Faults of the networks with both runtimes; those of processes and of the planner know none."""
    if runtime != "torch":
        pytest.importorskip(runtime)
    faults = [fault for fault in command.ALL_FAULTS if fault.name in names]
    rows = list(command.run(faults, Settings(rainy_model, "cpu", tmp_path, patience=10, runtime=runtime)))
    assert {row.fault for row in rows} == set(names)
    assert [(row.fault, row.seen) for row in rows if not row.passed] == []


class IdlePipeline:
    """Stands in for a pipeline where only the verdicts are of interest."""

    children = {}

    class probe:
        reset = staticmethod(lambda: None)
        stamp_errors = staticmethod(lambda instances: [])

    settle = staticmethod(lambda: True)


def faults(*results):
    """Faults that pass (seconds to recovery) or fail (why), and the pipelines started for them."""
    started = []

    @contextmanager
    def pipeline(settings):
        started.append(settings)
        yield IdlePipeline()

    def inject(result):
        def run(pipeline):
            if isinstance(result, str):
                raise CheckFailed(result)
            return Outcome("as expected", result)

        return run

    return [Fault(f"fault-{i}", "well", inject(r), pipeline) for i, r in enumerate(results)], started


def test_after_a_failed_fault_the_next_one_has_a_new_pipeline(tmp_path):
    given, started = faults(0.5, "nothing came", 1.0, 2.0)
    rows = list(command.run(given, Settings("m", "cpu", tmp_path)))
    assert [row.passed for row in rows] == [True, False, True, True] and len(started) == 2
    assert rows[1].seen == "nothing came" and rows[2].recovered_s == 1.0


def test_exit_status_table_and_json_have_the_verdicts(tmp_path, monkeypatch, capsys):
    given, _ = faults(0.5, "nothing | came")
    monkeypatch.setattr(command, "ALL_FAULTS", tuple(given))
    monkeypatch.setattr(command.environment, "isolate", lambda: None)
    file = tmp_path / "drill.json"
    assert cli.main(["drill", "--json", str(file), "--markdown"]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 passed" in out and "FAIL fault-1" in out
    assert "| fault-1 | well | nothing / came |  | **failed** |" in out
    assert [row["passed"] for row in json.loads(file.read_text())["faults"]] == [True, False]
    assert cli.main(["drill", "--only", "fault-0"]) == 0


def test_an_unknown_fault_is_named(capsys):
    assert cli.main(["drill", "--only", "meteorite"]) == 2
    assert "--only meteorite: no such fault; known: camera-stops" in capsys.readouterr().err


def test_every_fault_has_a_name_of_its_own_and_is_listed(capsys):
    assert cli.main(["drill", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(listed) == len(set(listed)) == len(command.ALL_FAULTS)


def test_the_long_form_gives_the_faults_their_long_arguments():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    chosen = command._chosen(parser.parse_args(["--long", "--only", "junk-images,overload"]))
    assert [fault.inject.keywords for fault in chosen] == [{"messages": 10_000}, {"seconds": load.LONG_S}]


def pairs(kept=(1.0, 1.0, 1.0), age_s=0.1, last_mb=500.0, uncounted=0, stolen=0.0, camera=0.0):
    """A machine that becomes slower all the time; a hypervisor takes half of it in every other pair."""
    made, speed = [], 20.0
    for factor, share in zip(load.FACTORS, kept, strict=True):
        for index in range(2 * load.MIN_CALM):
            taken, rate = (0.5, 2.0) if index % 2 else (stolen, speed)
            reference = load.Window(rate, 0.1, 0.05, 500.0, 0, 0.0, 0.0)
            loaded = load.Window(share * rate, age_s, 0.05, last_mb, uncounted, taken, camera)
            made.append(load.Pair(factor, reference, loaded))
            speed -= 0.5
    return made


def test_overload_is_compared_with_the_throughput_just_before():
    assert load.judge_overload(pairs(kept=(1.0, 0.95, 0.9))) == (
        "2x: 12.0 to 20.0/s, 1x: 19.0/s (100%, 100% for the cores it had), "
        "5x: 15.2/s (95%, 95% for the cores it had), 20x: 11.7/s (90%, 90% for the cores it had); "
        "oldest (p95) 100 ms; memory 500 -> 500 MB"
    )


def test_time_taken_by_a_hypervisor_is_reported_where_no_pair_was_calm():
    text = load.judge_overload(pairs(stolen=0.1))
    assert text.endswith("other machines took up to 10% of the cores' time")


def test_time_used_by_the_camera_does_not_count_against_the_pipeline():
    text = load.judge_overload(pairs(kept=(1.0, 0.9, 0.9), camera=0.1))
    assert "20x: 11.7/s (90%, 100% for the cores it had)" in text


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (pairs(kept=(1.0, 1.0, 0.88)), "the output rate fell below 90% of that at 2x"),
        (pairs(age_s=0.2), "at 1x frames came out 200 ms old (p95), over 1"),
        (pairs(last_mb=530.0), "memory grew"),
        (pairs(uncounted=3), "54 frames were not counted"),
    ],
    ids=["rate", "age", "memory", "counters"],
)
def test_a_pipeline_that_does_not_withstand_overload_fails(measured, reason):
    with pytest.raises(CheckFailed) as error:
        load.judge_overload(measured)
    assert reason in str(error.value)


def samples(rss=lambda t: 500.0, age=lambda t: 0.1, threads=lambda t: 20):
    return [(ProcessUsage(rss(t), threads(t)), age(t)) for t in np.linspace(0, 1, 60)]


def test_a_soak_without_growth_passes():
    assert "500.0 -> 500.0 MB" in load.judge_soak(samples(), 30).text
    assert load.judge_soak(samples(rss=lambda t: 500.0 if t > 0.05 else 400.0), 30), "it may settle at first"


@pytest.mark.parametrize(
    "growing",
    [
        samples(rss=lambda t: 500 + 20 * t),
        samples(age=lambda t: 0.1 + 0.05 * t),
        samples(threads=lambda t: 20 + int(10 * t)),
    ],
    ids=["memory", "latency", "threads"],
)
def test_a_soak_with_growth_fails(growing):
    with pytest.raises(CheckFailed):
        load.judge_soak(growing, 30)


def test_usage_of_this_process():
    found = ProcessUsage.read(os.getpid())
    assert found.rss_mb > 10 and found.threads >= 1
