"""``ros2-derain evaluate compare``: every model in one table, with the published figures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ros2_derain import engine_options, machine, models, options
from ros2_derain.data.images import read_image, split_side_by_side
from ros2_derain.engine import PRIORS
from ros2_derain.evaluate import EvaluationError, evaluation, model_row
from ros2_derain.evaluate.model_row import CLIP, RATE_MM_H, ComparisonSettings
from ros2_derain.reporting import page, tables
from ros2_derain.reporting.files import write_json, write_text
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.tables import Column, fixed, percentage

SETS = {"rain100l_dev": "Rain100L dev", "rain100h_dev": "Rain100H dev"}
PROTOCOL = (
    "Published columns are copied from the papers, which use other protocols: all 100 pairs of each test "
    "set, training on the sets' own or other pairs, other GPUs, GMAC for 512x512. UBCN and PHP report "
    "nothing on Rain100; SAPNet's figures are on RGB."
)


EPILOG = """examples:
  ros2-derain evaluate --all --data DATA
  ros2-derain evaluate compare --data DATA --models loopnet,models/mine --limit 3 --out out/quick

A row is what the other commands measure of a model:
  evaluate restoration --pairs DATA/rain_pairs/rain100l_dev (and rain100h_dev)
  evaluate perception --images DATA/camvid/val/images ... --rates 150 (labels, classes and boxes beside)
  models sizes, and the engine's times on the sample clip in rain

--out holds comparison.json, comparison.md and comparison.html, and the result of every command in a
folder of each model's name. Results of the same weights, data and options are reused: an interrupted run
continues, and for a new model only its own row is measured. Remove a model's folder to measure it again,
for example after a change of code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Score all models on the same data: one table, with the published figures."
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
    parser.add_argument("--limit", type=options.positive(int), metavar="N", help="only N images of each set")
    parser.add_argument(
        "--prior", default="temporal", choices=PRIORS, help="on the clip, and timed (default: %(default)s)"
    )
    engine_options.add_iterations(parser)
    parser.add_argument(
        "--size",
        type=options.image_size,
        default=(1280, 720),
        metavar="WxH",
        help="of GMAC and ms (default: 1280x720)",
    )
    engine_options.add_device(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/comparison"),
        help="folder of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--card", action="store_true", help="store the figures on the cards of models that have none yet"
    )


def main(args: argparse.Namespace) -> int:
    """Measure what earlier runs have not, print and write the table; returns the exit status."""
    if args.data is None:
        raise EvaluationError("No data directory: pass --data or set ROS2_DERAIN_DATA.")
    if args.card and args.limit:
        raise EvaluationError("--card stores figures of whole sets: omit --limit")
    names = ("data", "out", "limit", "prior", "iterations", "size", "device", "precision", "runtime", "card")
    settings = ComparisonSettings(**{name: getattr(args, name) for name in names})
    folders = select_models(args.models)
    settings.check()
    rows = []
    with Progress("models", len(folders)) as progress:
        reference = model_row.measure_untouched(settings)
        for folder in folders:
            rows.append(model_row.measure_model(settings, folder))
            progress.step()
    result = {
        **evaluation.origin("ros2-derain evaluate compare", None),
        "settings": {
            "limit": args.limit,
            "prior": args.prior,
            "iterations": args.iterations,
            "size": list(args.size),
            "rate_mm_h": RATE_MM_H,
        },
        "rows": with_references(reference, rows),
    }
    print(summary(result))
    write_json(args.out / "comparison.json", result)
    write_text(args.out / "comparison.md", markdown(result))
    page.write(report(result, args.out), args.out / "comparison.html")
    print(f"\nreport: {args.out / 'comparison.html'}\nMarkdown: {args.out / 'comparison.md'}")
    return 0


def select_models(names: str | None) -> list[Path]:
    """Folders of the named models, or of all installed ones with the default first.

    Raises:
        EvaluationError: no model is installed, or two have the same name.
        ModelError: there is no such model.
    """
    if names is None:
        found = sorted(models.folders(), key=lambda folder: (folder.name != "loopnet", folder.name))
    else:
        found = [models.find(name.strip()).resolve() for name in names.split(",")]
    if not found:
        raise EvaluationError("No models are installed: train one, or give a model's folder by --models")
    by_name: dict[str, Path] = {}
    for folder in found:
        if by_name.setdefault(folder.name, folder) != folder or found.count(folder) > 1:
            raise EvaluationError(
                f"--models: {by_name[folder.name]} and {folder} are both called {folder.name}: rename one"
            )
    return found


def with_references(untouched: dict, rows: Sequence[dict]) -> list[dict]:
    """The rows after those to compare them with: the untouched input, and the clean images.

    Both have mIoU and AP50 of a parser. If the models have different parsers, these two rows are given
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
            {"model": "clean images", **seen["dry"], "parser": owner},
        ]
    return [*references, *rows]


def measured_columns(result: Mapping) -> list[Column]:
    """Columns of the figures that were measured here."""
    settings = result["settings"]
    width, height = settings["size"]
    return [
        Column("model", "model", str),
        Column("network", "network", str),
        *(Column(name, heading, _pair) for name, heading in SETS.items()),
        Column(CLIP, f"CamVid {settings['rate_mm_h']:g} mm/h", _pair),
        Column("miou", "mIoU %", percentage(1)),
        Column("ap50", "AP50 %", percentage(1)),
        Column("parser", "parser of", str),
        Column("parameters_m", "M parameters", fixed(3)),
        Column("gmac", f"GMAC {width}x{height}", fixed(1)),
        Column("derain_ms", "derain ms", fixed(0)),
        Column("frame_ms", "frame ms", fixed(0)),
    ]


PAPER_COLUMNS = (
    Column("printed_paper", "paper", str),
    Column("printed_rain100l", "published Rain100L", str),
    Column("printed_rain100h", "published Rain100H", str),
    Column("printed_parameters_m", "published M parameters", fixed(3)),
    Column("printed_gmac", "published GMAC 512x512", fixed(2)),
    Column("printed_time", "published time", str),
)
"""Columns of the published figures."""


def summary(result: Mapping) -> str:
    """Tables and notes for a terminal: the measured figures, then the published ones beside them."""
    rows = result["rows"]
    parts = [tables.table(rows, measured_columns(result))]
    if with_paper := _rows_with_paper(rows):
        parts.append(tables.table(with_paper, _side_by_side_columns(result)))
    return "\n\n".join([*parts, "\n".join(_notes(result))])


def markdown(result: Mapping) -> str:
    """One table and its notes, for a document."""
    table = tables.markdown(result["rows"], (*measured_columns(result), *PAPER_COLUMNS))
    return "\n".join([table, "", *(f"- {note}" for note in _notes(result)), ""])


def report(result: Mapping, out: Path) -> Report:
    """Tables, notes and a pair of each set as a page.

    Args:
        out: folder of the results, where each model's strips are.
    """
    rows = result["rows"]
    sections: list[Table | Strips] = [
        Table("Measured here", " ".join(_conditions(result)), *tables.cells(rows, measured_columns(result)))
    ]
    if with_paper := _rows_with_paper(rows):
        sections.append(
            Table(
                "Measured and published figures",
                PROTOCOL,
                *tables.cells(with_paper, _side_by_side_columns(result)),
            )
        )
        further = list(_further_figures(rows).items())
        sections.append(Table("Further published figures", "", ("paper", "figures"), further))
    sections += [_strips(rows, out, name, heading) for name, heading in SETS.items()]
    return Report(
        title="Models compared",
        subtitle=f"{machine.in_words(result['machine'])}. {result['date']}, commit {result['commit']}",
        verdict=_verdict(rows),
        problems=_missing(rows),
        tiles=_tiles(rows),
        sections=sections,
    )


def _rows_with_paper(rows: Sequence[Mapping]) -> list[Mapping]:
    return [row for row in rows if "printed_paper" in row]


def _side_by_side_columns(result: Mapping) -> list[Column]:
    """Columns of the measured figures, each before the published one."""
    by_key = {column.key: column for column in (*measured_columns(result), *PAPER_COLUMNS)}
    keys = ["model", "printed_paper", "rain100l_dev", "printed_rain100l", "rain100h_dev", "printed_rain100h"]
    keys += ["parameters_m", "printed_parameters_m", "printed_gmac", "printed_time"]
    return [by_key[key] for key in keys]


def _strips(rows: Sequence[Mapping], out: Path, name: str, heading: str) -> Strips:
    shown = [row for row in rows if name in row and "folder" in row]
    strips = [
        Strip(row["model"], split_side_by_side(read_image(out / row["folder"] / f"{name}.jpg"), 3))
        for row in shown
    ]
    return Strips(f"A pair of {heading}", "", ("Rainy", "Derained", "Clean"), strips)


def _conditions(result: Mapping) -> list[str]:
    """How the figures were measured, a sentence each."""
    rows, settings = result["rows"], result["settings"]
    counts = " and ".join(f"{rows[0][name]['frames']} pairs of {heading}" for name, heading in SETS.items())
    clip = next((row[CLIP]["frames"] for row in rows if CLIP in row), 0)
    sentences = [
        f"PSNR in dB and SSIM on Y (in brackets: dB over the untouched input) of {counts} and {clip} frames "
        f"of CamVid's validation clip in rendered rain of {settings['rate_mm_h']:g} mm/h; mIoU and AP50 of "
        "the clip by each model's own parser.",
        f"Prior {settings['prior']} on the clip, closed_loop x{settings['iterations']} on single images, "
        "where a network takes one.",
        "Parameters and GMAC are the derainer's, of one pass.",
    ]
    ran_on = sorted({row["ran_on"] for row in rows if "ran_on" in row})
    if ran_on:
        width, height = settings["size"]
        sentences.append(
            f"Times are p50 for a rainy {width}x{height} frame on {' / '.join(ran_on)}, "
            f"{machine.in_words(result['machine'])}: the derainer alone, and the frame with gauge and parser."
        )
    if settings["limit"]:
        sentences.append(f"Incomplete: only the first {settings['limit']} images of each set.")
    return sentences


def _notes(result: Mapping) -> list[str]:
    """Everything to know besides the table, a line each."""
    protocol = [PROTOCOL] if _rows_with_paper(result["rows"]) else []
    further = [f"{paper} also reports: {text}" for paper, text in _further_figures(result["rows"]).items()]
    return [*_conditions(result), *protocol, *further, *_missing(result["rows"])]


def _further_figures(rows: Sequence[Mapping]) -> dict[str, str]:
    return {row["printed_paper"]: row["printed_beside"] for row in rows if row.get("printed_beside")}


def _missing(rows: Sequence[Mapping]) -> list[str]:
    return [sentence for row in rows for sentence in row.get("missing", ())]


def _verdict(rows: Sequence[Mapping]) -> str:
    count = sum("folder" in row for row in rows)
    return f"{count} model{'s' * (count != 1)} on the same images, compared with the untouched input."


def _tiles(rows: Sequence[Mapping]) -> list[Tile]:
    """The largest gain over the untouched input on each set of pairs."""
    tiles = []
    for name, heading in SETS.items():
        gains = {
            row["model"]: row[name]["gain_y_db"] for row in rows if (row.get(name) or {}).get("gain_y_db")
        }
        if gains:
            model, gain = max(gains.items(), key=lambda item: item[1])
            tiles.append(Tile(f"{heading}, largest gain", f"{gain:+.2f} dB", model))
    return tiles


def _pair(found: Mapping) -> str:
    """PSNR and SSIM in one cell, and the dB over the untouched input if known."""
    psnr = "inf" if found["psnr_y_db"] is None else f"{found['psnr_y_db']:.2f}"
    gain = found.get("gain_y_db")
    return f"{psnr} / {found['ssim_y']:.4f}" + (f" ({gain:+.2f})" if gain is not None else "")
