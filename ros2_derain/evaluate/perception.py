"""``ros2-derain evaluate perception``: what rain costs perception and what the loop recovers.

A folder of consecutive labelled images is played as a clip with rain of several rates rendered onto
it. A row is one rate and one parser input:

* ``dry``, ``rain``: the camera's image,
* ``temporal``, ``none``, ``closed_loop x3``: the image that the loop restored,
* ``NAME: rain``, ``NAME: derained``: a further parser on the camera's image, or on the one that the
  loop restored without that parser (prior ``none``).

Stills, such as labelled frames of real weather, are processed one by one, and have rows for each
group of them; the camera's image is called ``input``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from ros2_derain import engine_options, options
from ros2_derain.engine import Engine, Interpreter
from ros2_derain.evaluate import EvaluationError, conditions, evaluation
from ros2_derain.evaluate.conditions import OWN, ConditionGrid, PerceptionSetup
from ros2_derain.evaluate.evaluation import Evaluation
from ros2_derain.evaluate.labelled_clip import LabelledClip
from ros2_derain.evaluate.labelled_files import LabelledFiles, add_files
from ros2_derain.evaluate.labelled_stills import LabelledStills
from ros2_derain.evaluate.perception_in_rain import PerceptionInRain

MIN_SCORE = 0.01
"""Threshold on the scores of boxes for average precision."""

EPILOG = """example, CamVid's labelled 15 Hz clip:
  ros2-derain evaluate perception --images DATA/camvid/val/images --labels DATA/camvid/val/labels \\
      --classes DATA/camvid/classes.json --boxes DATA/boxes/camvid_from_masks \\
      --rates 0,50,150,250 --prior temporal,closed_loop,none --iterations 1,2,3 \\
      --parser clean=runs/clean-parser --json out/camvid.json --html out/camvid.html

Real frames, by a column of their index, and boxes alone, both without rendered rain:
  ros2-derain evaluate perception --images D/images --labels D/labels --classes D/classes.json \\
      --index D/index.csv --by condition --height-scale 1.125 --rates 0 --json out/weather.json
  ros2-derain evaluate perception --images DATA/boxes/dawn_fog --stills --rates 0 --json out/fog.json

A drive that was left out of training, and every fourth image of each condition but rain:
  ros2-derain evaluate perception --images DATA/camvid/train --stills --select '0001TP*' --rates 0
  ros2-derain evaluate perception --images D --index D/index.csv --by condition --every 4 \\
      --only condition=fog,snow,night --height-scale 1.125 --rates 0

mIoU: mean over the classes that occur in the truth or in the prediction, of all pixels of the row.
recovery = (AP50 of the row - AP50 of rain) / (AP50 of dry - AP50 of rain). Precision, recall and
IoU of boxes: at an overlap of 0.6 and a score of 0.3. Spearman's correlation is that of the
estimated and the rendered rain rate over all frames of all rates; equal rates share a rank, so that
it cannot exceed 0.87 with two rates, 0.97 with four, 0.99 with eight.

A whole dataset in the layout of Cityscapes, VOC, CamVid, YOLO, COCO or CSV boxes (docs/training.md)
needs --images only; of its splits val is taken. Classes are mapped by their names.

flicker: share of pixels, followed along the motion of the clean clip, whose label changes although
the true one does not. warp: mean squared change of such a pixel's colour (0..1), in thousandths."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "What rain costs perception on a labelled clip, and what the loop recovers."
    parser.epilog = EPILOG
    add_files(parser)
    parser.add_argument(
        "--rates", type=options.rates, default=(0.0, 150.0), help="mm/h, comma-separated (default: 0,150)"
    )
    parser.add_argument(
        "--seed", type=options.seeds, default=(1,), help="of the rain; 1,2,3: mean and spread"
    )
    parser.add_argument(
        "--prior",
        type=engine_options.priors,
        help="of the loop, comma-separated (default: temporal; of stills closed_loop)",
    )
    parser.add_argument(
        "--iterations",
        type=engine_options.iterations,
        default=(3,),
        help="of closed_loop, such as 1,2,3 (default: 3)",
    )
    parser.add_argument(
        "--parser",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="another model's parser of the same classes, on the rainy and the derained image",
    )
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument("--no-gate", action="store_true", help="derain dry frames too")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every condition; returns the exit status."""
    evaluation.run(open_evaluation(args), args.json, options.report_path(args), args.card and args.model)
    return 0


def open_evaluation(args: argparse.Namespace) -> Evaluation:
    """Model and data of the options of :func:`add_arguments`.

    Raises:
        EvaluationError: an option or a file is wrong; the message names it.
    """
    files = LabelledFiles.of(args)
    scores = {"score_threshold": MIN_SCORE}
    engine = Engine.load(engine_options.settings(args, gate=not args.no_gate, **scores))
    clip = LabelledClip.open(files, engine.identity, args.fps)
    setup = PerceptionSetup(engine, dict(_parsers(args, engine, scores)), clip, clip.boxes)
    given = args.prior or (("closed_loop",) if files.stills else ("temporal",))
    # A further parser needs an image that no prior changed.
    priors = (*given, "none") if args.parser and "none" not in given else given
    grid = ConditionGrid(args.rates, args.seed, conditions.restored_inputs(priors, args.iterations))
    settings = {
        "rates": list(args.rates),
        "seeds": list(args.seed),
        "prior": list(given),
        "iterations": list(args.iterations),
        "gate": not args.no_gate,
        "fps": args.fps,
        "parsers": {name: parser.identity.sha256 for name, parser in setup.parsers.items()},
        **files.settings,
    }
    data = evaluation.describe_data(files.folder, [*clip.files, *files.further])
    head = evaluation.describe_run("perception", data, settings, engine.identity)
    return (LabelledStills if files.stills else PerceptionInRain)(head, clip.note, setup, grid)


def _parsers(args: argparse.Namespace, engine: Engine, scores: Mapping) -> Iterator[tuple[str, Interpreter]]:
    identity, names = engine.identity, set()
    for text in args.parser:
        name, _, model = text.partition("=")
        if not (name and model) or name in names or name == OWN:
            raise EvaluationError(
                f"--parser {text!r}: expected NAME=MODEL, each NAME once and none called {OWN}"
            )
        names.add(name)
        parser = Interpreter.load(
            engine_options.settings(argparse.Namespace(**{**vars(args), "model": model}), **scores)
        )
        other = parser.identity
        if (other.class_names, other.object_names) != (identity.class_names, identity.object_names):
            raise EvaluationError(
                f"--parser {text}: its classes are not those of {identity.name}: "
                f"{', '.join(other.class_names)}; boxes: {', '.join(other.object_names)}"
            )
        yield name, parser
