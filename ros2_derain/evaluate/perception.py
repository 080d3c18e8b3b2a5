"""``ros2-derain evaluate perception``: what rain costs perception and what the loop gives back.

A folder of consecutive labelled pictures is played as a clip with rain of several rates
rendered onto it. A row is one rate and one way to come to what the parser is fed:

* ``dry``, ``rain``: what the camera sees,
* ``temporal``, ``none``, ``closed_loop x3``: what the loop restored,
* ``NAME: rain``, ``NAME: derained``: a further parser, fed the rain or what the loop
  restored without it (prior ``none``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ros2_derain import engine_options, models, options, provenance
from ros2_derain.engine import Engine, Interpreter
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate import conditions, labelled_clip, perception_report
from ros2_derain.evaluate.conditions import OWN, Subject, Way
from ros2_derain.evaluate.plan import Plan, box_rows
from ros2_derain.evaluate.result_cache import Journal
from ros2_derain.options import positive
from ros2_derain.reporting import tables
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import write
from ros2_derain.reporting.progress import Progress

LEAST_SCORE = 0.01
"""Threshold on the scores of boxes whose average precision is taken."""

EPILOG = """example, CamVid's labelled 15 Hz clip:
  ros2-derain evaluate perception --images DATA/camvid/val/images --labels DATA/camvid/val/labels \\
      --classes DATA/camvid/classes.json --boxes DATA/boxes/camvid_from_masks \\
      --rates 0,50,150,250 --prior temporal,closed_loop,none --iterations 1,2,3 \\
      --parser clean=runs/clean-parser --json out/camvid.json --html out/camvid.html

recovery = (AP50 of the row - AP50 of rain) / (AP50 of dry - AP50 of rain). Precision, recall and
IoU of boxes: at an overlap of 0.6 and a score of 0.3. Spearman's correlation is that of the rain
rate that the gauge reads and the rendered one, over all frames of all rates; equal rates share a
rank, so that it cannot exceed 0.87 with two rates, 0.97 with four, 0.99 with eight.

flicker: share of pixels, followed along the motion of the clean clip, whose label changes although
the true one does not. warp: mean squared change of such a pixel's colour (0..1), in thousandths."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "What rain costs perception on a labelled clip, and what the loop gives back."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive pictures")
    parser.add_argument(
        "--labels", type=Path, required=True, help="folder of 8-bit label PNGs of equal stems"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the label ids (default: the model's classes)"
    )
    parser.add_argument("--void", type=int, help="label id that means unlabelled (default: 11)")
    parser.add_argument("--boxes", type=Path, metavar="DIR", help="holds boxes.csv and images.csv")
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
        help="ways to run the loop (default: temporal)",
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
        help="another model's parser of the same classes, fed the rain and the derained picture",
    )
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument("--frames", type=positive(int), help="only the first N pictures")
    parser.add_argument("--no-gate", action="store_true", help="derain dry frames too")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every pass, print a table, write what was asked for; returns the exit status."""
    run = Run.open(args)
    journal = Journal(args.json, provenance.comparable(run.head))
    result = run.measured(journal)
    print(summary(result))
    if args.json:
        write_json(args.json, result)
    if report := options.report_path(args):
        write(perception_report.page(result, run.subject, run.plan), report)
    if args.card:
        provenance.note_on_card(models.find(args.model), result, card_rows(result))
    journal.close()
    return 0


def card_rows(result: dict) -> list[dict]:
    """What a model's card keeps of a result: its rows without the classes one by one and the spread."""
    left_out = ("iou", "accuracy", "spread")
    return [{key: value for key, value in row.items() if key not in left_out} for row in result["rows"]]


@dataclass(frozen=True)
class Run:
    """A model on a labelled clip.

    Attributes:
        subject: what is scored, and against what.
        plan: the passes.
        head: what the figures are taken of, with and on.
    """

    subject: Subject
    plan: Plan
    head: dict

    @classmethod
    def open(cls, args: argparse.Namespace) -> Run:
        """What the options of :func:`add_arguments` ask for; raises as :func:`open_subject`."""
        subject = open_subject(args)
        data, used = _data(args, subject), _settings(args, subject)
        head = provenance.describe("perception", data, used, subject.engine.identity)
        return cls(subject, Plan(args.rates, args.seed, _ways(args)), head)

    def measured(self, journal: Journal) -> dict:
        """The whole result, JSON-ready: a row for each rate and way, and how the gauge did."""
        length, found = len(self.subject.clip), {}
        with Progress("frames", self.plan.size * length) as progress:
            for rate, seed, way in self.plan:
                key = f"{rate:g} mm/h, seed {seed}, {way.name}"
                if key in journal:
                    progress.step(length)
                found[rate, seed, way] = journal.get(
                    key, lambda case=(rate, seed, way): conditions.measure(self.subject, *case, progress.step)
                )
        return {
            **self.head,
            "frames": length,
            "rows": self.plan.rows(found),
            "gauge": self.plan.gauge(found),
        }


def open_subject(args: argparse.Namespace) -> Subject:
    """Model, further parsers and data.

    Raises:
        EvaluationError: an option or a file is wrong; the message names it.
    """
    scores = {"score_threshold": LEAST_SCORE} if args.boxes else {}
    engine = Engine.load(engine_options.settings(args, gate=not args.no_gate, **scores))
    identity = engine.identity
    ids = labelled_clip.class_ids(identity.class_names, args.classes, args.void)
    clip = labelled_clip.LabelledClip.open(args.images, args.labels, ids, args.fps, args.frames)
    boxes = None
    if args.boxes:
        boxes = labelled_clip.read_boxes(
            args.boxes, [image for image, _ in clip.pairs], identity.object_names
        )
    return Subject(engine, dict(_parsers(args, engine, scores)), clip, boxes)


def _parsers(args: argparse.Namespace, engine: Engine, scores: Mapping) -> Iterator[tuple[str, Interpreter]]:
    identity, names = engine.identity, set()
    for text in args.parser:
        name, equals, model = text.partition("=")
        if not (name and equals and model) or name in names or name == OWN:
            raise EvaluationError(f"--parser {text!r}: wanted is NAME=MODEL, each NAME once")
        names.add(name)
        parser = Interpreter.load(
            engine_options.settings(argparse.Namespace(**{**vars(args), "model": model}), **scores)
        )
        theirs = parser.identity
        if (theirs.class_names, theirs.object_names) != (identity.class_names, identity.object_names):
            raise EvaluationError(
                f"--parser {text}: its classes are not those of {identity.name}: "
                f"{', '.join(theirs.class_names)}; boxes: {', '.join(theirs.object_names)}"
            )
        yield name, parser


def _ways(args: argparse.Namespace) -> list[Way]:
    """The ways to run the loop; a further parser needs one without its own prior."""
    priors = args.prior
    if args.parser and "none" not in priors:
        priors = (*priors, "none")
    return conditions.ways(priors, args.iterations)


def _data(args: argparse.Namespace, subject: Subject) -> dict:
    files = [path for pair in subject.clip.pairs for path in pair]
    if args.boxes:
        files += [args.boxes / "images.csv", args.boxes / "boxes.csv"]
    if args.classes:
        files.append(args.classes)
    return provenance.describe_data(args.images.resolve().parent, files)


def _settings(args: argparse.Namespace, subject: Subject) -> dict:
    return {
        "rates": list(args.rates),
        "seeds": list(args.seed),
        "prior": list(args.prior),
        "iterations": list(args.iterations),
        "gate": not args.no_gate,
        "fps": args.fps,
        "void": args.void,
        "parsers": {name: parser.identity.sha256 for name, parser in subject.others.items()},
    }


def summary(result: Mapping) -> str:
    """The figures for a person."""
    parts = [tables.table(result["rows"])]
    by_class = box_rows(result["rows"])
    if by_class:
        parts.append(tables.table(by_class))
    gauge = result["gauge"]
    read = tables.number(gauge["spearman"], 3)
    parts.append(f"rain gauge and gate ({gauge['way']}); read against true rate: Spearman {read}")
    parts.append(tables.table(gauge["rates"]))
    return "\n\n".join(parts)
