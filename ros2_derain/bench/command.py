"""``ros2-derain bench``: throughput and latency of the engine on this machine, and the overhead of ROS 2.

First the engine alone, frame after frame. Then end to end: a camera process, the composed pipeline and
this process, which subscribes to the clean image and the detections. The camera sends more slowly than
the engine could process, so that no frame waits for the previous one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ros2_derain import engine_options, environment, machine, resources
from ros2_derain.bags.messages import raw_stamp_ns
from ros2_derain.bench import engine_timing, in_metres, runtimes, timed_pipeline
from ros2_derain.data.clips import Clip
from ros2_derain.engine import PRIORS, Engine, EngineSettings, LoadedModel
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs, run
from ros2_derain.options import image_size, positive
from ros2_derain.rain_media.rendering import rain_clip
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import percentiles
from ros2_derain.ros_testing import processes
from ros2_derain.ros_testing.camera import read_folder
from ros2_derain.ros_testing.observer import Observer
from ros2_derain.ros_testing.processes import Child

RATE_MM_H = 150.0
RENDERED_IMAGES = 25
"""Rainy images, played in a loop."""
WARM_UP_FRAMES = 5
"""First frames of each part, not measured."""
MIN_FRAMES = 20
"""Frames measured in each part, however slow the machine."""
ENGINE_SHARE = 0.35
"""Fraction of the seconds for the engine alone; the rest is for the part through DDS."""
LOAD = 0.6
"""The camera's rate as a fraction of the engine's throughput."""

EXAMPLES = """examples:
  ros2-derain bench --size 640x360
  ros2-derain bench --size 1280x720 --seconds 300 --json out/bench.json
  ros2-derain bench --size 1920x1080 --device cuda --prior closed_loop --iterations 3
  ros2-derain bench --engine-only --cameras 3
  ros2-derain bench --planner
  ros2-derain bench --engine-only --runtime torch,openvino --json out/runtimes.json

With several runtimes the first one is measured as usual; then all take turns frame by frame,
and each is compared with PyTorch in float32: dB of the clean image before it is rounded to
8 bits, and labels that agree.

The overhead of a frame is its time from the camera's stamp to reception in this process,
less what the engine took for it before that output. Every frame is derained: the rain
gate is off."""

TIMED_PIPELINE = "ros2_derain.bench.timed_pipeline"


class BenchError(Exception):
    """A measurement failed; the message says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Measure frames per second and latency, of the engine alone and end to end through DDS."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--size",
        type=image_size,
        default=(1280, 720),
        metavar="WxH",
        help="of the images (default: 1280x720)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=positive(float),
        default=40.0,
        help="duration of both parts together, without starting (default: 40)",
    )
    length.add_argument("--frames", type=positive(int), help="measured in each part, however long it takes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    engine_options.add_engine(parser, several_runtimes=True)
    parser.add_argument("--prior", default="temporal", choices=PRIORS, help="(default: %(default)s)")
    engine_options.add_iterations(parser)
    parser.add_argument(
        "--cameras",
        type=positive(int),
        default=1,
        help="also measure N cameras that share one model in one process",
    )
    parser.add_argument("--engine-only", action="store_true", help="omit the part through DDS")
    parser.add_argument(
        "--planner",
        action="store_true",
        help="instead: cost and errors of points and boxes in metres, on synthetic scenes",
    )


def main(args: argparse.Namespace) -> int:
    """Measure, print a table, write the JSON file; returns the exit status."""
    if args.planner:
        return _report(in_metres.measure(args.size), in_metres.table, args.json)
    environment.isolate()
    source = Clip.open(resources.path("samples/highway"), args.size)
    loop = {"prior": args.prior, "iterations": args.iterations, "gate": False}
    every = [engine_options.settings(args, runtime=runtime, **loop) for runtime in args.runtime]
    settings = every[0]
    with tempfile.TemporaryDirectory(prefix="ros2_derain_") as folder:
        rainy = Path(folder) / "rainy"
        with Progress("rendering rain", RENDERED_IMAGES) as progress:
            rain_clip(source, RATE_MM_H, RENDERED_IMAGES, rainy, progress.step)
        result = {
            "size": list(args.size),
            "prior": args.prior,
            "iterations": args.iterations,
            **_time_engine(settings, rainy, args),
        }
        if len(every) > 1:
            result["runtimes"] = runtimes.compare(
                every, read_folder(rainy), WARM_UP_FRAMES, lambda fps: _number_of_frames(args, 1.0, fps)
            )
        if not args.engine_only:
            result["end_to_end"] = _time_end_to_end(
                settings, rainy, args, result["engine"]["fps"], Path(folder)
            )
    return _report(result, table, args.json)


def _report(result: dict, describe: Callable[[dict], str], json_file: Path | None) -> int:
    """Print the results, and write them with what they depend on."""
    result |= {"commit": machine.commit(), "machine": machine.describe(), "versions": machine.versions()}
    print(describe(result))
    if json_file:
        write_json(json_file, result)
    return 0


def table(result: dict) -> str:
    """The results as text for a terminal."""
    width, height = result["size"]
    lines = [
        f"{width}x{height}, prior {result['prior']}, model {result['model']}, "
        f"{result['device']} {result['precision']} {result['runtime']}",
        f"{machine.in_words(result['machine'])}; commit {result['commit']}",
        "",
        f"engine alone: {result['engine']['frames']} frames, {result['engine']['fps']:.1f} per second",
        *_rows(result["engine"]["latency_ms"]),
    ]
    several = result.get("cameras")
    if several:
        lines += [
            "",
            f"{several['cameras']} cameras on one model: {several['frames']} frames, "
            f"{several['fps']:.1f} per second; a frame of each costs {several['cost']:.2f} times one frame; "
            f"smallest share {several['least_share']:.0%}",
        ]
    if "runtimes" in result:
        lines += ["", "runtimes in turn, p50:", *runtimes.table(result["runtimes"])]
    whole = result.get("end_to_end")
    if whole:
        lines += [
            "",
            f"end to end: {whole['frames_out']} of {whole['frames_in']} frames, "
            f"{whole['camera_fps']:.1f} per second",
            *_rows(whole["latency_ms"]),
            *_rows({f"overhead, {to}": found for to, found in whole["overhead_ms"].items()})[1:],
        ]
    return "\n".join(lines)


def _rows(latencies: dict[str, dict[str, float]]) -> list[str]:
    head = f"  {'ms':<24}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"
    rows = [
        f"  {stage:<24}" + "".join(f"{found[name]:9.1f}" for name in ("p50", "p95", "p99", "max"))
        for stage, found in latencies.items()
    ]
    return [head, *rows]


def _time_engine(settings: EngineSettings, rainy: Path, args: argparse.Namespace) -> dict:
    """The engine alone, on images in memory."""
    width, height = args.size
    model = LoadedModel.load(settings)
    engine = Engine.of(model, settings)
    engine.warm_up(height, width)
    share = (1.0 if args.engine_only else ENGINE_SHARE) / min(2, args.cameras)
    images = read_folder(rainy)
    found = engine_timing.timed(
        engine, images, WARM_UP_FRAMES, lambda fps: _number_of_frames(args, share, fps)
    )
    result = {
        "model": model.identity.name,
        "model_sha256": model.identity.sha256,
        "device": model.identity.device,
        "precision": model.identity.precision,
        "runtime": model.identity.runtime,
        "engine": found,
    }
    if args.cameras > 1:
        repeats = max(2, found["frames"] // args.cameras)
        result["cameras"] = engine_timing.timed_together(
            model, settings, args.cameras, images, repeats, found["fps"]
        )
    return result


def _time_end_to_end(
    settings: EngineSettings, rainy: Path, args: argparse.Namespace, engine_fps: float, out: Path
) -> dict:
    """Camera process, pipeline process, and this process as the subscriber."""
    delays: dict[Topic, dict[int, float]] = {outputs.CLEAN_IMAGE: {}, outputs.DETECTIONS: {}}
    camera_fps = LOAD * engine_fps
    frames = WARM_UP_FRAMES + _number_of_frames(args, 1.0 - ENGINE_SHARE, camera_fps)
    log = out / "engine.csv"
    arguments = [str(log), *_ros_arguments(settings, *args.size)]
    with (
        Child("the pipeline", TIMED_PIPELINE, arguments, out / "pipeline.log") as child,
        Observer() as observer,
    ):

        def received(topic: Topic, time_ns: int, data: bytes) -> None:
            stamp = raw_stamp_ns(data)
            delays[topic][stamp] = (time_ns - stamp) / 1e6
            if topic is outputs.DETECTIONS:
                progress.step()

        print("starting the pipeline", file=sys.stderr)
        child.start()
        for topic in delays:
            observer.listen(topic, partial(received, topic))
        pipeline = (child,)
        processes.await_active(observer, pipeline)
        with Progress("end to end", frames) as progress:
            sent = processes.send(observer, pipeline, rainy, camera_fps, frames, out)
    spent, (clean, detections) = timed_pipeline.read(log), delays.values()
    complete = [
        stamp
        for stamp in list(sent)[WARM_UP_FRAMES:]
        if stamp in clean and stamp in detections and stamp in spent
    ]
    if not complete:
        raise BenchError("No output frame arrived from the pipeline: run 'ros2-derain demo' to see why")
    return {
        "camera_fps": round(camera_fps, 2),
        "frames_in": len(sent) - WARM_UP_FRAMES,
        "frames_out": len(complete),
        **_latencies([(spent[stamp], clean[stamp], detections[stamp]) for stamp in complete]),
    }


def _number_of_frames(args: argparse.Namespace, share: float, fps: float) -> int:
    """Frames that a part measures at this throughput, within its share of the seconds."""
    return args.frames or max(MIN_FRAMES, round(share * args.seconds * fps))


def _latencies(frames: list[tuple[dict[str, float], float, float]]) -> dict:
    """Latencies of a run, and their overhead over the engine, frame by frame.

    Args:
        frames: of each the engine's milliseconds by stage, and those to the clean image and to the
            detections.
    """
    stages = {stage: [spent[stage] for spent, _, _ in frames] for stage in ("gate", "derain", "parse")}
    return {
        "latency_ms": {
            **{stage: percentiles(values) for stage, values in stages.items()},
            "end_to_end_image": percentiles([clean for _, clean, _ in frames]),
            "end_to_end_detections": percentiles([detections for _, _, detections in frames]),
        },
        "overhead_ms": {
            "image": percentiles([clean - spent["gate"] - spent["derain"] for spent, clean, _ in frames]),
            "detections": percentiles([detections - sum(spent.values()) for spent, _, detections in frames]),
        },
    }


def _ros_arguments(settings: EngineSettings, width: int, height: int) -> list[str]:
    """The settings as ROS parameters of the pipeline."""
    values = {
        "model": settings.model,
        "device": settings.device,
        "precision": settings.precision,
        "runtime": settings.runtime,
        "prior": settings.prior,
        "iterations": settings.iterations,
        "gate": False,
        "warmup_width": width,
        "warmup_height": height,
    }
    return ["--ros-args", *run.parameter_arguments(values)]
