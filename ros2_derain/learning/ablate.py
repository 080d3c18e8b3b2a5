"""``ros2-derain ablate``: the papers' claims about their parts, tried again on our data."""

from __future__ import annotations

import argparse
import html
import json
from pathlib import Path

from ros2_derain import resources
from ros2_derain.reporting import files

from ..options import positive
from . import LearningError, ablation, sources
from .ablation import Group

EPILOG = """examples:
  ros2-derain ablate --data ~/data --only danet                 # one paper, into runs/ablate
  ros2-derain ablate --data ~/data --seeds 3 --steps 1000       # all of them
  ros2-derain ablate my.yaml --data ~/data --out /tmp/mine

Stopped by Ctrl-C, the same command resumes where it was: every variant and seed is a run of its own under
--out, with its result. The table is printed, and written as ablations.json, ablations.html and ablations.md.

The runs are short and our data is not the papers': a claim is about a direction, and the printed figures
stand beside ours for that, not for comparison. Runs of one seed see the same clips, so that a claim is
judged by the differences within each seed; behind ± is a standard deviation over the seeds.
"""

TEXTS = {"psnr_y_db": "PSNR-Y dB", "ssim_y": "SSIM-Y", "miou": "mIoU %"}
HEADINGS = ("paper", "claim", "printed", "ours", "difference (by seed)", "verdict")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Try the papers' claims about their parts again, in a reduced setting."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("ablations", nargs="?", type=Path, help="YAML file (default: config/ablations.yaml)")
    parser.add_argument("--data", type=Path, help="data folder (default: the environment's ROS2_DERAIN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"), help="folder (default: runs/ablate)")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="these groups alone")
    parser.add_argument("--seeds", type=positive(int), default=2, help="runs of every variant (default: 2)")
    parser.add_argument("--steps", type=positive(int), default=600, help="length of every run (default: 600)")
    parser.add_argument("--workers", type=positive(int), help="processes that make clips (default: by cores)")


def main(args: argparse.Namespace) -> int:
    """Train what is missing, print and write the table; returns the exit status."""
    path = args.ablations or resources.path("config/ablations.yaml")
    groups = ablation.load(path)
    unknown = sorted(set(args.only or ()) - set(groups))
    if unknown:
        raise LearningError(f"--only: no group {', '.join(unknown)} in {path}; known: {', '.join(groups)}")
    folder = sources.folder(args.data)
    rows = []
    for name in args.only or groups:
        found = _figures(groups[name], folder, args.out / name, args)
        if found is None:
            return 130
        rows += [{"paper": name} | row for row in _verdicts(groups[name], found)]
    _write(args.out, rows, args)
    print(table(rows))
    return 0


def _figures(group: Group, folder: Path, out: Path, args: argparse.Namespace) -> dict | None:
    """Variant -> figures of every seed; None when a signal ended it."""
    recipes = {
        name: [ablation.variant(group, name, seed, args.steps) for seed in range(1, args.seeds + 1)]
        for name in group.variants
    }
    for claim in group.claims:
        for name in claim.pair:
            ablation.check_measurable(claim, name, recipes[name][0])
    found: dict[str, list[dict]] = {name: [] for name in recipes}
    for index in range(args.seeds):
        for name, seeds in recipes.items():
            run = out / f"{name}-{index + 1}"
            figures = ablation.measured(seeds[index], folder, run, args.workers)
            if figures is None:
                return None
            found[name].append(figures)
    return found


def _verdicts(group: Group, found: dict[str, list[dict]]) -> list[dict]:
    return [
        ablation.verdict(claim, *([each[claim.figure] for each in found[name]] for name in claim.pair))
        for claim in group.claims
    ]


def cells(row: dict) -> tuple[str, ...]:
    """A row as text, in the order of :data:`HEADINGS`."""
    digits = 4 if row["figure"] == "ssim_y" else 2

    def figure(value: float, deviation: float | None, sign: str = "") -> str:
        spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
        return f"{value:{sign}.{digits}f}{spread}"

    differences = ", ".join(f"{value:+.{digits}f}" for value in row["differences"])
    return (
        row["paper"],
        f"{row['says']} ({TEXTS[row['figure']]}; {row['where']})",
        " / ".join(f"{value:g}" for value in row["printed"]),
        " / ".join(map(figure, row["ours"], row["deviations"])),
        f"{figure(row['difference'], row['spread'], '+')} ({differences})",
        row["verdict"],
    )


def table(rows: list[dict]) -> str:
    """All rows as aligned text."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _write(out: Path, rows: list[dict], args: argparse.Namespace) -> None:
    settings = {"steps": args.steps, "seeds": args.seeds}
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "ablations.json", json.dumps({"settings": settings, "rows": rows}, indent=2))
    files.write_text(out / "ablations.html", page(rows, settings))
    files.write_text(out / "ablations.md", markdown(rows))


def markdown(rows: list[dict]) -> str:
    """The table for a document."""
    rule = ["---"] * len(HEADINGS)
    return "".join(f"| {' | '.join(line)} |\n" for line in (HEADINGS, rule, *map(cells, rows)))


def page(rows: list[dict], settings: dict) -> str:
    """The table as an HTML page that needs nothing besides itself."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in HEADINGS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row)) + "</tr>" for row in rows
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Ablations</title>'
        "<style>body{font:15px/1.4 sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #ccc}</style><h1>Claims of the papers, tried again</h1>"
        f"<p>{settings['seeds']} seeds of {settings['steps']} steps each. Pairs of figures are better / "
        "worse by the claim; the papers' are on their data, by their protocol.</p>"
        f"<table><tr>{head}</tr>{body}</table></html>\n"
    )
