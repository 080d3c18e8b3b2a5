"""``ros2-derain demo``: the whole system on a real clip with rain, measured and shown.

A camera process plays the rainy clip over DDS to the pipeline's process or processes;
this one records every topic and then works out what the recording is worth.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from ros2_derain import environment, resources
from ros2_derain.bags.reader import BagReader
from ros2_derain.data.clips import Clip, parse_size
from ros2_derain.demo import report
from ros2_derain.demo.measure import CLEAN, Measured, measure
from ros2_derain.demo.summary import summarise
from ros2_derain.errors import EvaluationError
from ros2_derain.options import positive
from ros2_derain.rain_media.rendering import rain_clip
from ros2_derain.reporting import page
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.progress import Progress
from ros2_derain.ros_testing import pipeline_processes

SHOWN = 4
"""Frames whose pictures are in the report."""

CPU_FPS = 2.5
"""A pace at which two cores keep up with the clip that ships."""

EXAMPLES = """examples:
  ros2-derain demo
  ros2-derain demo --rate-mm-h 50 --out out/drizzle
  ros2-derain demo --device cuda --fps 25
  ros2-derain demo --clip my_clip --model models/mine

The folder --clip holds JPEG or PNG files and a clip.yaml with at least 'fps: 25'.
Exit status: 0, or 1 when a frame is unaccounted for or an output carries a stamp
that the camera never sent."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Play a clip with rain as a camera over DDS through the pipeline; write a bag of every topic, "
        "summary.json and report.html."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="folder of the results (default: %(default)s)"
    )
    parser.add_argument(
        "--rate-mm-h", type=float, default=150.0, help="rain rate (default: %(default)g, a cloudburst)"
    )
    parser.add_argument(
        "--fps",
        type=positive(float),
        help=f"frames per second that the camera sends (default: the clip's on CUDA, else {CPU_FPS:g})",
    )
    parser.add_argument("--frames", type=positive(int), help="how many (default: the whole clip)")
    parser.add_argument("--clip", type=Path, help="another clip than the one that ships")
    parser.add_argument(
        "--size", type=parse_size, metavar="WxH", help="size of the pictures (default: the clip's)"
    )
    parser.add_argument("--model", help="a name that 'ros2-derain models' lists, or a model's folder")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--two-processes",
        action="store_true",
        help="run the nodes apart, with the exchange between them over topics",
    )
    parser.add_argument(
        "--params-file", type=Path, help="parameters of both nodes (default: config/pipeline.yaml)"
    )


def main(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    environment.isolate()
    source = Clip.open(args.clip or resources.path("samples/highway"), args.size)
    args.fps = args.fps or _pace(args.device, source)
    frames = min(args.frames or len(source.files), len(source.files))
    args.out.mkdir(parents=True, exist_ok=True)
    _clear(args.out)
    run, ended = _play(args, source, frames)
    with BagReader(args.out / "bag", namespace="") as recording:
        measured = _measure(recording, source, run)
        summary = summarise(run, measured, recording, ended, args.rate_mm_h)
    height, width = source.read(0).shape[:2]
    summary["composed"] = not args.two_processes
    summary["clip"] = {
        "title": source.title,
        "source": source.source,
        "width": width,
        "height": height,
        "taken_at_fps": source.fps,
        "played_at_fps": args.fps,
    }
    write_json(args.out / "summary.json", summary)
    page.write(report.build(summary, measured, run), args.out / "report.html")
    _print(summary, args.out)
    return 1 if summary["problems"] else 0


def _play(
    args: argparse.Namespace, source: Clip, frames: int
) -> tuple[pipeline_processes.Run, dict[str, int]]:
    """Start the pipeline, make the rainy clip while it loads, and play; exit statuses by process."""
    with (
        tempfile.TemporaryDirectory(prefix="ros2_derain_") as folder,
        pipeline_processes.Pipeline.start(
            _run_options(args, source), args.out, args.two_processes
        ) as pipeline,
    ):
        with Progress("rendering rain", frames) as progress:
            rain_clip(source, args.rate_mm_h, frames, Path(folder), progress.step)
        with Progress("frames through the pipeline", frames) as progress:
            playback = pipeline_processes.Playback(Path(folder), args.fps, frames)
            run = pipeline_processes.play(pipeline, playback, args.out, progress.step)
        return run, pipeline.stop()


def _run_options(args: argparse.Namespace, source: Clip) -> list[str]:
    """The options for ``ros2-derain run``."""
    given = []
    for option, value in (
        ("--params-file", args.params_file),
        ("--model", args.model),
        ("--device", args.device),
    ):
        if value is not None:
            given += [option, str(value)]
    height, width = source.read(0).shape[:2]
    return [*given, "--ros-args", "-p", f"warmup_width:={width}", "-p", f"warmup_height:={height}"]


def _measure(recording: BagReader, source: Clip, run: pipeline_processes.Run) -> Measured:
    recorded = {message.stamp_ns for message in recording.messages([CLEAN])}
    out = [stamp for stamp in run.sent if stamp in recorded]
    shown = {out[round(k * (len(out) - 1) / (SHOWN - 1))] for k in range(SHOWN)} if out else set()
    with Progress("measuring", max(1, len(out))) as progress:
        return measure(
            recording,
            lambda stamp: source.read(run.sent[stamp]) if stamp in run.sent else None,
            shown,
            progress.step,
        )


def _clear(out: Path) -> None:
    """Remove an earlier run's results, and nothing else."""
    bag = out / "bag"
    if bag.exists():
        foreign = [
            path.name for path in bag.iterdir() if path.suffix != ".mcap" and path.name != "metadata.yaml"
        ]
        if foreign:
            raise EvaluationError(f"{bag} holds {foreign[0]}, which is no part of a bag: name another --out")
        shutil.rmtree(bag)
    for name in ("summary.json", "report.html", "sent.csv"):
        (out / name).unlink(missing_ok=True)
    for process in ("camera", "pipeline", "autostart", *pipeline_processes.NODES):
        (out / f"{process}.log").unlink(missing_ok=True)


def _print(summary: dict, out: Path) -> None:
    for problem in summary["problems"]:
        print(f"PROBLEM: {problem}")
    print(report.verdict(summary))
    print(f"report:  {out / 'report.html'}\nsummary: {out / 'summary.json'}\nbag:     {out / 'bag'}")


def _pace(device: str | None, source: Clip) -> float:
    import torch

    on_cuda = device not in (None, "auto", "cpu") or (device != "cpu" and torch.cuda.is_available())
    return source.fps if on_cuda else CPU_FPS
