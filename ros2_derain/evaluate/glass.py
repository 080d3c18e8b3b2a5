"""``ros2-derain evaluate glass``: is water on the glass seen, and what does restoring win back?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ros2_derain import engine_options, options
from ros2_derain.data import RainPairs
from ros2_derain.data.images import left_out_note, list_images
from ros2_derain.engine import Engine, LoadedModel
from ros2_derain.evaluate import EvaluationError, evaluation
from ros2_derain.evaluate.evaluation import Evaluation
from ros2_derain.evaluate.gate import FALSE_COVERAGE
from ros2_derain.evaluate.glass_clip import CAMERAS, DRY, LOOPS, GlassOnClip, GlassPass
from ros2_derain.evaluate.glass_pairs import GlassPairs
from ros2_derain.evaluate.labelled_clip import LabelledClip
from ros2_derain.evaluate.labelled_files import LabelledFiles, add_label_maps
from ros2_derain.rain import Glass, Rain
from ros2_derain.rain_media.glass_options import AUTO, add_glass_options, asks_for_glass, glasses
from ros2_derain.rain_media.rendering import RainOverlay

SEED = 16001
"""Of the glass; training draws its own."""

DROPS = ("drizzle_windscreen", "heavy_windscreen", "parked", "dome")
COVERAGES = ("0.02", "0.05", "0.1", "0.2")
VEILS = ("film", "spray")
"""The default glasses: the presets :data:`DROPS`, each with all of :data:`COVERAGES`, and the presets
:data:`VEILS` as they are."""

EPILOG = f"""examples:
  ros2-derain evaluate glass --images DATA/camvid/val/images --labels DATA/camvid/val/labels \\
      --classes DATA/camvid/classes.json --still --json out/glass.json
  ros2-derain evaluate glass --images DATA/sequences/highway_white_right --fps 25 --glass 0.05,0.2 --focus 0,6
  ros2-derain evaluate glass --pairs DATA/glass_drops/synthetic_evocargo --json out/drops.json

--images plays consecutive dry images as a clip, first dry, then through each glass: the drops stand
still, the scene moves behind them. Default glasses: the presets {", ".join(DROPS)},
each with coverages {", ".join(COVERAGES)}; {" and ".join(VEILS)} as they are.
Rows are the parser on the camera's image (input), and the loop with its memory and without: before
every frame it forgets all earlier ones. --still adds rows of the clip's middle image, repeated.

--pairs scores images that someone else wetted: rain/1.png, clean/1.png, mask/1.png (255 = hidden), or
another layout of pairs with a folder mask/; each image on its own.

glass %: share of the image that is more than half hidden, true and as the gauge sees it; its error is
the mean absolute one. Mask IoU: of all pixels of the row that are more than half hidden. hidden dB,
visible dB: PSNR of the pixels that truly are hidden, and of the others, by the mean squared error over
all frames. false %: share of frames in which nothing is hidden and more than {100 * FALSE_COVERAGE:g} %
is seen. flagged: frames whose coverage opens the gate. Spearman: true and seen coverage of all frames,
dry ones included. mIoU recovery = (mIoU of the row - mIoU of input) / (mIoU of the dry input - mIoU of
input). The rows of all glass are means over those of the glasses."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Water on the glass: what of it the gauge sees, and what restoring wins back."
    parser.epilog = EPILOG
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of consecutive dry images")
    source.add_argument("--pairs", type=Path, metavar="DIR", help="folder of rain/, clean/ and mask/")
    add_label_maps(parser)
    add_glass_options(parser, each="one pass over the clip each")
    parser.add_argument(
        "--seed", type=options.seeds, help=f"of the glass; 1,2,3: mean of them (default: {SEED})"
    )
    parser.add_argument(
        "--memory",
        type=_memories,
        default=tuple(LOOPS),
        help="of the loop: on, off or both (default: on,off)",
    )
    parser.add_argument("--still", action="store_true", help="also a camera that stands still")
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument(
        "--prior",
        type=engine_options.one_prior,
        help="of the loop (default: temporal; with --pairs closed_loop)",
    )
    engine_options.add_iterations(parser)
    parser.add_argument("--no-gate", action="store_true", help="restore dry frames too")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure everything; returns the exit status."""
    test = _open_pairs(args) if args.pairs else _open_clip(args)
    evaluation.run(test, args.json, options.report_path(args), args.card and args.model)
    return 0


def _open_clip(args: argparse.Namespace) -> Evaluation:
    files = LabelledFiles(args.images, args.labels, classes=args.classes, void=args.void, frames=args.frames)
    prior, seeds = args.prior or "temporal", args.seed or (SEED,)
    settings = engine_options.settings(args, prior=prior, iterations=args.iterations, gate=not args.no_gate)
    model = LoadedModel.load(settings)
    engines = {LOOPS[memory]: Engine.of(model, settings) for memory in args.memory}
    clip = LabelledClip.open(files, model.identity, args.fps)
    chosen = _glasses(args)
    used = {
        "glasses": {label: asdict(glass) for label, glass in chosen},
        "seeds": list(seeds),
        "memory": list(args.memory),
        "still": args.still,
        "fps": args.fps,
        "prior": prior,
        "iterations": args.iterations,
        "gate": settings.gate,
    }
    data = evaluation.describe_data(files.folder, [*clip.files, *files.further])
    head = evaluation.describe_run("glass", data, used, model.identity)
    passes = [
        GlassPass(camera, RainOverlay(label, Rain(0.0), seed, glass))
        for camera in CAMERAS[: 2 if args.still else 1]
        for label, glass in ((DRY, None), *chosen)
        for seed in (seeds if glass else seeds[:1])
    ]
    return GlassOnClip(head, clip.note, engines, clip, passes)


def _open_pairs(args: argparse.Namespace) -> Evaluation:
    of_clips = ("labels", "classes", "seed", "still")
    if asks_for_glass(args) or any(getattr(args, option) for option in of_clips):
        raise EvaluationError(
            "--pairs are wet already: leave out --labels, --classes, --seed, --still and the options of glass"
        )
    prior = args.prior or "closed_loop"
    used = {"prior": prior, "iterations": args.iterations, "gate": not args.no_gate}
    engine = Engine.load(engine_options.settings(args, **used))
    pairs = RainPairs(args.pairs).selected(None, None, args.frames)
    pairs, left_out = pairs.usable()
    masks = {path.stem: path for path in list_images(args.pairs / "mask")}
    if lacking := [name for name in pairs.names if name not in masks]:
        raise EvaluationError(f"{args.pairs / 'mask'} has no mask of {lacking[0]}: add {lacking[0]}.png")
    files = [path for both in pairs.files for path in both] + [masks[name] for name in pairs.names]
    head = evaluation.describe_run(
        "glass", evaluation.describe_data(args.pairs, files), used, engine.identity
    )
    return GlassPairs(head, left_out_note(left_out, len(left_out) + len(pairs)), engine, pairs, masks)


def _glasses(args: argparse.Namespace) -> list[tuple[str, Glass]]:
    """Label and glass of each pass but the dry one.

    Raises:
        EvaluationError: two of them are equal, or ``auto`` is asked for.
    """
    if AUTO in (args.glass or ()):
        raise EvaluationError(f"--glass {AUTO} follows the rain, and none is rendered here: give a coverage")
    if asks_for_glass(args):
        found = glasses(args, rate=0.0)
    else:
        found = [*_presets(args, DROPS, COVERAGES), *_presets(args, VEILS, None)]
    wet = [(label, glass) for label, glass in found if glass and glass.is_wet]
    if len({label for label, _ in wet}) < len(wet):
        raise EvaluationError("a glass is asked for twice: give each value of its options once")
    return wet


def _presets(
    args: argparse.Namespace, names: Sequence[str], coverages: Sequence[str] | None
) -> list[tuple[str, Glass | None]]:
    chosen = {**vars(args), "glass_preset": ",".join(names), "glass": coverages}
    return glasses(argparse.Namespace(**chosen), rate=0.0)


def _memories(text: str) -> tuple[str, ...]:
    return options.several(text, "--memory", lambda part: options.one_of(part, "--memory", tuple(LOOPS)))
