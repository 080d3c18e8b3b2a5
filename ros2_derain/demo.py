"""``ros2-derain demo``: the whole system on a real clip with rain, measured and shown.

Renders rain onto the clip and makes a bag of it, which is replayed live with the dry clip as references:
see :mod:`ros2_derain.replay.live`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import yaml

from ros2_derain import resources
from ros2_derain.bags import conversion
from ros2_derain.data.clips import Clip
from ros2_derain.data.images import write_image
from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.options import image_size, positive
from ros2_derain.overlay import mark_hidden
from ros2_derain.rain import Glass, Rain
from ros2_derain.rain_media.rendering import RainOverlay, rain_clip
from ros2_derain.replay.command import print_result
from ros2_derain.replay.criteria import Condition, Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.live import LiveSettings, replay_live
from ros2_derain.replay.output_folder import BAG, SUMMARY
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import Strip, Strips
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import finite
from ros2_derain.reporting.tables import percent
from ros2_derain.ros_testing import camera

GLASS = Glass(coverage=0.08, focus=4.0)
GLASS_FRAMES = 8
"""What is shown of water on the glass."""
CPU_FPS = 2.5
"""A pace at which two cores keep up with the clip that ships."""
FRAME_ID = "camera_optical"

EXAMPLES = f"""examples:
  ros2-derain demo
  ros2-derain demo --rate-mm-h 50 --out out/drizzle
  ros2-derain demo --device cuda --fps 25
  ros2-derain demo --clip my_clip --model models/mine

The folder --clip holds JPEG or PNG files and a clip.yaml with at least 'fps: 25'.
--out then holds what 'ros2-derain replay --live' writes; {BAG}/ is a bag of every topic, the camera's too.
Exit status: 0, or 1 when a frame is unaccounted for or could not be read, or an output
carries a stamp that the camera never sent."""

EVERY_FRAME_READ = Criterion("every frame is read", Condition("frames.unread", "==", 0))


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
        "--size", type=image_size, metavar="WxH", help="size of the images (default: the clip's)"
    )
    parser.add_argument("--model", help="a name that 'ros2-derain models' lists, or a model's folder")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--runtime", help="auto, torch, openvino, onnxruntime or tensorrt")
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
    source = Clip.open(args.clip or resources.path("samples/highway"), args.size)
    settings = _engine_settings(args)
    fps = args.fps or _pace(settings.device, source)
    frames = min(args.frames or len(source.files), len(source.files))
    height, width = source.read(0).shape[:2]
    live = LiveSettings(two_processes=args.two_processes, options=_run_options(args), inputs=camera.OUTPUTS)
    glass_strip, glass = _through_glass(source, settings)
    with tempfile.TemporaryDirectory(prefix="ros2_derain_") as folder:
        bag, references = _prepare(source, args.rate_mm_h, frames, fps, Path(folder))
        job = Job(
            bag,
            settings,
            references=str(references),
            title="Through the rain",
            description=(
                f"{args.rate_mm_h:g} mm/h of rain on the clip “{source.title}” ({width}×{height}), sent as a "
                f"camera over DDS at {fps:g} frames per second to the pipeline in "
                f"{'two processes' if args.two_processes else 'one process'}"
            ),
            planner=source.camera,
            known={"rain_mm_h": args.rate_mm_h},
        )
        summary = replay_live(job, args.out, live, [EVERY_FRAME_READ], force=True, beside=[glass_strip])
    summary["settings"]["references"] = source.source or source.title  # the folder was a temporary one
    summary["rain_rate_true"] = args.rate_mm_h
    summary["through_glass"] = glass
    summary["composed"] = not args.two_processes
    summary["clip"] = {
        "title": source.title,
        "source": source.source,
        "width": width,
        "height": height,
        "taken_at_fps": source.fps,
        "played_at_fps": fps,
    }
    write_json(args.out / SUMMARY, summary)
    print_result(summary, args.out)
    return 0 if summary["passed"] else 1


def _through_glass(source: Clip, settings: EngineSettings) -> tuple[Strips, dict]:
    """What the model makes of the clip through wet glass: a section of the report, and its figures.

    The last of a few consecutive frames: water on the glass is averaged over time.
    """
    engine = Engine.load(settings)
    wet = RainOverlay("glass", Rain(0.0), glass=GLASS)
    for index in range(min(GLASS_FRAMES, len(source.files))):
        time_s = index / source.fps
        view = wet.view(source.read(index), time_s)
        scene = engine.process(Frame(int(1e9 * (1 + time_s)), FRAME_ID, view.image))
    columns, images = ["camera", "clean"], [view.image, scene.image]
    figures = {
        "true_coverage": view.coverage,
        "coverage": finite(scene.view.coverage),
        "mode": scene.mode.value,
    }
    found = "the gauge of this model does not measure it"
    if scene.obstruction is not None:
        found = f"the gauge finds {percent(scene.view.coverage)} %"
        columns.append("What is hidden")
        images.append(mark_hidden(view.image, scene.obstruction))
    caption = f"{percent(view.coverage)} % of the view is covered, {found}; mode {scene.mode.value}"
    text = "The clip through rendered drops on the glass, without rain (ros2-derain rain --glass)."
    return Strips("Through wet glass", text, columns, [Strip(caption, images)]), figures


def _prepare(source: Clip, rate: float, frames: int, fps: float, folder: Path) -> tuple[Path, Path]:
    """A bag of the clip with rain, and a folder of its dry images in the same order."""
    rainy, dry, bag = folder / "rainy", folder / "dry", folder / source.folder.name
    dry.mkdir()
    with Progress("rendering rain", frames) as progress:
        rain_clip(source, rate, frames, rainy, progress.step)
    for index in range(frames):
        write_image(dry / f"{index:06d}.png", source.read(index), fast=True)
    sent = conversion.NewCamera("/image", FRAME_ID, fps, time.time_ns())
    conversion.from_files(sorted(rainy.iterdir()), sent, False, bag, lambda: None)
    return bag, dry


def _run_options(args: argparse.Namespace) -> list[str]:
    """What is passed on to ``ros2-derain run``."""
    named = {"--params-file": args.params_file, "--model": args.model, "--device": args.device}
    named["--runtime"] = args.runtime
    return [part for name, value in named.items() if value is not None for part in (name, str(value))]


def _engine_settings(args: argparse.Namespace) -> EngineSettings:
    """The model, device and runtime of the nodes: by option, else by the parameter file."""
    path = args.params_file or resources.path("config/pipeline.yaml")
    given: dict = {}
    for node in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).values():
        given |= node.get("ros__parameters", {})
    chosen = {name: getattr(args, name) or given.get(name) for name in ("model", "device", "runtime")}
    return EngineSettings(**{name: value for name, value in chosen.items() if value})


def _pace(device: str, source: Clip) -> float:
    import torch

    on_cuda = device not in ("auto", "cpu") or (device == "auto" and torch.cuda.is_available())
    return source.fps if on_cuda else CPU_FPS
