"""The report page of ``ros2-derain evaluate perception``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ros2_derain.evaluate import running
from ros2_derain.evaluate.conditions import Subject
from ros2_derain.evaluate.plan import Plan, box_rows
from ros2_derain.evaluate.scores import SCORE
from ros2_derain.nodes import overlay
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Section, Strip, Strips, Table, Tile

LINES = 8
"""Lines that a chart holds beside the reference."""
LEAD_IN = 4
"""Frames before the one that is shown, for the loop's memory."""
OPACITY = 0.45


def page(result: Mapping, subject: Subject, plan: Plan) -> Report:
    """The page: tables of all rows, charts over the rain rate, and a picture of every rate."""
    rows, data = result["rows"], result["data"]
    heaviest = max(plan.rates)
    by_name = {(row["rate_mm_h"], row["input"]): row for row in rows}
    dry, first = by_name[0.0, "dry"], by_name[heaviest, plan.ways[0].name]
    rain = by_name.get((heaviest, "rain"), dry)
    sections: list[Section] = [_strips(subject, plan), _chart(rows, "miou", "mIoU", "%", 100)]
    if "ap50" in dry:
        sections.append(_chart(rows, "ap50", "AP50", "%", 100))
    sections += [
        _table("Every row", rows),
        _table("Rain gauge and gate", result["gauge"]["rates"]),
        _classes("IoU of each class, %", rows, "iou"),
    ]
    if "ap50" in dry:
        sections.append(_table("Boxes of each class", box_rows(rows)))
    return Report(
        title="Perception in rain",
        subtitle=(
            f"{result['model']} ({result['device']} {result['precision']}) on {result['frames']} frames of "
            f"{data['name']}, rain rendered. {result['date']}, commit {result['commit']}"
        ),
        passed=None,
        verdict=(
            f"At {heaviest:g} mm/h mIoU is {tables.percent(rain['miou'])} % in the rain and "
            f"{tables.percent(first['miou'])} % in the loop ({plan.ways[0].name}); "
            f"dry it is {tables.percent(dry['miou'])} %."
        ),
        problems=(),
        tiles=[
            Tile("mIoU dry", f"{tables.percent(dry['miou'])} %"),
            Tile(
                f"mIoU at {heaviest:g} mm/h",
                f"{tables.percent(first['miou'])} %",
                f"rain {tables.percent(rain['miou'])} %",
            ),
            Tile(
                "Rain rate read",
                tables.number(result["gauge"]["spearman"], 3),
                "Spearman, against the true rate",
            ),
        ],
        sections=sections,
    )


def _chart(rows: Sequence[Mapping], key: str, name: str, unit: str, scale: float) -> Curve:
    """A line for each way, the parser fed the rain as the reference; dry stands at 0 mm/h."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value = math.nan if row.get(key) is None else scale * row[key]
        label = row["input"].replace("dry", "rain")
        lines.setdefault(label, []).append((row["rate_mm_h"], value))
    reference = lines.pop("rain")
    series = [Series("rain", *zip(*reference, strict=True), reference=True)]
    series += [Series(label, *zip(*points, strict=True)) for label, points in list(lines.items())[:LINES]]
    return Curve(f"{name} over the rain rate", "", Axis("rain rate", "mm/h"), Axis(name, unit), series)


def _table(title: str, rows: Sequence[Mapping]) -> Table:
    headings, cells = tables.cells(rows)
    return Table(title, "", headings, cells)


def _classes(title: str, rows: Sequence[Mapping], key: str) -> Table:
    names = list(rows[0][key])
    cells = [
        [f"{row['rate_mm_h']:g}", row["input"], *(tables.percent(row[key][name]) for name in names)]
        for row in rows
    ]
    return Table(title, "", ["mm/h", "parser fed", *names], cells)


def _strips(subject: Subject, plan: Plan) -> Strips:
    names = subject.engine.identity.class_names
    return Strips(
        title="The middle of the clip",
        text=f"Restored and parsed by the loop ({plan.ways[0].name}).",
        columns=("Rainy input", "Clean output", "Classes and detections"),
        strips=list(_examples(subject, plan)),
        legend=[(name, overlay.colour(name)) for name in names],
    )


def _examples(subject: Subject, plan: Plan) -> Iterator[Strip]:
    engine, way = subject.engine, plan.ways[0]
    engine.restorer.settings = replace(engine.restorer.settings, prior=way.prior, iterations=way.iterations)
    middle = len(subject.clip) // 2
    for rate in plan.rates:
        engine.reset()
        rain = RainOverlay.of_rate(rate, plan.seeds[0])
        for index in range(max(0, middle - LEAD_IN), middle + 1):
            sample = subject.clip[index]
            rainy = rain.render(sample.image, sample.time_s)
            restored = running.restore(engine, rainy, sample.path, sample.time_s)
            scene = running.interpret(engine, restored, sample.path)
        yield Strip(f"{rate:g} mm/h", (rainy, scene.image, _drawn(scene, engine.identity.class_names)))


def _drawn(scene, names: Sequence[str]):
    sure = tuple(box for box in scene.perception.detections if box.score >= SCORE)
    return overlay.draw(scene.image, replace(scene.perception, detections=sure), names, OPACITY)
