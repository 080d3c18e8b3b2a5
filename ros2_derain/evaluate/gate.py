"""``ros2-derain evaluate gate``: does the rain gate leave dry frames untouched and open in rain?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, options
from ros2_derain.data.images import left_out_note, list_images, read_image, usable
from ros2_derain.engine import Engine, EngineSettings, Mode, Restored, Scene, View
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.nodes.diagnostics import ERROR_RAIN_MM_H, WARN_RAIN_MM_H
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Table, Tile
from ros2_derain.reporting.progress import Progress

EPILOG = """example:
  ros2-derain evaluate gate --images DATA/sequences/highway_white_right --fps 25 \\
      --rates 0,5,10,25,50,150 --json out/gate.json

untouched is the share of frames that come out byte-identical; diagnosed_warn and diagnosed_error are
those for which derain_node's diagnostics report at least WARN, or ERROR, because of the rain.
Spearman's correlation is that of the estimated and the rendered rain rate over all frames of all
rates; equal rates share a rank, so that it cannot exceed 0.87 with two rates, 0.97 with four, 0.99
with eight."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "The rain gate on a dry clip: untouched when dry, open in rendered rain."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive dry images")
    parser.add_argument(
        "--rates", type=options.rates, default=(0.0, 25.0, 150.0), help="mm/h (default: 0,25,150)"
    )
    parser.add_argument("--seed", type=options.seeds, default=(1,), help="of the rain; 1,2,3: all of them")
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument("--frames", type=options.positive(int), help="only the first N images")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every rate; returns the exit status."""
    evaluation.run(Gate.open(args), args.json, options.report_path(args), args.card and args.model)
    return 0


GLASS = ("coverage", "contrast_loss", "flagged")
"""What :func:`read_glass` finds."""

FALSE_COVERAGE = 0.01
"""Coverage above this is false in a frame without water on the glass."""


@dataclass
class GateReadings:
    """What gauge and gate did on each frame, in order.

    Attributes:
        read_mm_h: estimated rain rate.
        gate_open: whether the frame was derained.
        untouched: whether the output is byte-identical to the input.
        coverage, contrast_loss: of water on the glass, 0..1; empty where the gauge does not measure them.
        flagged: whether the coverage alone opens the gate; empty where it is not measured.
    """

    read_mm_h: list[float] = field(default_factory=list)
    gate_open: list[bool] = field(default_factory=list)
    untouched: list[bool] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    contrast_loss: list[float] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)

    def add(self, rainy: np.ndarray, output: Restored | Scene, settings: EngineSettings) -> None:
        """Append a frame: the engine's input, its output and its settings."""
        self.read_mm_h.append(output.rain.rate)
        self.gate_open.append(output.mode is not Mode.DRY)
        self.untouched.append(bool(np.array_equal(output.image, rainy)))
        for name, value in read_glass(output.view, settings).items():
            getattr(self, name).append(value)

    def as_dict(self) -> dict[str, list] | None:
        """The measured lists by name, JSON-ready; None without a frame."""
        return {key: values for key, values in asdict(self).items() if values} or None


def read_glass(view: View, settings: EngineSettings) -> dict[str, float | bool]:
    """Coverage and contrast loss, as far as they are measured, and whether the coverage opens the gate."""
    measured = {"coverage": view.coverage, "contrast_loss": view.contrast_loss}
    found: dict[str, float | bool] = {key: value for key, value in measured.items() if not math.isnan(value)}
    if "coverage" in found:
        found["flagged"] = view.coverage >= settings.gate_open_coverage
    return found


@dataclass(frozen=True)
class Gate(Evaluation):
    """A model's gate on a dry clip in rendered rain.

    Attributes:
        engine: of the model.
        paths: images of the clip.
        fps: frames per second of the clip.
        cases: rain rate in mm/h and seed of each pass over the clip.
    """

    engine: Engine
    paths: Sequence[Path]
    fps: float
    cases: Sequence[tuple[float, int]]

    @classmethod
    def open(cls, args: argparse.Namespace) -> Gate:
        """Model and data of the options of :func:`add_arguments`."""
        paths, left_out = usable(list_images(args.images)[: args.frames], read_image)
        engine = Engine.load(engine_options.settings(args, prior="none"))
        settings = {"rates": list(args.rates), "seeds": list(args.seed), "fps": args.fps}
        data = evaluation.describe_data(args.images, paths)
        cases = [(rate, seed) for rate in args.rates for seed in (args.seed if rate else args.seed[:1])]
        head = evaluation.describe_run("gate", data, settings, engine.identity)
        note = left_out_note(left_out, len(left_out) + len(paths))
        return cls(head, note, engine, paths, args.fps, cases)

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: a row per rate."""
        readings = {}
        with Progress("frames", len(self.cases) * len(self.paths)) as progress:
            for rate, seed in self.cases:
                key = f"{rate:g} mm/h, seed {seed}"
                if key in cache:
                    progress.step(len(self.paths))
                readings[rate, seed] = cache.get(key, partial(self._readings, rate, seed, progress.step))
        rows, correlation = summarise(readings)
        return {**self.provenance, "frames": len(self.paths), "rows": rows, "spearman": correlation}

    def _readings(self, rate: float, seed: int, step: Callable[[], None]) -> dict[str, list]:
        """The :class:`GateReadings` of one rate and seed, JSON-ready."""
        self.engine.reset()
        rain, readings = RainOverlay.of_rate(rate, seed), GateReadings()
        for index, path in enumerate(self.paths):
            rainy = rain.render(read_image(path), index / self.fps)
            restored = evaluation.restore(self.engine, rainy, path, index / self.fps)
            readings.add(rainy, restored, self.engine.restorer.settings)
            step()
        return readings.as_dict() or {}

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        correlation = tables.number(result["spearman"], 3)
        return f"{tables.table(result['rows'])}\n\nestimated and true rate: Spearman {correlation}"

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: the table, and the estimated rate over the true one."""
        rows = result["rows"]
        true = [row["rate_mm_h"] for row in rows]
        curve = Curve(
            "Rain rate",
            "Mean over the frames.",
            Axis("rendered", "mm/h"),
            Axis("estimated", "mm/h"),
            (
                Series("estimated", true, [row["read_mm_h"] for row in rows]),
                Series("rendered", true, true, reference=True),
            ),
        )
        verdict = ". ".join(
            f"At {row['rate_mm_h']:g} mm/h open on {row['gate_open']:.1%}, untouched {row['untouched']:.1%}"
            for row in rows
        )
        return Report(
            title="Rain gate",
            subtitle=evaluation.model_on(
                result, f"{result['frames']} frames of {result['data']['name']}, rain rendered"
            ),
            verdict=f"{verdict}.",
            tiles=[correlation_tile(result["spearman"])],
            sections=[curve, Table("Every rate", "", *tables.cells(rows))],
        )


def summarise(readings: Mapping[tuple[float, int], Mapping[str, list]]) -> tuple[list[dict], float | None]:
    """A row of means for each rate, and Spearman's correlation of estimated and true rate.

    Args:
        readings: the :class:`GateReadings` by rate in mm/h and seed, as mappings.
    """
    by_rate: dict[float, dict[str, list]] = {}
    for (rate, _), reading in readings.items():
        for key, values in reading.items():
            by_rate.setdefault(rate, {}).setdefault(key, []).extend(values)
    rows = [
        {
            "rate_mm_h": rate,
            **{key: float(np.mean(values)) for key, values in reading.items()},
            "diagnosed_warn": float(np.mean(np.array(reading["read_mm_h"]) > WARN_RAIN_MM_H)),
            "diagnosed_error": float(np.mean(np.array(reading["read_mm_h"]) > ERROR_RAIN_MM_H)),
            **_false_coverage(reading),
        }
        for rate, reading in by_rate.items()
    ]
    true = [rate for rate, reading in by_rate.items() for _ in reading["read_mm_h"]]
    estimated = [value for reading in by_rate.values() for value in reading["read_mm_h"]]
    return rows, statistics.spearman(true, estimated)


def _false_coverage(reading: Mapping[str, list]) -> dict[str, float]:
    """The share of frames in which too much water is seen on the dry glass; nothing where not measured."""
    if "coverage" not in reading:
        return {}
    return {"false_coverage": float(np.mean(np.array(reading["coverage"]) > FALSE_COVERAGE))}


def correlation_tile(spearman: float | None) -> Tile:
    """Spearman's correlation as a tile of a report."""
    return Tile("Estimated rain rate", tables.number(spearman, 3), "Spearman, against the true rate")
