"""``ros2-derain bench``: how fast the engine is here, and what ROS 2 adds to it.

First the engine alone, frame after frame. Then end to end: a camera process, the
composed pipeline and this process, which subscribes to the clean image and the
detections. The camera sends more slowly than the engine can go, so that no frame
waits for the one before it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ros2_derain import engine_options, environment, machine, resources
from ros2_derain.bags.messages import raw_stamp_ns
from ros2_derain.bench import engine_timing, timed_pipeline
from ros2_derain.data.clips import Clip, parse_size
from ros2_derain.engine import PRIORS, Engine, EngineSettings, LoadedModel
from ros2_derain.errors import EvaluationError
from ros2_derain.nodes import outputs
from ros2_derain.nodes.topics import Topic
from ros2_derain.options import positive
from ros2_derain.rain_media.rendering import rain_clip
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import percentiles
from ros2_derain.ros_testing import pipeline_processes
from ros2_derain.ros_testing.camera import read_folder
from ros2_derain.ros_testing.child_process import Child
from ros2_derain.ros_testing.observer import Observer

RATE_MM_H = 150.0
PICTURES = 25
"""How many are rendered; they are played over and over."""
WARM = 5
"""First frames, which are left out."""
LEAST = 20
"""Frames that are measured in each part however slow the machine."""
ENGINE_SHARE = 0.35
"""Share of the seconds that the engine alone has; the rest is for the part through DDS."""
LOAD = 0.6
"""The camera's rate as a share of what the engine alone can do."""

EXAMPLES = """examples:
  ros2-derain bench --size 640x360
  ros2-derain bench --size 1280x720 --seconds 300 --json out/bench.json
  ros2-derain bench --size 1920x1080 --device cuda --prior closed_loop --iterations 3
  ros2-derain bench --engine-only --cameras 3

The overhead of a frame is its time from the camera's stamp to reception in this process,
less what the engine took for it before that output. Every frame is derained: the rain
gate is off."""

TIMED = "ros2_derain.bench.timed_pipeline"


@dataclass(frozen=True)
class Subject:
    """What is measured: the engine's settings, as options of the command line."""

    model: str
    device: str
    precision: str
    prior: str
    iterations: int

    def parameters(self, width: int, height: int) -> list[str]:
        """The same for the pipeline, as ROS arguments."""
        values = {
            "model": json.dumps(self.model),
            "device": json.dumps(self.device),
            "precision": self.precision,
            "prior": self.prior,
            "iterations": self.iterations,
            "gate": "false",
            "warmup_width": width,
            "warmup_height": height,
        }
        return [
            "--ros-args",
            *(part for name, value in values.items() for part in ("-p", f"{name}:={value}")),
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Measure frames per second and latency, of the engine alone and end to end through DDS."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--size",
        type=parse_size,
        default=(1280, 720),
        metavar="WxH",
        help="of the pictures (default: 1280x720)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=positive(float),
        default=40.0,
        help="how long frames are measured, both parts together; starting takes a while more (default: 40)",
    )
    length.add_argument("--frames", type=positive(int), help="measured in each part, however long it takes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    engine_options.add_engine(parser)
    parser.add_argument("--prior", default="temporal", choices=PRIORS, help="(default: %(default)s)")
    engine_options.add_iterations(parser)
    parser.add_argument(
        "--cameras", type=positive(int), default=1, help="also: so many on one model, in one process"
    )
    parser.add_argument("--engine-only", action="store_true", help="leave out the part through DDS")


def main(args: argparse.Namespace) -> int:
    """Measure, print a table, write the JSON file; returns the exit status."""
    environment.isolate()
    source = Clip.open(resources.path("samples/highway"), args.size)
    subject = Subject(args.model, args.device, args.precision, args.prior, args.iterations)
    with tempfile.TemporaryDirectory(prefix="ros2_derain_") as folder:
        rainy = Path(folder) / "rainy"
        with Progress("rendering rain", PICTURES) as progress:
            rain_clip(source, RATE_MM_H, PICTURES, rainy, progress.step)
        result = {
            "size": list(args.size),
            "prior": args.prior,
            "iterations": args.iterations,
            **_engine(subject, rainy, args),
        }
        if not args.engine_only:
            result["end_to_end"] = _end_to_end(subject, rainy, args, result["engine"]["fps"], Path(folder))
    result |= {"commit": machine.commit(), "machine": machine.describe(), "versions": machine.versions()}
    print(table(result))
    if args.json:
        write_json(args.json, result)
    return 0


def table(result: dict) -> str:
    """The results for people."""
    width, height = result["size"]
    lines = [
        f"{width}x{height}, prior {result['prior']}, model {result['model']}, "
        f"{result['device']} {result['precision']}",
        f"{result['machine']['processor']}, {result['machine']['cores']} cores"
        + (f", {result['machine']['gpu']}" if result["machine"]["gpu"] else "")
        + f"; commit {result['commit']}",
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


def _engine(subject: Subject, rainy: Path, args: argparse.Namespace) -> dict:
    """The engine alone, on pictures in memory."""
    width, height = args.size
    settings = EngineSettings(**subject.__dict__, gate=False)
    model = LoadedModel.load(settings)
    engine = Engine.of(model, settings)
    engine.warm_up(height, width)
    share = (1.0 if args.engine_only else ENGINE_SHARE) / min(2, args.cameras)
    pictures = read_folder(rainy)
    found = engine_timing.timed(engine, pictures, WARM, lambda fps: _frames(args, share, fps))
    result = {
        "model": model.identity.name,
        "model_sha256": model.identity.sha256,
        "device": model.identity.device,
        "precision": model.identity.precision,
        "engine": found,
    }
    if args.cameras > 1:
        rounds = max(2, found["frames"] // args.cameras)
        result["cameras"] = engine_timing.timed_together(
            model, settings, args.cameras, pictures, rounds, found["fps"]
        )
    return result


def _end_to_end(
    subject: Subject, rainy: Path, args: argparse.Namespace, engine_fps: float, out: Path
) -> dict:
    """Camera process, pipeline process, and this one as the subscriber."""
    delays: dict[Topic, dict[int, float]] = {outputs.CLEAN_IMAGE: {}, outputs.DETECTIONS: {}}
    camera_fps = LOAD * engine_fps
    frames = _frames(args, 1.0 - ENGINE_SHARE, camera_fps)
    playback = pipeline_processes.Playback(rainy, camera_fps, frames + WARM)
    log = out / "engine.csv"
    arguments = [str(log), *subject.parameters(*args.size)]
    with (
        Child("the pipeline", TIMED, arguments, out / "pipeline.log") as child,
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
        pipeline = pipeline_processes.Pipeline((child,))
        pipeline_processes.await_active(observer, pipeline)
        with Progress("end to end", playback.frames) as progress:
            sent = pipeline_processes.send(observer, pipeline, playback, out, subscribers=1)
    spent, (clean, detections) = timed_pipeline.read(log), delays.values()
    complete = [
        stamp for stamp in list(sent)[WARM:] if stamp in clean and stamp in detections and stamp in spent
    ]
    if not complete:
        raise EvaluationError("no frame came out of the pipeline: run 'ros2-derain demo' to see why")
    return {
        "camera_fps": round(playback.fps, 2),
        "frames_in": len(sent) - WARM,
        "frames_out": len(complete),
        **_compared([(spent[stamp], clean[stamp], detections[stamp]) for stamp in complete]),
    }


def _frames(args: argparse.Namespace, share: float, fps: float) -> int:
    """How many frames a part measures, at so many per second."""
    return args.frames or max(LEAST, round(share * args.seconds * fps))


def _compared(frames: list[tuple[dict[str, float], float, float]]) -> dict:
    """Latencies in a run, and what of them is not the engine's, frame by frame.

    Args:
        frames: of each, the engine's milliseconds by stage, and those to the clean image
            and to the detections.
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
