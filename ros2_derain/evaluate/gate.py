"""``ros2-derain evaluate gate``: does the rain gate leave dry frames alone and open in rain?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, models, options, provenance
from ros2_derain.data.images import list_images, read_image
from ros2_derain.engine import Engine, Mode
from ros2_derain.evaluate import running
from ros2_derain.evaluate.result_cache import Journal
from ros2_derain.nodes.diagnostics import ERROR_RAIN_MM_H, WARN_RAIN_MM_H
from ros2_derain.options import positive
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import Curve, Report, Table, Tile, write
from ros2_derain.reporting.progress import Progress

EPILOG = """example:
  ros2-derain evaluate gate --images DATA/sequences/highway_white_right --fps 25 \\
      --rates 0,5,10,25,50,150 --json out/gate.json

untouched is the share of frames that come out byte-identical; diagnosed_warn and diagnosed_error are
those of which derain_node's diagnostics say at least WARN, or ERROR, on account of the rain.
Spearman's correlation is that of the rate that the gauge reads and the rendered one, over all frames
of all rates; equal rates share a rank, so that it cannot exceed 0.87 with two rates, 0.97 with four,
0.99 with eight."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "The rain gate on a dry clip: untouched when dry, open in rendered rain."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive dry pictures")
    parser.add_argument(
        "--rates", type=options.rates, default=(0.0, 25.0, 150.0), help="mm/h (default: 0,25,150)"
    )
    parser.add_argument("--seed", type=options.seeds, default=(1,), help="of the rain; 1,2,3: all of them")
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument("--frames", type=positive(int), help="only the first N pictures")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every rate, print a table, write what was asked for; returns the exit status."""
    paths = list_images(args.images)[: args.frames]
    engine = Engine.load(engine_options.settings(args, prior="none"))
    used = {"rates": list(args.rates), "seeds": list(args.seed), "fps": args.fps}
    head = provenance.describe("gate", provenance.describe_data(args.images, paths), used, engine.identity)
    journal = Journal(args.json, provenance.comparable(head))
    cases = [(rate, seed) for rate in args.rates for seed in (args.seed if rate else args.seed[:1])]
    found = {}
    with Progress("frames", len(cases) * len(paths)) as progress:
        for rate, seed in cases:
            key = f"{rate:g} mm/h, seed {seed}"
            if key in journal:
                progress.step(len(paths))
            found[rate, seed] = journal.get(
                key, lambda case=(rate, seed): measure(engine, paths, args.fps, *case, progress.step)
            )
    rows, correlation = summarise(found)
    result = {**head, "frames": len(paths), "rows": rows, "spearman": correlation}
    print(tables.table(rows))
    print(f"\nread against true rate: Spearman {tables.number(correlation, 3)}")
    if args.json:
        write_json(args.json, result)
    if report := options.report_path(args):
        write(page(result), report)
    if args.card:
        provenance.note_on_card(models.find(args.model), result, rows)
    journal.close()
    return 0


def measure(
    engine: Engine, paths: Sequence[Path], fps: float, rate: float, seed: int, step: Callable[[], None]
) -> dict[str, list]:
    """For each frame the rate that was read, whether the gate was open, whether it was left untouched."""
    engine.reset()
    overlay = RainOverlay.of_rate(rate, seed)
    seen: dict[str, list] = {"read_mm_h": [], "gate_open": [], "untouched": []}
    for index, path in enumerate(paths):
        rainy = overlay.render(read_image(path), index / fps)
        restored = running.restore(engine, rainy, path, index / fps)
        seen["read_mm_h"].append(restored.rain.rate)
        seen["gate_open"].append(restored.mode is not Mode.DRY)
        seen["untouched"].append(bool(np.array_equal(restored.image, rainy)))
        step()
    return seen


def summarise(found: Mapping[tuple[float, int], Mapping[str, list]]) -> tuple[list[dict], float | None]:
    """A row of means for each rate, and Spearman's correlation of read and true rate.

    Args:
        found: by rate and seed, what :func:`measure` returns.
    """
    by_rate: dict[float, dict[str, list]] = {}
    for (rate, _), seen in found.items():
        for key, values in seen.items():
            by_rate.setdefault(rate, {}).setdefault(key, []).extend(values)
    rows = [
        {
            "rate_mm_h": rate,
            **{key: float(np.mean(values)) for key, values in seen.items()},
            "diagnosed_warn": float(np.mean(np.array(seen["read_mm_h"]) > WARN_RAIN_MM_H)),
            "diagnosed_error": float(np.mean(np.array(seen["read_mm_h"]) > ERROR_RAIN_MM_H)),
        }
        for rate, seen in by_rate.items()
    ]
    true = [rate for rate, seen in by_rate.items() for _ in seen["read_mm_h"]]
    read = [value for seen in by_rate.values() for value in seen["read_mm_h"]]
    return rows, statistics.spearman(true, read)


def page(result: Mapping) -> Report:
    """The report: the table, and the rate that was read over the true one."""
    rows = result["rows"]
    true = [row["rate_mm_h"] for row in rows]
    headings, cells = tables.cells(rows)
    curve = Curve(
        "Rain rate",
        "Mean over the frames.",
        Axis("rendered", "mm/h"),
        Axis("read", "mm/h"),
        (
            Series("read", true, [row["read_mm_h"] for row in rows]),
            Series("as rendered", true, true, reference=True),
        ),
    )
    return Report(
        title="Rain gate",
        subtitle=(
            f"{result['model']} ({result['device']} {result['precision']}) on {result['frames']} frames of "
            f"{result['data']['name']}, rain rendered. {result['date']}, commit {result['commit']}"
        ),
        passed=None,
        verdict="; ".join(
            f"at {row['rate_mm_h']:g} mm/h open on {row['gate_open']:.1%}, untouched {row['untouched']:.1%}"
            for row in rows
        ),
        problems=(),
        tiles=[
            Tile("Rain rate read", tables.number(result["spearman"], 3), "Spearman, against the true rate")
        ],
        sections=[curve, Table("Every rate", "", headings, cells)],
    )
