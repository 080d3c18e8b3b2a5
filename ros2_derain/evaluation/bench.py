"""``ros2-derain bench``: how fast the engine is here, and what ROS 2 adds to it.

First the engine alone, frame after frame. Then end to end: a camera process, the
composed pipeline and this process, which subscribes to the clean image and the
detections. The camera sends more slowly than the engine can go, so that no frame
waits for the one before it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ros2_derain import environment, resources
from ros2_derain.engine import PRECISIONS, PRIORS, Engine, EngineSettings, Frame
from ros2_derain.evaluation import clip, live, machine, timed_pipeline
from ros2_derain.evaluation.clip import Clip
from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.evaluation.measure import percentiles
from ros2_derain.evaluation.processes import Child
from ros2_derain.evaluation.progress import Progress
from ros2_derain.nodes import topics
from ros2_derain.nodes.camera import read_folder
from ros2_derain.nodes.observer import Observer
from ros2_derain.nodes.recorder import stamp_of
from ros2_derain.nodes.topics import Topic

RATE_MM_H = 150.0
WARM = 5
"""First frames, which are left out."""
LOAD = 0.6
"""The camera's rate as a share of what the engine alone can do."""

EXAMPLES = """examples:
  ros2-derain bench --size 640x360
  ros2-derain bench --size 1280x720 --frames 200 --json out/bench.json
  ros2-derain bench --size 1920x1080 --device cuda --prior closed_loop --iterations 3
  ros2-derain bench --engine-only

The overhead of a frame is its time from the camera's stamp to reception in this process,
less what the engine took for it before that output. Every frame is derained: the rain
gate is off."""

TIMED = "ros2_derain.evaluation.timed_pipeline"


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
        type=clip.size,
        default=(1280, 720),
        metavar="WxH",
        help="of the pictures (default: 1280x720)",
    )
    parser.add_argument(
        "--frames", type=int, default=100, help="measured in each part (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument(
        "--model", default="loopnet", help="a name or a model's folder (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--prior", default="temporal", choices=PRIORS, help="(default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=3, help="of closed_loop (default: %(default)s)")
    parser.add_argument("--engine-only", action="store_true", help="leave out the part through DDS")


def main(args: argparse.Namespace) -> int:
    """Measure, print a table, write the JSON file; returns the exit status."""
    if args.frames < 1:
        raise EvaluationError(f"--frames {args.frames} must be >= 1")
    environment.isolate()
    source = Clip.open(resources.path("samples/highway"), args.size)
    subject = Subject(args.model, args.device, args.precision, args.prior, args.iterations)
    with tempfile.TemporaryDirectory(prefix="ros2_derain_") as folder:
        rainy = Path(folder) / "rainy"
        count = min(len(source.files), args.frames + WARM)
        with Progress("rendering rain", count) as progress:
            source.rain(RATE_MM_H, count, rainy, progress.step)
        result = {
            "size": list(args.size),
            "frames": args.frames,
            "prior": args.prior,
            "iterations": args.iterations,
            **_engine(subject, rainy, args),
        }
        if not args.engine_only:
            result["end_to_end"] = _end_to_end(subject, rainy, args, result["engine"]["fps"], Path(folder))
    result |= {"commit": machine.commit(), "machine": machine.describe(), "versions": machine.versions()}
    print(table(result))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def table(result: dict) -> str:
    """The results for people."""
    width, height = result["size"]
    lines = [
        f"{width}x{height}, {result['frames']} frames, prior {result['prior']}, model {result['model']}, "
        f"{result['device']} {result['precision']}",
        f"{result['machine']['processor']}, {result['machine']['cores']} cores"
        + (f", {result['machine']['gpu']}" if result["machine"]["gpu"] else "")
        + f"; commit {result['commit']}",
        "",
        f"engine alone: {result['engine']['fps']:.1f} frames per second",
        *_rows(result["engine"]["latency_ms"]),
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
    engine = Engine.load(EngineSettings(**subject.__dict__, gate=False))
    engine.warm_up(height, width)
    pictures = read_folder(rainy)
    spent: dict[str, list[float]] = defaultdict(list)
    total = 0.0
    with Progress("engine alone", args.frames + WARM) as progress:
        for index in range(args.frames + WARM):
            frame = Frame(index * 40_000_000, "camera", pictures[index % len(pictures)])
            started = time.perf_counter()
            scene = engine.process(frame)
            if index >= WARM:
                total += time.perf_counter() - started
                for stage, milliseconds in scene.milliseconds.items():
                    spent[stage].append(milliseconds)
            progress.step()
    identity = engine.identity
    return {
        "model": identity.name,
        "model_sha256": identity.sha256,
        "device": identity.device,
        "precision": identity.precision,
        "engine": {
            "fps": round(args.frames / total, 2),
            "latency_ms": {
                stage: percentiles(spent[stage]) for stage in ("gate", "derain", "parse", "total")
            },
        },
    }


def _end_to_end(
    subject: Subject, rainy: Path, args: argparse.Namespace, engine_fps: float, out: Path
) -> dict:
    """Camera process, pipeline process, and this one as the subscriber."""
    delays: dict[Topic, dict[int, float]] = {topics.CLEAN_IMAGE: {}, topics.DETECTIONS: {}}
    playback = live.Playback(rainy, LOAD * engine_fps, args.frames + WARM)
    log = out / "engine.csv"
    arguments = [str(log), *subject.parameters(*args.size)]
    with (
        Child("the pipeline", TIMED, arguments, out / "pipeline.log") as child,
        Observer() as observer,
        Progress("end to end", playback.frames) as progress,
    ):
        for topic in delays:

            def received(time_ns: int, data: bytes, topic: Topic = topic) -> None:
                stamp = stamp_of(data)
                delays[topic][stamp] = (time_ns - stamp) / 1e6
                if topic is topics.DETECTIONS:
                    progress.step()

            observer.listen(topic, received)
        pipeline = live.Pipeline((child,))
        live.await_active(observer, pipeline)
        sent = live.send(observer, pipeline, playback, out, subscribers=1)
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
