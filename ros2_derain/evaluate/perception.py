"""``ros2-derain evaluate perception``: what rain costs perception and what the loop recovers.

A folder of consecutive labelled images is played as a clip with rain of several rates rendered onto
it. A row is one rate and one parser input:

* ``dry``, ``rain``: the camera's image,
* ``temporal``, ``none``, ``closed_loop x3``: the image that the loop restored,
* ``NAME: rain``, ``NAME: derained``: a further parser on the camera's image, or on the one that the
  loop restored without that parser (prior ``none``).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, options
from ros2_derain.engine import Engine, Interpreter, Perception
from ros2_derain.evaluate import EvaluationError, conditions, evaluation
from ros2_derain.evaluate.conditions import OWN, ConditionGrid, PerceptionSetup, box_rows
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.gate import correlation_tile
from ros2_derain.evaluate.labelled_clip import LabelledClip
from ros2_derain.evaluate.scores import SCORE
from ros2_derain.nodes import overlay
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Section, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress

MIN_SCORE = 0.01
"""Threshold on the scores of boxes for average precision."""
MAX_LINES = 8
"""Lines of a chart besides the reference."""
LEAD_IN = 4
"""Frames before the one that is shown, for the loop's memory."""
OPACITY = 0.45

EPILOG = """example, CamVid's labelled 15 Hz clip:
  ros2-derain evaluate perception --images DATA/camvid/val/images --labels DATA/camvid/val/labels \\
      --classes DATA/camvid/classes.json --boxes DATA/boxes/camvid_from_masks \\
      --rates 0,50,150,250 --prior temporal,closed_loop,none --iterations 1,2,3 \\
      --parser clean=runs/clean-parser --json out/camvid.json --html out/camvid.html

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
    parser.add_argument(
        "--images", type=Path, required=True, help="folder of consecutive images, or of a whole dataset"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="DIR", help="label PNGs of equal stems, or of Cityscapes or VOC"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the label ids (default: the model's classes)"
    )
    parser.add_argument("--void", type=int, help="label id that means unlabelled (default: 11)")
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="PATH",
        help="folder of boxes.csv and images.csv, of YOLO or VOC files, or a COCO file",
    )
    parser.add_argument(
        "--rates", type=options.rates, default=(0.0, 150.0), help="mm/h, comma-separated (default: 0,150)"
    )
    parser.add_argument(
        "--seed", type=options.seeds, default=(1,), help="of the rain; 1,2,3: mean and spread"
    )
    parser.add_argument(
        "--prior",
        type=engine_options.priors,
        default=("temporal",),
        help="of the loop, comma-separated (default: temporal)",
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
    parser.add_argument("--frames", type=options.positive(int), help="only the first N images")
    parser.add_argument("--no-gate", action="store_true", help="derain dry frames too")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every condition; returns the exit status."""
    evaluation.run(
        PerceptionInRain.open(args), args.json, options.report_path(args), args.card and args.model
    )
    return 0


@dataclass(frozen=True)
class PerceptionInRain(Evaluation):
    """A model on a labelled clip in rendered rain.

    Attributes:
        setup: model and clip.
        grid: the conditions.
    """

    setup: PerceptionSetup
    grid: ConditionGrid

    @classmethod
    def open(cls, args: argparse.Namespace) -> PerceptionInRain:
        """Model and data of the options of :func:`add_arguments`; raises as :func:`open_setup`."""
        setup = open_setup(args)
        priors = args.prior
        if args.parser and "none" not in priors:  # a further parser needs an image that no prior changed
            priors = (*priors, "none")
        grid = ConditionGrid(args.rates, args.seed, conditions.restored_inputs(priors, args.iterations))
        settings = {
            "rates": list(args.rates),
            "seeds": list(args.seed),
            "prior": list(args.prior),
            "iterations": list(args.iterations),
            "gate": not args.no_gate,
            "fps": args.fps,
            "void": args.void,
            "parsers": {name: parser.identity.sha256 for name, parser in setup.parsers.items()},
        }
        data = _describe_data(args, setup)
        head = evaluation.describe_run("perception", data, settings, setup.engine.identity)
        return cls(head, setup.clip.note, setup, grid)

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: a row for each rate, input and parser, and the gate readings."""
        length, cases, measured = len(self.setup.clip), list(self.grid), {}
        with Progress("frames", len(cases) * length) as progress:
            for case in cases:
                if case.key in cache:
                    progress.step(length)
                measured[case] = cache.get(
                    case.key, partial(conditions.measure, self.setup, case, progress.step)
                )
        return {
            **self.provenance,
            "frames": length,
            "rows": self.grid.rows(measured),
            "gauge": self.grid.gauge(measured),
        }

    def card_rows(self, result: Mapping) -> list[dict]:
        """See :meth:`Evaluation.card_rows`: without the figures of each class and the spread."""
        left_out = ("iou", "accuracy", "spread")
        return [{key: value for key, value in row.items() if key not in left_out} for row in result["rows"]]

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        parts = [tables.table(result["rows"])]
        by_class = box_rows(result["rows"])
        if by_class:
            parts.append(tables.table(by_class))
        gauge = result["gauge"]
        correlation = tables.number(gauge["spearman"], 3)
        parts.append(f"rain gauge and gate ({gauge['way']}); estimated and true rate: Spearman {correlation}")
        parts.append(tables.table(gauge["rates"]))
        return "\n\n".join(parts)

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: tables, charts over the rain rate, and an image of every rate."""
        rows, loop = result["rows"], self.grid.inputs[0].name
        heaviest = max(self.grid.rates)
        by_name = {(row["rate_mm_h"], row["input"]): row for row in rows}
        dry, restored = by_name[0.0, "dry"], by_name[heaviest, loop]
        rain = by_name.get((heaviest, "rain"), dry)
        dry_miou, rain_miou, loop_miou = (tables.percent(row["miou"]) for row in (dry, rain, restored))
        sections: list[Section] = [self._strips(), _chart(rows, "miou", "mIoU")]
        if "ap50" in dry:
            sections.append(_chart(rows, "ap50", "AP50"))
        sections += [
            Table("Every row", "", *tables.cells(rows)),
            Table("Rain gauge and gate", "", *tables.cells(result["gauge"]["rates"])),
            _classes(rows),
        ]
        if "ap50" in dry:
            sections.append(Table("Boxes of each class", "", *tables.cells(box_rows(rows))))
        return Report(
            title="Perception in rain",
            subtitle=evaluation.model_on(
                result, f"{result['frames']} frames of {result['data']['name']}, rain rendered"
            ),
            verdict=(
                f"At {heaviest:g} mm/h mIoU is {rain_miou} % in the rain and {loop_miou} % in the loop "
                f"({loop}); dry it is {dry_miou} %."
            ),
            tiles=[
                Tile("mIoU dry", f"{dry_miou} %"),
                Tile(f"mIoU at {heaviest:g} mm/h", f"{loop_miou} %", f"rain {rain_miou} %"),
                correlation_tile(result["gauge"]["spearman"]),
            ],
            sections=sections,
        )

    def _strips(self) -> Strips:
        names = self.setup.engine.identity.class_names
        return Strips(
            title="The middle of the clip",
            text=f"Restored and parsed by the loop ({self.grid.inputs[0].name}).",
            columns=("Rainy input", "Clean output", "Classes and detections"),
            strips=list(self._examples()),
            legend=[(name, overlay.colour(name)) for name in names],
        )

    def _examples(self) -> Iterator[Strip]:
        setup, engine = self.setup, self.setup.engine
        setup.use(self.grid.inputs[0])
        middle = len(setup.clip) // 2
        for rate in self.grid.rates:
            engine.reset()
            rain = RainOverlay.of_rate(rate, self.grid.seeds[0])
            for index in range(max(0, middle - LEAD_IN), middle + 1):
                sample = setup.clip[index]
                rainy = rain.render(sample.image, sample.time_s)
                scene, perception = evaluation.process(engine, rainy, sample.path, sample.time_s)
            drawn = _drawn(scene.image, perception, engine.identity.class_names)
            yield Strip(f"{rate:g} mm/h", (rainy, scene.image, drawn))


def open_setup(args: argparse.Namespace) -> PerceptionSetup:
    """Model, further parsers and data.

    Raises:
        EvaluationError: an option or a file is wrong; the message names it.
    """
    scores = {"score_threshold": MIN_SCORE} if args.boxes else {}
    engine = Engine.load(engine_options.settings(args, gate=not args.no_gate, **scores))
    identity = engine.identity
    paths = (args.images, args.labels, args.boxes, args.classes)
    clip = LabelledClip.open(*paths, args.void, identity, args.fps, args.frames)
    return PerceptionSetup(engine, dict(_parsers(args, engine, scores)), clip, clip.boxes)


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


def _describe_data(args: argparse.Namespace, setup: PerceptionSetup) -> dict:
    files = setup.clip.files
    if args.boxes:
        csv = [args.boxes / "images.csv", args.boxes / "boxes.csv"]
        files += csv if csv[0].is_file() else [args.boxes] if args.boxes.is_file() else []
    if args.classes:
        files.append(args.classes)
    return evaluation.describe_data(args.images.resolve().parent, files)


def _chart(rows: Sequence[Mapping], key: str, name: str) -> Curve:
    """A line for each parser input in percent, rain as the reference; dry is drawn at 0 mm/h."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value = math.nan if row.get(key) is None else 100 * row[key]
        label = row["input"].replace("dry", "rain")
        lines.setdefault(label, []).append((row["rate_mm_h"], value))
    reference = lines.pop("rain")
    series = [_line("rain", reference, reference=True)]
    series += [_line(label, points) for label, points in list(lines.items())[:MAX_LINES]]
    return Curve(f"{name} over the rain rate", "", Axis("rain rate", "mm/h"), Axis(name, "%"), series)


def _line(name: str, points: Sequence[tuple[float, float]], reference: bool = False) -> Series:
    return Series(name, [x for x, _ in points], [y for _, y in points], reference)


def _classes(rows: Sequence[Mapping]) -> Table:
    names = list(rows[0]["iou"])
    cells = [
        [f"{row['rate_mm_h']:g}", row["input"], *(tables.percent(row["iou"][name]) for name in names)]
        for row in rows
    ]
    return Table("IoU of each class, %", "", ["mm/h", "parser input", *names], cells)


def _drawn(image: np.ndarray, perception: Perception, names: Sequence[str]) -> np.ndarray:
    confident = tuple(box for box in perception.detections if box.score >= SCORE)
    return overlay.draw(image, replace(perception, detections=confident), names, OPACITY)
