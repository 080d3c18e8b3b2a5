"""A report as one HTML file: a verdict, tiles, and sections in any order.

The page is self-contained: images, charts and style are embedded.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ros2_derain.reporting.charts import COLOURS, Axis, Series, line_chart
from ros2_derain.reporting.files import write_text

WIDE, NARROW = (1040, 300), (380, 260)
"""Width and height of a chart in pixels, on a desktop and on a phone; the page shows the one that fits."""
IMAGE_WIDTH, JPEG_QUALITY = 800, 82
"""A wider image is scaled down to this width in pixels."""
SHORT_TEXT = 28
"""Characters of a table cell that is not broken into lines on a wide screen."""


@dataclass(frozen=True)
class Tile:
    """One number at the top: its name, the number, and what to compare it with."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Strip:
    """Images of one frame side by side.

    Attributes:
        caption: such as the time.
        images: H x W x 3 uint8 RGB, one per column of :class:`Strips`.
    """

    caption: str
    images: Sequence[np.ndarray]


@dataclass(frozen=True)
class Strips:
    """A section of image strips.

    Attributes:
        title, text: above it.
        columns: what each column shows.
        strips: the rows.
        legend: names with their RGB colours.
    """

    kind: ClassVar[str] = "strips"
    title: str
    text: str
    columns: Sequence[str]
    strips: Sequence[Strip]
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()


@dataclass(frozen=True)
class Pair:
    """Two images of one frame, one over the other, and a third one beside them.

    Attributes:
        caption: such as the time.
        before, after: H x W x 3 uint8 RGB, left and right of the slider.
        beside: H x W x 3 uint8 RGB.
        text: below the slider.
    """

    caption: str
    before: np.ndarray
    after: np.ndarray
    beside: np.ndarray
    text: str = ""


@dataclass(frozen=True)
class Comparisons:
    """A section of image pairs with a slider.

    Attributes:
        title, text: above it.
        names: of what is before, after and beside.
        pairs: the rows.
        legend: names with their RGB colours.
    """

    kind: ClassVar[str] = "comparisons"
    title: str
    text: str
    names: tuple[str, str, str]
    pairs: Sequence[Pair]
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()


@dataclass(frozen=True)
class Curve:
    """A section with a line chart."""

    kind: ClassVar[str] = "curve"
    title: str
    text: str
    x_axis: Axis
    y_axis: Axis
    series: Sequence[Series]

    def charts(self) -> list[tuple[str, Markup]]:
        """CSS class and SVG of the chart in each size."""
        return [
            (name, Markup(line_chart(self.series, self.x_axis, self.y_axis, *size)))
            for name, size in (("wide", WIDE), ("narrow", NARROW))
        ]

    def legend(self) -> list[tuple[str, str]]:
        """CSS class and name of each line."""
        colours = iter(range(len(self.series)))
        return [
            ("reference" if line.reference else f"series-{next(colours) % COLOURS}", line.name)
            for line in self.series
        ]


@dataclass(frozen=True)
class Table:
    """A section with a table; numbers are right-aligned.

    Attributes:
        title, text: above it.
        columns: the header.
        rows: cells as text; the first of each row is its name.
        links: the link of each row's name, relative to the page; '' for none; empty: no links.
    """

    kind: ClassVar[str] = "table"
    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()

    def style(self, column: int) -> str:
        """CSS class of a column's cells: ``number`` (only numbers and dashes), ``short`` or ``long`` text."""
        cells = [row[column] for row in self.rows if row[column] != "–"]
        if column > 0 and cells and all(map(_is_number, cells)):
            return "number"
        return "short" if all(len(cell) <= SHORT_TEXT for cell in cells) else "long"

    def linked_rows(self) -> list[tuple[str, Sequence[str]]]:
        """Each row after its link."""
        return list(zip(self.links or [""] * len(self.rows), self.rows, strict=True))


Section = Strips | Comparisons | Curve | Table


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        title: what was done.
        subtitle: on what, when.
        verdict: one sentence.
        sections: what the page shows, in this order.
        tiles: the numbers that matter.
        passed: whether the run meets its criteria; None: it has none.
        problems: a sentence each.
    """

    title: str
    subtitle: str
    verdict: str
    sections: Sequence[Section]
    tiles: Sequence[Tile] = ()
    passed: bool | None = None
    problems: Sequence[str] = ()


def render(report: Report) -> str:
    """The report as HTML; all text in it is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = _data_uri
    templates = resources.files("ros2_derain.reporting") / "templates"
    template = environment.from_string((templates / "report.html").read_text(encoding="utf-8"))
    style = Markup((templates / "report.css").read_text(encoding="utf-8"))
    return template.render(report=report, style=style, zip=zip)


def write(report: Report, path: Path) -> None:
    """Write the report; raises as :func:`.files.write_bytes`."""
    write_text(path, render(report))


def _data_uri(image: np.ndarray) -> str:
    """An H x W x 3 uint8 RGB image as a JPEG for an HTML attribute."""
    if image.shape[1] > IMAGE_WIDTH:
        size = (IMAGE_WIDTH, round(image.shape[0] * IMAGE_WIDTH / image.shape[1]))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _is_number(text: str) -> bool:
    try:
        float(text.replace("\u2009", ""))
    except ValueError:
        return False
    return True
