"""``ros2-derain evaluate real`` and ``gate``: pictures without labels, through the command line."""

import json

import cv2
import numpy as np
import pytest

from ros2_derain import cli


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three noisy pictures of 200x120."""
    folder = tmp_path_factory.mktemp("photos") / "wet"
    folder.mkdir()
    for index in range(3):
        base = np.random.default_rng(index).integers(0, 255, (30, 50, 3), np.uint8)
        picture = cv2.resize(base, (200, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.jpg"), picture)
    return folder


def evaluate(subcommand, photos, *options) -> int:
    return cli.main(["evaluate", subcommand, "--images", str(photos), *map(str, options)])


def test_photos_get_figures_strips_and_a_page(photos, rainy_model, tmp_path, capsys):
    assert evaluate("real", photos, "--model", rainy_model, "--out", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out/real.json").read_text())
    assert [one["picture"] for one in result["pictures"]] == ["0", "1", "2"]
    for one in result["pictures"]:
        assert one["niqe"] > 0 and one["niqe_after"] > 0
        assert one["read_mm_h"] == pytest.approx(100, rel=0.05)
        assert one["read_after_mm_h"] == pytest.approx(100, rel=0.05), "this model's gauge always says so"
        strip = cv2.imread(str(tmp_path / f"out/strips/{one['picture']}.jpg"))
        assert strip.shape == (120, 3 * 200 + 2 * 4, 3)
    assert (tmp_path / "out/report.html").read_text().count("<img") == 9
    assert "mean of 3" in capsys.readouterr().out


def test_a_sequence_remembers_and_photos_do_not(photos, rainy_model, tmp_path):
    strips = {}
    for name, options in (("photos", ["--prior", "none"]), ("clip", ["--prior", "none", "--sequence"])):
        out = tmp_path / name
        assert evaluate("real", photos, "--model", rainy_model, *options, "--out", out) == 0
        strips[name] = [(out / f"strips/{index}.jpg").read_bytes() for index in range(3)]
    assert strips["photos"][0] == strips["clip"][0], "the first frame has nothing to remember"
    assert strips["photos"][1] != strips["clip"][1]


def test_a_small_picture_has_no_niqe(photos, rainy_model, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "a.png"), cv2.imread(str(photos / "0.jpg"))[:80, :80])
    assert evaluate("real", small, "--model", rainy_model, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/real.json").read_text())["pictures"][0]["niqe"] is None


@pytest.mark.parametrize(("model", "is_open"), [("rainy_model", 1), ("dry_model", 0)])
def test_the_gate_does_what_the_gauge_reads(photos, model, is_open, tmp_path, request, capsys):
    out, page = tmp_path / "gate.json", tmp_path / "gate.html"
    options = ("--model", request.getfixturevalue(model), "--rates", "0,50", "--json", out, "--html", page)
    assert evaluate("gate", photos, *options) == 0
    result = json.loads(out.read_text())
    assert [row["rate_mm_h"] for row in result["rows"]] == [0, 50]
    for row in result["rows"]:
        assert row["gate_open"] == is_open and row["untouched"] == 1 - is_open
    assert "Rain gate" in page.read_text()
    assert "untouched %" in capsys.readouterr().out


def test_what_is_wrong_is_named(photos, rainy_model, tmp_path, capsys):
    def says(text, *arguments):
        assert evaluate(*arguments, "--model", rainy_model) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in message, message

    tiny = tmp_path / "tiny"
    tiny.mkdir()
    says("holds no image", "gate", tiny)
    says("is not a folder", "real", tmp_path / "nowhere", "--out", tmp_path / "out")
    says("'0' is not a frame rate", "gate", photos, "--fps", "0")
    says("'often' is not one of", "real", photos, "--prior", "often", "--out", tmp_path / "out")
    cv2.imwrite(str(tiny / "a.png"), np.zeros((40, 40, 3), np.uint8))
    says("a.png: image is 40x40, at least 64x64", "gate", tiny, "--rates", "0")
    (tiny / "a.jpg").write_bytes(b"")
    says("holds a.jpg and a.png: keep one", "real", tiny, "--out", tmp_path / "out")
