"""A labelled clip in rendered rain: what rain costs perception, and what the loop recovers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ros2_derain import overlay
from ros2_derain.class_colours import Colour
from ros2_derain.engine import Engine, Perception
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.conditions import GridEvaluation, box_rows, measure_grid
from ros2_derain.evaluate.evaluation import ResultCache
from ros2_derain.evaluate.gate import correlation_tile
from ros2_derain.evaluate.scores import SCORE
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Section, Strip, Strips, Table, Tile

MAX_LINES = 8
"""Lines of a chart besides the reference."""
LEAD_IN = 4
"""Frames before the one that is shown, for the loop's memory."""
OPACITY = 0.45
COLUMNS = ("Rainy input", "Clean output", "Classes and detections")


class PerceptionInRain(GridEvaluation):
    """A model on a labelled clip in rendered rain."""

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: a row for each rate, input and parser, and the gate readings."""
        length, measured = len(self.setup.clip), measure_grid(self.setup, self.grid, cache)
        return {
            **self.provenance,
            "frames": length,
            "rows": self.grid.rows(measured),
            "gauge": self.grid.gauge(measured),
        }

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
            class_table(rows),
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
        return Strips(
            title="The middle of the clip",
            text=f"Restored and parsed by the loop ({self.grid.inputs[0].name}).",
            columns=COLUMNS,
            strips=list(self._examples()),
            legend=legend(self.setup.engine),
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
            drawn = drawn_scene(scene.image, perception, engine.identity.colours)
            yield Strip(f"{rate:g} mm/h", (rainy, scene.image, drawn))


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


def class_table(rows: Sequence[Mapping]) -> Table:
    """IoU per class of each row, in percent."""
    names = list(rows[0]["iou"])
    grouped = "group" in rows[0]
    headings = [*["group"] * grouped, "mm/h", "parser input", *names]
    cells = [
        [
            *[row["group"] for _ in range(grouped)],
            f"{row['rate_mm_h']:g}",
            row["input"],
            *(tables.percent(row["iou"][name]) for name in names),
        ]
        for row in rows
    ]
    return Table("IoU of each class, %", "", headings, cells)


def drawn_scene(image: np.ndarray, perception: Perception, colours: Sequence[Colour]) -> np.ndarray:
    """The image with the classes, and the boxes above the pipeline's default threshold."""
    confident = tuple(box for box in perception.detections if box.score >= SCORE)
    return overlay.draw(image, replace(perception, detections=confident), colours, OPACITY)


def legend(engine: Engine) -> list[tuple[str, Colour]]:
    """Name and colour of each class of a model."""
    return list(zip(engine.identity.class_names, engine.identity.colours, strict=True))
