"""A report page in a browser: the slider works, there are no errors, a phone shows the full width."""

import numpy as np
from browser import Browser

from ros2_derain.reporting import page
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Comparisons, Curve, Pair, Report, Table, Tile

DARK, BRIGHT = (np.full((90, 160, 3), level, np.uint8) for level in (20, 230))

PAGE = Report(
    title="Replay of a_night",
    subtitle="one camera",
    passed=False,
    verdict="75 of 75 frames processed",
    problems=("recovery: injected.150.recovery.miou is 0.1, expected >= 0.3",),
    tiles=(Tile("Frames", "75 / 75", "0 could not be read"),),
    sections=(
        Table("Criteria", "", ("criterion", "verdict"), (("recovery", "✗ failed"),)),
        Comparisons(
            "Worst frames first",
            "Drag to compare.",
            ("camera", "clean", "Classes"),
            (Pair("frame 3", DARK, BRIGHT, DARK, "mode loop"),),
        ),
        Curve("Rain", "", Axis("time", "s"), Axis("rain rate", "mm/h"), (Series("a", (0, 1), (3.0, 4.0)),)),
    ),
)


def test_slider_uncovers_the_clean_image_at_the_click(tmp_path):
    page.write(PAGE, tmp_path / "report.html")
    with Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "report.html", 1200, 900)
        x, y, width, height = browser.run(
            "document.querySelector('.compare').scrollIntoView();"
            "(r => [r.x, r.y, r.width, r.height])(document.querySelector('.compare').getBoundingClientRect())"
        )
        uncovered = "getComputedStyle(document.querySelector('.compare .over')).clipPath"
        assert browser.run(uncovered) == "inset(0px 0px 0px 50%)"
        browser.click(x + 0.2 * width, y + height / 2)
        share = float(browser.run(uncovered).split()[-1].rstrip("%)"))
        assert 15 < share < 25
        browser.open(tmp_path / "report.html", 390, 844, phone=True)
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.errors == []
