"""Line charts as SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 14, 26, 42
COLOURS = 8
"""Number of line colours: classes ``series-0``, ``series-1``, ... of the style sheet."""


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: for the legend.
        x, y: its points; a y that is not finite leaves a gap.
        reference: drawn dashed and grey: what the others are compared with.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    reference: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, and its unit."""

    name: str
    unit: str = ""

    @property
    def title(self) -> str:
        """``name [unit]``."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values that span ``low``..``high`` in steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        span = abs(high) or 1.0
        high = low + span
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def line_chart(
    series: Sequence[Series], x_axis: Axis, y_axis: Axis, width: int = 960, height: int = 300
) -> str:
    """An SVG element.

    Args:
        series: at least one point in all.
        x_axis, y_axis: their titles; the y axis begins at zero.
        width, height: in pixels at normal text size.
    """
    points = [(x, y) for line in series for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if not points:
        return '<p class="empty">No data.</p>'
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points), max(3, width // 110))
    y_ticks = ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points), 5)
    plot = _Plot(width, height, x_ticks, y_ticks)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(y_axis.title)} over {escape(x_axis.title)}">',
        *plot.grid(),
        *plot.titles(x_axis, y_axis),
    ]
    colour = 0
    for line in series:
        style = "reference" if line.reference else f"series-{colour % COLOURS}"
        colour += not line.reference
        parts += [*plot.line(line, style), *plot.points(line, style, x_axis, y_axis)]
    return "\n".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Plot:
    """Maps values to pixels and draws axes, grid and lines."""

    width: int
    height: int
    x_ticks: list[float]
    y_ticks: list[float]

    def x(self, value: float) -> float:
        share = (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])
        return MARGIN_LEFT + share * (self.width - MARGIN_LEFT - MARGIN_RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return self.height - MARGIN_BOTTOM - share * (self.height - MARGIN_TOP - MARGIN_BOTTOM)

    def grid(self) -> Iterator[str]:
        right, bottom = self.width - MARGIN_RIGHT, self.height - MARGIN_BOTTOM
        for value in self.y_ticks:
            y = self.y(value)
            yield f'<line class="grid" x1="{MARGIN_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _tick(MARGIN_LEFT - 8, y + 4, "end", value)
        yield f'<line class="axis" x1="{MARGIN_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        for value in self.x_ticks:
            x = self.x(value)
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield _tick(x, bottom + 17, "middle", value)

    def titles(self, x_axis: Axis, y_axis: Axis) -> Iterator[str]:
        middle = (MARGIN_LEFT + self.width - MARGIN_RIGHT) / 2
        yield f'<text class="title" x="0" y="12">{escape(y_axis.title)}</text>'
        yield (
            f'<text class="title" x="{middle:.1f}" y="{self.height - 4}" text-anchor="middle">'
            f"{escape(x_axis.title)}</text>"
        )

    def line(self, line: Series, style: str) -> Iterator[str]:
        path, pen = [], "M"
        for x, y in zip(line.x, line.y, strict=True):
            if math.isfinite(y):
                path.append(f"{pen}{self.x(x):.1f} {self.y(y):.1f}")
            pen = "L" if math.isfinite(y) else "M"
        yield f'<path class="line {style}" d="{"".join(path)}"/>'

    def points(self, line: Series, style: str, x_axis: Axis, y_axis: Axis) -> Iterator[str]:
        for x, y in zip(line.x, line.y, strict=True):
            if math.isfinite(y):
                text = f"{line.name}: {y:.4g} {y_axis.unit} at {x:.4g} {x_axis.unit}".strip()
                yield (
                    f'<circle class="point {style}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="6">'
                    f"<title>{escape(text)}</title></circle>"
                )


def _tick(x: float, y: float, anchor: str, value: float) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{value:g}</text>'
