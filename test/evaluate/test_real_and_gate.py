"""``ros2-derain evaluate real`` and ``gate``: images without labels, through the command line."""

import json

import cv2
import numpy as np
import pytest

from ros2_derain import cli


@pytest.fixture
def photos(tmp_path):
    """Three noisy images of 200x120."""
    folder = tmp_path / "photos" / "wet"
    folder.mkdir(parents=True)
    for index in range(3):
        base = np.random.default_rng(index).integers(0, 255, (30, 50, 3), np.uint8)
        image = cv2.resize(base, (200, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.jpg"), image)
    return folder


def evaluate(subcommand, photos, *options) -> int:
    return cli.main(["evaluate", subcommand, "--images", str(photos), *map(str, options)])


def test_images_get_figures_strips_and_a_report(photos, rainy_model, tmp_path, capsys):
    assert evaluate("real", photos, "--model", rainy_model, "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out/real.json").read_text())
    assert [one["image"] for one in result["images"]] == ["0", "1", "2"]
    for one in result["images"]:
        assert one["niqe"] > 0 and one["niqe_after"] > 0
        assert one["read_mm_h"] == pytest.approx(100, rel=0.05)
        assert one["read_after_mm_h"] == pytest.approx(100, rel=0.05), "its estimate is constant"
        strip = cv2.imread(str(tmp_path / f"out/strips/{one['image']}.jpg"))
        assert strip.shape == (120, 4 * 200 + 3 * 4, 3)
        assert one["coverage"] == 0 and one["contrast_loss"] < 0.01 and one["flagged"] is False
    assert (tmp_path / "out/report.html").read_text().count("<img") == 12
    assert "mean of 3" in capsys.readouterr().out


def test_a_sequence_uses_the_previous_frame_and_single_images_do_not(photos, rainy_model, tmp_path):
    strips = {}
    for name, options in (("photos", ["--prior", "none"]), ("clip", ["--prior", "none", "--sequence"])):
        out = tmp_path / name
        assert evaluate("real", photos, "--model", rainy_model, *options, "--out", out) == 0
        strips[name] = [(out / f"strips/{index}.jpg").read_bytes() for index in range(3)]
    assert strips["photos"][0] == strips["clip"][0], "the first frame has nothing to remember"
    assert strips["photos"][1] != strips["clip"][1]


def test_water_on_the_glass_is_flagged_and_drawn(photos, wet_model, tmp_path, capsys):
    for path in photos.glob("*.jpg"):
        cv2.imwrite(str(path), cv2.imread(str(path)) // 2)  # white would be water
    image = np.full((120, 200, 3), 90, np.uint8)
    image[40:60, 40:80] = 255
    cv2.imwrite(str(photos / "drop.png"), image)
    (photos.parent / "index.csv").write_text("image,kind\n0.jpg,dry\n1.jpg,dry\n2.jpg,dry\ndrop.png,wet\n")
    out, options = tmp_path / "out", ("--index", photos.parent / "index.csv", "--height-scale", "1.5")
    assert evaluate("real", photos, "--model", wet_model, *options, "--out", out) == 0
    result = json.loads((out / "real.json").read_text())
    flagged = {one["image"]: one["flagged"] for one in result["images"]}
    assert flagged == {"0": False, "1": False, "2": False, "drop": True}
    assert result["rows"][0]["flagged"] == 0.25
    assert result["images"][-1]["coverage"] == pytest.approx(20 * 40 / (120 * 200), rel=0.2)
    strip = cv2.imread(str(out / "strips/drop.jpg"))
    assert strip.shape == (180, 4 * 200 + 3 * 4, 3)
    blue, green, red = strip[75, -140]
    assert red > green + 60 and blue > green + 60, "the drop is marked in the last image"
    assert "flagged %" in capsys.readouterr().out
    only = (*options, "--only", "kind=dry", "--leave-out", "0*,1*")
    assert evaluate("real", photos, "--model", wet_model, *only, "--out", tmp_path / "some") == 0
    some = json.loads((tmp_path / "some/real.json").read_text())
    assert [one["image"] for one in some["images"]] == ["2"]


def test_a_small_image_has_no_niqe(photos, rainy_model, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "a.png"), cv2.imread(str(photos / "0.jpg"))[:80, :80])
    assert evaluate("real", small, "--model", rainy_model, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/real.json").read_text())["images"][0]["niqe"] is None


def test_coverage_on_a_dry_clip_is_false(photos, wet_model, tmp_path, capsys):
    bright = cv2.imread(str(photos / "0.jpg")) // 2
    cv2.imwrite(str(photos / "0.jpg"), bright)
    bright[40:60, 40:80] = 255
    cv2.imwrite(str(photos / "1.jpg"), bright, [cv2.IMWRITE_JPEG_QUALITY, 100])
    options = ("--frames", "2", "--fps", "1", "--rates", "0", "--json", tmp_path / "gate.json")
    assert evaluate("gate", photos, "--model", wet_model, *options) == 0
    (row,) = json.loads((tmp_path / "gate.json").read_text())["rows"]
    assert row["false_coverage"] == row["flagged"] == 0.5 and 0.01 < row["coverage"] < 0.03
    assert row["contrast_loss"] == pytest.approx(0, abs=0.01) and row["read_mm_h"] == pytest.approx(0)
    assert "false %" in capsys.readouterr().out


@pytest.mark.parametrize(("model", "is_open"), [("rainy_model", 1), ("dry_model", 0)])
def test_the_gate_follows_the_gauge(photos, model, is_open, tmp_path, request, capsys):
    out, page = tmp_path / "gate.json", tmp_path / "gate.html"
    options = ("--model", request.getfixturevalue(model), "--rates", "0,50", "--json", out, "--html", page)
    assert evaluate("gate", photos, *options) == 0
    result = json.loads(out.read_text())
    assert [row["rate_mm_h"] for row in result["rows"]] == [0, 50]
    for row in result["rows"]:
        assert row["gate_open"] == is_open and row["untouched"] == 1 - is_open
    assert "Rain gate" in page.read_text()
    assert "untouched %" in capsys.readouterr().out


def test_errors_name_their_cause(photos, rainy_model, tmp_path, capsys):
    def fails_with(text, *arguments):
        assert evaluate(*arguments, "--model", rainy_model) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in message, message

    tiny = tmp_path / "tiny"
    tiny.mkdir()
    fails_with("holds no image", "gate", tiny)
    fails_with("is not a folder", "real", tmp_path / "nowhere", "--out", tmp_path / "out")
    fails_with("'0' is not a frame rate", "gate", photos, "--fps", "0")
    fails_with("'often' is not one of", "real", photos, "--prior", "often", "--out", tmp_path / "out")
    cv2.imwrite(str(tiny / "a.png"), np.zeros((40, 40, 3), np.uint8))
    fails_with("a.png: image is 40x40: give at least 64x64", "gate", tiny, "--rates", "0")
    (tiny / "a.jpg").write_bytes(b"")
    fails_with("holds a.jpg and a.png: keep one", "real", tiny, "--out", tmp_path / "out")
