"""Report pages: their content, and that they are self-contained."""

import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from ros2_derain.reporting.charts import Axis, Series, line_chart, ticks
from ros2_derain.reporting.page import Curve, Report, Strip, Strips, Table, Tile, render


def page(**changed) -> str:
    image = np.full((48, 64, 3), 120, np.uint8)
    made = {
        "title": "A <title>",
        "subtitle": "on a & b",
        "passed": True,
        "verdict": "75 of 75 frames",
        "problems": (),
        "tiles": (Tile("Frames out", "75 / 75", "none dropped"),),
        "sections": (
            Strips(
                "Images",
                "Side by side.",
                ("in", "out"),
                (Strip("Frame 3", (image, image)),),
                legend=(("road", (140, 86, 75)),),
            ),
            Curve(
                "Rain",
                "",
                Axis("time", "s"),
                Axis("rain rate", "mm/h"),
                (
                    Series("estimated", (0, 1, 2), (90.0, 110.0, 100.0)),
                    Series("true", (0, 2), (100, 100), True),
                ),
            ),
            Table(
                "Latency",
                "In ms.",
                ("stage", "p50", "note"),
                (("derain", "81.5", "on CPU"), ("gate", "–", "off")),
            ),
        ),
    }
    return render(Report(**{**made, **changed}))


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they are nested properly."""

    VOID = {"meta", "img", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_well_formed_and_self_contained():
    text = page()
    reader = Reader(text)
    assert reader.open == []
    assert not reader.all("script") and not reader.all("link")
    sources = [tag["src"] for tag in reader.all("img")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in sources)
    assert not re.search(r"https?://|url\(|@import", text)


def test_text_is_escaped():
    text = page(problems=("<script>x</script>",))
    assert "A &lt;title&gt;" in text and "on a &amp; b" in text
    assert "<script>" not in text


def test_verdict_states_whether_the_run_passed():
    passed, failed = page(), page(passed=False, problems=("1 frame is unaccounted for",))
    assert "✓ Passed" in passed and "75 of 75 frames" in passed
    assert "✗ Failed" in failed and "1 frame is unaccounted for" in failed
    measured = page(passed=None, verdict="30 pairs")
    assert "badge" not in measured.split("<header>")[1] and "30 pairs" in measured


def test_images_have_captions_and_the_legend_its_colours():
    text = page()
    assert "Frame 3" in text and text.count("<figcaption>") == 2
    assert "rgb(140, 86, 75)" in text and "road" in text


def test_numbers_are_right_aligned_and_only_long_text_breaks_into_lines():
    text = page()
    assert '<td class="number">81.5</td>' in text
    assert '<td class="number">–</td>' in text
    assert '<td class="short">on CPU</td>' in text
    note = "measured on a machine with another load"
    rows = (("derain", "81.5", note), ("gate", "–", "off"))
    text = page(sections=(Table("Latency", "", ("stage", "p50", "note"), rows),))
    assert f'<td class="long">{note}</td>' in text and '<td class="long">off</td>' in text


def test_chart_is_drawn_for_desktop_and_phone():
    text = page()
    assert text.count("<svg") == 2
    assert text.count("rain rate [mm/h]</text>") == 2 and text.count("time [s]</text>") == 2


def test_chart_maps_values_to_pixels():
    svg = line_chart(
        [Series("a", (0, 10), (0.0, 100.0))], Axis("time", "s"), Axis("value", "ms"), width=1066, height=368
    )
    root = ElementTree.fromstring(svg)
    path = next(element for element in root.iter() if element.get("class") == "line series-0")
    assert path.get("d") == "M52.0 326.0L1052.0 26.0"
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert titles == ["a: 0 ms at 0 s", "a: 100 ms at 10 s"]


def test_chart_leaves_a_gap_at_nan():
    svg = line_chart([Series("a", (0, 1, 2), (1.0, math.nan, 2.0))], Axis("x"), Axis("y"))
    path = next(e for e in ElementTree.fromstring(svg).iter() if e.get("class") == "line series-0")
    assert path.get("d").count("M") == 2 and "L" not in path.get("d")


def test_chart_without_points_has_a_note():
    assert "No data" in line_chart([Series("a", (), ())], Axis("x"), Axis("y"))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 150, [0, 50, 100, 150]),
        (0, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 733, [0, 200, 400, 600, 800]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, expected):
    assert ticks(low, high) == expected
