"""The metrics of all frames in a report: tables by band and curves over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ros2_derain.replay.frame_metrics import METRICS
from ros2_derain.reporting import page, tables
from ros2_derain.reporting.charts import Axis, Series

POINTS = 400
"""Points of a curve; with more frames the worst of every few is drawn."""


@dataclass(frozen=True)
class FramePoint:
    """What the curves need of a frame.

    Attributes:
        camera: topic of its images.
        time_ns: when the recorder got it.
        values: by key; what is not known is left out.
    """

    camera: str
    time_ns: int
    values: Mapping[str, float]


def rain_table(rows: Sequence[Mapping]) -> page.Table:
    """The table by rain, from :meth:`BandAggregate.rows`."""
    text = "Dry: the gate was closed. Light below 2.5 mm/h, moderate below 10, heavy below 50."
    return _bands_table("By rain", text, "rain", rows)


def glass_tables(rows: Sequence[Mapping]) -> list[page.Table]:
    """The table by water on the glass, from :meth:`BandAggregate.rows`; none where it was not measured."""
    if not any(row.get("coverage") is not None for row in rows):
        return []
    text = "By the share of the view that water covers."
    return [_bands_table("By water on the glass", text, "covered", rows)]


def _bands_table(title: str, text: str, heading: str, rows: Sequence[Mapping]) -> page.Table:
    shown = [(m, m.band) for m in METRICS if m.band and any(m.band.key in row for row in rows)]
    headings = [band.heading or f"{metric.heading} {metric.unit}".strip() for metric, band in shown]
    cells = []
    for row in rows:
        written = [
            (tables.percent if metric.unit == "%" else tables.number)(row.get(band.key), band.digits)
            for metric, band in shown
        ]
        cells.append([row["band"], str(row["frames"]), *written])
    return page.Table(title, text, (heading, "frames", *headings), cells)


def curves(points: Sequence[FramePoint], known: Mapping[str, float]) -> list[page.Curve]:
    """A chart for each metric that has one.

    Args:
        points: one for each frame.
        known: the true values of metrics, by key, that are drawn dashed.
    """
    drawn = []
    for metric in METRICS:
        curve = metric.curve
        if curve is None or (curve.sparse and not any(p.values.get(metric.key) for p in points)):
            continue
        scale = 100 if metric.unit == "%" else 1
        lines = series(points, metric.key, scale)
        if curve.reference:
            lines += [
                Series("input", line.x, line.y, reference=True)
                for line in series(points, curve.reference, scale)
            ]
        if metric.key in known and lines:
            ends = min(line.x[0] for line in lines), max(line.x[-1] for line in lines)
            lines.append(Series("true", ends, 2 * (scale * known[metric.key],), reference=True))
        axes = Axis("time", "s"), Axis(metric.heading, metric.unit)
        drawn.append(page.Curve(curve.title, curve.text, *axes, lines))
    return drawn


def series(points: Sequence[FramePoint], key: str, scale: float = 1, worst: Callable = max) -> list[Series]:
    """A line for each camera, thinned to what a chart can show; ``worst`` chooses among near points."""
    start = min((point.time_ns for point in points), default=0)
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        value = scale * point.values.get(key, math.nan)
        lines.setdefault(point.camera, []).append(((point.time_ns - start) / 1e9, value))
    thinned = {camera: _thinned(line, worst) for camera, line in lines.items()}
    return [Series(camera, [x for x, _ in line], [y for _, y in line]) for camera, line in thinned.items()]


def _thinned(line: Sequence[tuple[float, float]], worst: Callable) -> list[tuple[float, float]]:
    width = -(-len(line) // POINTS)
    groups = [line[i : i + width] for i in range(0, len(line), width)]
    return [worst(group, key=lambda xy: -math.inf if math.isnan(xy[1]) else xy[1]) for group in groups]
