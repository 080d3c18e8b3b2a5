"""``ros2-derain evaluate compare``: every model in one table, beside what the papers print."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ros2_derain import engine_options, models, provenance
from ros2_derain.data.clips import parse_size
from ros2_derain.engine import PRECISIONS, PRIORS
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate import compare_report, model_row
from ros2_derain.evaluate.model_row import CLIP, RATE_MM_H, Setting
from ros2_derain.options import positive
from ros2_derain.reporting.files import write_json, write_text
from ros2_derain.reporting.page import write
from ros2_derain.reporting.progress import Progress

EPILOG = """examples:
  ros2-derain evaluate --all --data DATA
  ros2-derain evaluate compare --data DATA --models loopnet,models/mine --limit 3 --out out/quick

A row is what the other commands say of a model:
  evaluate restoration --pairs DATA/rain_pairs/rain100l_dev (and rain100h_dev)
  evaluate perception --images DATA/camvid/val/images ... --rates 150 (labels, classes and boxes beside)
  models sizes, and the engine's times on the sample clip in rain

--out holds comparison.json, comparison.md and comparison.html, and the result of every command in a
folder of each model's name. What is there already, of the same weights, data and options, is not
measured again: an interrupted run goes on, and of a new model only its own row is measured. Remove a
model's folder to measure it anew, as after a change of code or for other times."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Score all models on the same data: one table, beside what the papers print."
    parser.epilog = EPILOG
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("ROS2_DERAIN_DATA") or None,
        metavar="DIR",
        help="holds rain_pairs/, camvid/ and boxes/ (default: the environment's ROS2_DERAIN_DATA)",
    )
    parser.add_argument(
        "--models", metavar="A,B", help="names or models' folders (default: all that are installed)"
    )
    parser.add_argument("--limit", type=positive(int), metavar="N", help="only N pictures of each set")
    parser.add_argument(
        "--prior", default="temporal", choices=PRIORS, help="on the clip, and timed (default: %(default)s)"
    )
    engine_options.add_iterations(parser)
    parser.add_argument(
        "--size",
        type=parse_size,
        default=(1280, 720),
        metavar="WxH",
        help="of GMAC and ms (default: 1280x720)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="(default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/comparison"),
        help="folder of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--card", action="store_true", help="note the figures on the cards of models that have none yet"
    )


def main(args: argparse.Namespace) -> int:
    """Measure what is not known yet, print the table, write it; returns the exit status."""
    if args.data is None:
        raise EvaluationError("where is the data? give --data DIR or set ROS2_DERAIN_DATA")
    if args.card and args.limit:
        raise EvaluationError("--card notes figures of whole sets: leave out --limit")
    names = ("data", "out", "limit", "prior", "iterations", "size", "device", "precision", "card")
    setting = Setting(**{name: getattr(args, name) for name in names})
    folders = chosen(args.models)
    setting.check()
    rows = []
    with Progress("models", len(folders)) as progress:
        reference = model_row.untouched(setting)
        for folder in folders:
            rows.append(model_row.measure(setting, folder))
            progress.step()
    result = {
        **provenance.origin("ros2-derain evaluate compare", None),
        "settings": {
            "limit": args.limit,
            "prior": args.prior,
            "iterations": args.iterations,
            "size": list(args.size),
            "rate_mm_h": RATE_MM_H,
        },
        "rows": with_references(reference, rows),
    }
    print(compare_report.summary(result))
    write_json(args.out / "comparison.json", result)
    write_text(args.out / "comparison.md", compare_report.markdown(result))
    write(compare_report.page(result, args.out), args.out / "comparison.html")
    print(f"\nreport: {args.out / 'comparison.html'}\nMarkdown: {args.out / 'comparison.md'}")
    return 0


def chosen(names: str | None) -> list[Path]:
    """Folders of the named models; of all that are installed, the default first, where none is named.

    Raises:
        EvaluationError: no model is installed, or two have one name.
        ModelError: there is no such model.
    """
    if names is None:
        found = sorted(models.folders(), key=lambda folder: (folder.name != "loopnet", folder.name))
    else:
        found = [models.find(name.strip()).resolve() for name in names.split(",")]
    if not found:
        raise EvaluationError("no models are installed: train one, or name a model's folder by --models")
    by_name: dict[str, Path] = {}
    for folder in found:
        if by_name.setdefault(folder.name, folder) != folder or found.count(folder) > 1:
            raise EvaluationError(
                f"--models: {by_name[folder.name]} and {folder} are both called {folder.name}: rename one"
            )
    return found


def with_references(untouched: dict, rows: Sequence[dict]) -> list[dict]:
    """The rows with what they are held against first: the untouched input, and the clean pictures.

    Both have mIoU and AP50 by a parser. Where models have different ones, these two rows are there
    for each, and every row names its parser by the first model that has it.
    """
    owners: dict[str, str] = {}
    for row in rows:
        if "clip" in row:
            row["parser"] = owners.setdefault(row["clip"]["parser"], row["model"])
    references = [untouched] if not owners else []
    for owner in owners.values():
        seen = next(row["clip"] for row in rows if row.get("parser") == owner)
        references += [
            {**untouched, CLIP: seen["input"], **seen["rain"], "parser": owner},
            {"model": "clean pictures", **seen["dry"], "parser": owner},
        ]
    return [*references, *rows]
