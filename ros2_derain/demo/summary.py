"""A run in numbers: what ``summary.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping

from ros2_derain import machine
from ros2_derain.bags.reader import BagReader
from ros2_derain.demo.measure import CLEAN, DETECTIONS, IMAGE, Measured
from ros2_derain.reporting.statistics import mean, percentiles, stages
from ros2_derain.ros_testing.accounting import balance, strangers
from ros2_derain.ros_testing.pipeline_processes import Run

PARSED_BY = "segmentation_node"
RESTORED_BY = "derain_node"

ENGINE_STAGES = (("gate", RESTORED_BY), ("derain", RESTORED_BY), ("parse", PARSED_BY))


def summarise(
    run: Run, measured: Measured, recording: BagReader, ended: Mapping[str, int], rate: float
) -> dict:
    """What a run is worth.

    Args:
        run: what was sent and what the nodes said.
        measured: what the recording shows.
        recording: the open bag.
        ended: exit status of each of the pipeline's processes.
        rate: the true rain rate in mm/h.

    Returns:
        JSON-ready. ``problems`` is empty when every frame is accounted for, every
        stamp is the camera's and the pipeline ended as it should.
    """
    sent, derainer = list(run.sent), run.status[RESTORED_BY]
    books = balance(len(sent), measured.stamps[CLEAN], derainer)
    restored = int(derainer.number("frames_published"))
    parsed = balance(restored, measured.stamps[DETECTIONS], run.status[PARSED_BY])
    problems = [
        *(f"{RESTORED_BY}: {problem}" for problem in books.problems),
        *(f"{PARSED_BY}: {problem}" for problem in parsed.problems),
    ]
    for topic, stamps in measured.stamps.items():
        problems += strangers(topic, stamps, sent)
    problems += [
        f"{name} ended with status {status}, see its log" for name, status in ended.items() if status
    ]
    return {
        "problems": problems,
        "frames_in": books.frames_in,
        "frames_out": books.frames_out,
        "dropped": books.dropped,
        "segmentation": {
            "frames_in": parsed.frames_in,
            "frames_out": parsed.frames_out,
            "dropped": parsed.dropped,
        },
        "topics": {topic.name: topic.messages for topic in recording.topics},
        "latency_ms": _latencies(run, measured),
        "psnr_rain": mean(measured.psnr_rain[s] for s in measured.psnr if s in measured.psnr_rain),
        "psnr_clean": mean(measured.psnr.values()),
        "rain_rate_true": rate,
        "rain_rate_mean": mean(measured.rain_rates),
        "detections": sum(measured.boxes.values()),
        "model": derainer.values.get("model"),
        "model_sha256": derainer.values.get("model_sha256"),
        "device": derainer.values.get("device"),
        "precision": derainer.values.get("precision"),
        "mode": derainer.values.get("mode"),
        "machine": machine.describe(),
        "versions": machine.versions(),
    }


def _latencies(run: Run, measured: Measured) -> dict[str, dict[str, float] | None]:
    """Milliseconds: the engine's stages, each node from arrival to publication, and the whole way."""
    said = {name: stages(status.numbers("latency_ms.")) for name, status in run.status.items()}
    found = {stage: said[node].get(stage) for stage, node in ENGINE_STAGES}
    found |= {node: said[node].get("total") for node in (RESTORED_BY, PARSED_BY)}
    return found | {
        "camera_to_recorder": percentiles(measured.delays_ms[IMAGE]),
        "end_to_end_image": percentiles(measured.delays_ms[CLEAN]),
        "end_to_end_detections": percentiles(measured.delays_ms[DETECTIONS]),
    }
