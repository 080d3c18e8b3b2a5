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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ros2_derain import environment, resources
from ros2_derain.evaluation import clip, live, machine
from ros2_derain.evaluation.clip import Clip
from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.evaluation.measure import percentiles, stages
from ros2_derain.evaluation.progress import Progress

RATE_MM_H = 150.0
WARM = 5
"""First frames, which are left out."""
LOAD = 0.6
"""The camera's rate as a share of what the engine alone can do."""
PRIORS = ("temporal", "closed_loop", "none")

EXAMPLES = """examples:
  ros2-derain bench --size 640x360
  ros2-derain bench --size 1280x720 --frames 200 --json out/bench.json
  ros2-derain bench --size 1920x1080 --device cuda --prior closed_loop --iterations 3
  ros2-derain bench --engine-only

The overhead is the p50 from the camera's stamp to reception in this process, less the
p50s of the engine's stages in that run. Every frame is derained: the rain gate is off."""


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
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
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
            "",
            f"overhead of ROS 2, p50: {whole['overhead_ms']['image']:.1f} ms to the clean image, "
            f"{whole['overhead_ms']['detections']:.1f} ms to the detections",
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
    from ros2_derain.engine import Engine, EngineSettings, Frame
    from ros2_derain.nodes.camera import read_folder

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
    from ros2_derain.nodes import topics
    from ros2_derain.nodes.observer import Observer
    from ros2_derain.nodes.recorder import stamp_of

    heard = {topics.CLEAN_IMAGE: {}, topics.DETECTIONS: {}}
    playback = live.Playback(rainy, LOAD * engine_fps, args.frames + WARM)
    options = subject.parameters(*args.size)
    with (
        live.Pipeline.start(options, out) as pipeline,
        Observer() as observer,
        Progress("end to end", playback.frames) as progress,
    ):
        for topic, delays in heard.items():

            def received(time_ns: int, data: bytes, topic=topic, delays=delays) -> None:
                stamp = stamp_of(data)
                delays[stamp] = (time_ns - stamp) / 1e6
                if topic is topics.DETECTIONS:
                    progress.step()

            observer.listen(topic, received)
        live.await_active(observer, pipeline)
        sent = live.send(observer, pipeline, playback, out, subscribers=1)
        status = dict(observer.status)
    measured = list(sent)[WARM:]
    clean, detections = (
        [delays[stamp] for stamp in measured if stamp in delays] for delays in heard.values()
    )
    if not detections:
        raise EvaluationError("no detections came out of the pipeline: run 'ros2-derain demo' to see why")
    return _compared(status, playback, len(measured), clean, detections)


def _compared(
    status: dict, playback: live.Playback, sent: int, clean: Sequence[float], detections: Sequence[float]
) -> dict:
    """Latencies of the whole way beside those of the engine's stages in the same run."""
    restoring, parsing = (stages(status[node].numbers("latency_ms.")) for node in live.NODES)
    engine = {"gate": restoring["gate"], "derain": restoring["derain"], "parse": parsing["parse"]}
    whole = {"end_to_end_image": percentiles(clean), "end_to_end_detections": percentiles(detections)}
    before_image = engine["gate"]["p50"] + engine["derain"]["p50"]
    return {
        "camera_fps": round(playback.fps, 2),
        "frames_in": sent,
        "frames_out": len(detections),
        "latency_ms": engine | whole,
        "overhead_ms": {
            "image": round(whole["end_to_end_image"]["p50"] - before_image, 2),
            "detections": round(
                whole["end_to_end_detections"]["p50"] - before_image - engine["parse"]["p50"], 2
            ),
        },
    }
