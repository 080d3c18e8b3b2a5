"""Water on the glass in a replay: records, figures, bands, curves, worst frames, criteria, truth."""

import numpy as np
import pytest
from made_bags import FIRST_NS, STEP_NS, drive, of, pixels, raw_image, read_bag, write_bag
from replaying import engine, records, replay, replay_fleet, summary

from ros2_derain.engine import REGIONS, Frame
from ros2_derain.rain import Glass, GlassRenderer

COVERED = (0.0, 0.03, 0.125, 0.5)
"""Share of the image that is white, and so water to the gauge of ``wet_model``, in each frame."""


def wet_drive(topic="/image"):
    """Frames of 96 x 128 of which a growing part is covered, a second apart so that nothing is averaged."""
    listed = []
    for index, (_, image) in enumerate(drive(len(COVERED))):
        shown = pixels(image) // 2
        shown[:48, : round(256 * COVERED[index] / 4) * 4] = 255
        listed.append((topic, raw_image(FIRST_NS + 2 * index * 10**9, shown)))
    return listed


def shares():
    """The covered share of each frame in whole cells."""
    return [round(256 * share / 4) * 4 / 256 for share in COVERED]


@pytest.fixture(scope="module")
def wet_bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "wet", wet_drive())


@pytest.fixture(scope="module")
def replayed(wet_bag, wet_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "wet"
    assert replay(wet_bag, out, wet_model) == 0
    return out


def test_every_frame_s_record_says_what_was_hidden(replayed):
    lines = records(replayed)
    assert [line["coverage"] for line in lines] == pytest.approx(shares(), abs=1e-4)
    assert [line["mode"] for line in lines] == ["dry", "loop", "loop", "loop"]
    assert set(REGIONS) <= set(lines[0]["hidden"]) and lines[0]["hidden"]["upper_left"] == 0
    assert lines[3]["hidden"]["upper_left"] == lines[3]["hidden"]["upper_right"] == 1
    assert lines[3]["hidden"]["lower_centre"] == 0
    assert all(line["contrast_loss"] < 0.01 and line["dirt"] == 0 for line in lines)


def test_the_bag_holds_obstruction_and_coverage(replayed):
    made = read_bag(replayed / "output")
    assert [m.data for m in of(made, "/derain/glass_coverage")] == pytest.approx(shares(), abs=1e-4)
    last = pixels(of(made, "/derain/obstruction")[3])
    assert (last[:44] >= 254).all() and not last[56:].any()


def test_the_summary_has_figures_of_the_glass_and_a_row_for_each_band(replayed):
    found = summary(replayed)
    glass = found["glass"]
    assert glass["mean_coverage"] == pytest.approx(np.mean(shares()), abs=1e-3)
    assert glass["max_coverage"] == pytest.approx(0.5) and glass["covered"] == 0.75
    assert glass["max_dirt"] == 0 and glass["hidden"]["lower_left"] == 0
    bands = {row["band"]: row["frames"] for row in found["coverage_bands"]}
    assert bands == {"below 1 %": 1, "1 to 5 %": 1, "5 to 20 %": 1, "20 % and more": 1}
    assert found["coverage_bands"][3]["coverage"] == pytest.approx(0.5)


def test_the_report_shows_curve_bands_and_the_most_covered_frames(replayed):
    page = (replayed / "report.html").read_text()
    for title in ("Water on the glass", "By water on the glass", "Most covered by water", "Hidden regions"):
        assert f"<h2>{title}</h2>" in page
    assert "50.0 % covered" in page and "upper left 100%" in page
    assert "water on the glass on 75%, up to 50% of the view" in page


def test_a_bag_on_which_nothing_is_measured_has_no_such_sections(wet_bag, tmp_path):
    import tiny_model

    model = str(tiny_model.write(tmp_path / "old", 0.0, gauge=("rain_gauge", {"width": 4})))
    assert replay(wet_bag, tmp_path / "out", model) == 0
    assert all(line["coverage"] is None and line["hidden"] == {} for line in records(tmp_path / "out"))
    found = summary(tmp_path / "out")
    assert found["glass"]["mean_coverage"] is found["glass"]["covered"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "covered by water" not in page.lower() and "By water on the glass" not in page


@pytest.mark.parametrize(("limit", "status"), [(0.2, 1), (0.6, 0)])
def test_criteria_may_limit_what_is_hidden(wet_bag, wet_model, tmp_path, limit, status):
    lines = [f"sees: glass.max_coverage < {limit}", "ahead: glass.hidden.lower_centre < 0.1"]
    (tmp_path / "criteria.yaml").write_text("\n".join(lines))
    given = ("--criteria", tmp_path / "criteria.yaml", "--record", "none")
    assert replay(wet_bag, tmp_path / "out", wet_model, *given) == status
    assert [judged["met"] for judged in summary(tmp_path / "out")["criteria"]] == [not status, True]


def test_a_fleet_has_the_figures_of_all_bags(wet_model, tmp_path):
    for name in ("monday", "tuesday"):
        write_bag(tmp_path / "bags" / name, wet_drive() if name == "monday" else drive(2))
    assert replay_fleet(tmp_path / "bags", tmp_path / "out", wet_model) == 0
    found = summary(tmp_path / "out")
    assert found["glass"]["covered"] == 0.5
    assert {row["bag"]: row["mean_coverage"] for row in found["bags"]} == {
        "monday": pytest.approx(np.mean(shares()), abs=1e-3),
        "tuesday": 0,
    }
    assert {row["band"]: row["frames"] for row in found["coverage_bands"]}["below 1 %"] == 3
    assert "By water on the glass" in (tmp_path / "out" / "report.html").read_text()


def test_injected_glass_is_compared_with_what_the_gauge_finds(wet_model, tmp_path):
    bag = write_bag(tmp_path / "bag", drive(3))
    assert replay(bag, tmp_path / "out", wet_model, "--inject-glass", "0.2", "--record", "none") == 0
    renderer, alone = GlassRenderer(Glass(coverage=0.2), 96, 128), engine(wet_model)
    part = whole = 0
    expected = []
    for index, (_, image) in enumerate(drive(3)):
        stamp = FIRST_NS + index * STEP_NS
        view = renderer.render(pixels(image), stamp / 1e9)
        scene = alone.process(Frame(stamp, "cam", view.image))
        true, found = view.mask >= 128, scene.obstruction >= 128
        part, whole = part + np.sum(true & found), whole + np.sum(true | found)
        expected.append(scene.view.coverage)
    told = [record["injected"]["glass_20"] for record in records(tmp_path / "out")]
    assert [frame["coverage"] for frame in told] == pytest.approx(expected, abs=1e-5)
    glass = summary(tmp_path / "out")["injected"]["glass_20"]
    assert glass["coverage"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert glass["mask_iou"] == pytest.approx(part / whole) and 0.05 < glass["coverage_true"] < 0.5
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Covered by water, glass 20 %" in page and "true glass %" in page


@pytest.mark.slow
def test_a_live_replay_reads_the_glass_from_the_topics(wet_model, tmp_path):
    bag = write_bag(tmp_path / "bag", wet_drive(), apart_ns=500_000_000)
    assert replay(bag, tmp_path / "out", wet_model, "--live") == 0
    processed = [line for line in records(tmp_path / "out") if "coverage" in line]
    assert processed[-1]["frame"] == len(COVERED) - 1, "the newest frame is never dropped"
    for line in processed:
        assert line["coverage"] == pytest.approx(shares()[line["frame"]], abs=1e-3)
        assert line["hidden"]["lower_centre"] == 0 and {"sky", "road"} & line["hidden"].keys()
    assert "Hidden regions" in (tmp_path / "out" / "report.html").read_text()
