"""``ros2-derain evaluate restoration`` on a few pairs, through the command line."""

import json
import math

import cv2
import numpy as np
import pytest
import tiny_model

from ros2_derain import cli, models
from ros2_derain.evaluate import restoration

BRIGHTER = {"a": 10, "b": 20, "c": 5}


@pytest.fixture
def pairs(tmp_path):
    """Three pairs in three formats; the rainy image is a known amount brighter."""
    folder = tmp_path / "sets" / "small"
    for part in ("rain", "clean"):
        (folder / part).mkdir(parents=True)
    base = np.random.default_rng(0).integers(20, 200, (9, 12, 3), np.uint8)
    clean = cv2.resize(base, (96, 72), interpolation=cv2.INTER_CUBIC).clip(20, 200).astype(np.uint8)
    for (stem, more), ending in zip(BRIGHTER.items(), ("png", "png", "webp"), strict=True):
        lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == "webp" else []
        cv2.imwrite(str(folder / f"rain/{stem}.{ending}"), clean + np.uint8(more), lossless)
        cv2.imwrite(str(folder / f"clean/{stem}.png"), clean)
    return folder


def evaluate(pairs, *options) -> int:
    return cli.main(["evaluate", "restoration", "--pairs", str(pairs), *map(str, options)])


def test_the_untouched_input_has_the_score_of_the_known_difference(pairs, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert evaluate(pairs, "--input", "--json", out) == 0
    result = json.loads(out.read_text())
    expected = {stem: 20 * math.log10(255 / more) for stem, more in BRIGHTER.items()}
    assert {one["image"]: one["psnr_db"] for one in result["images"]} == pytest.approx(expected)
    (mean,) = result["rows"]
    assert mean["psnr_db"] == pytest.approx(np.mean(list(expected.values())))
    assert result["spread"]["psnr_db"] == pytest.approx(np.std(list(expected.values()), ddof=1))
    assert 0.9 < mean["ssim_y"] < 1 and 0.9 < mean["fsim"] <= 1
    assert result["model"] is None and result["data"]["files"] == 6
    assert "mean of 3" in capsys.readouterr().out
    assert "The untouched input on 3 pairs" in out.with_suffix(".html").read_text()


def test_a_model_is_scored_with_its_gain(pairs, rainy_model, tmp_path):
    out, strips, page = tmp_path / "out.json", tmp_path / "strips", tmp_path / "page.html"
    options = ("--model", rainy_model, "--iterations", "1", "--json", out, "--strips", strips, "--html", page)
    assert evaluate(pairs, *options) == 0
    result = json.loads(out.read_text())
    for one in result["images"]:
        before = 20 * math.log10(255 / BRIGHTER[one["image"]])
        assert one["gain_db"] == pytest.approx(one["psnr_db"] - before)
    assert result["settings"] == {
        "prior": "closed_loop",
        "iterations": 1,
        "gate": False,
        "fill_hidden": False,
        "restore_contrast": False,
    }
    assert cv2.imread(str(strips / "a.jpg")).shape == (72, 3 * 96 + 2 * 4, 3)
    assert "Every image" in page.read_text()


def test_an_image_does_not_affect_the_next_one(pairs, rainy_model, tmp_path):
    scored = {}
    for name in ("b", "a b c"):
        (tmp_path / "names").write_text("\n".join(name.split()))
        out = tmp_path / "out.json"
        assert evaluate(pairs, "--model", rainy_model, "--names", tmp_path / "names", "--json", out) == 0
        scored[name] = {one["image"]: one for one in json.loads(out.read_text())["images"]}
    alone, third = (scored[names]["b"] for names in ("b", "a b c"))
    assert alone.keys() == third.keys() and alone["psnr_db"] == third["psnr_db"]
    assert alone["fsim"] == pytest.approx(third["fsim"], rel=1e-6)  # FFTs round by memory layout


def test_with_the_gate_a_dry_image_stays_untouched(pairs, dry_model, tmp_path):
    out = tmp_path / "out.json"
    assert evaluate(pairs, "--model", dry_model, "--gate", "--json", out) == 0
    assert [one["gain_db"] for one in json.loads(out.read_text())["images"]] == [0, 0, 0]


def test_names_select_and_exclude_images(pairs, tmp_path, capsys):
    out, names = tmp_path / "out.json", tmp_path / "names"
    names.write_text("a\nb.png\n")
    for option, kept in (("--names", ["a", "b"]), ("--except-names", ["c"])):
        assert evaluate(pairs, "--input", option, names, "--json", out) == 0
        assert [one["image"] for one in json.loads(out.read_text())["images"]] == kept
    assert evaluate(pairs, "--input", "--limit", 2, "--json", out) == 0
    assert [one["image"] for one in json.loads(out.read_text())["images"]] == ["a", "b"]
    names.write_text("a\nnowhere\n")
    assert evaluate(pairs, "--input", "--names", names) == 2
    assert "names nowhere, and there is no such pair" in capsys.readouterr().err


def test_an_interrupted_run_continues_unless_the_data_changed(pairs, tmp_path, monkeypatch):
    out, scored, score = tmp_path / "out.json", [], restoration.score

    def until_the_third(engine, pair):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(pair.name)
        return score(engine, pair)

    def counting(engine, pair):
        scored.append(pair.name)
        return score(engine, pair)

    monkeypatch.setattr(restoration, "score", until_the_third)
    assert evaluate(pairs, "--input", "--json", out) == cli.INTERRUPTED
    monkeypatch.setattr(restoration, "score", counting)
    assert evaluate(pairs, "--input", "--json", out) == 0
    assert scored == ["a", "b", "c"] and len(json.loads(out.read_text())["images"]) == 3

    scored.clear()
    monkeypatch.setattr(restoration, "score", until_the_third)
    assert evaluate(pairs, "--input", "--json", out) == cli.INTERRUPTED
    cv2.imwrite(str(pairs / "clean/c.png"), np.zeros((72, 96, 3), np.uint8))
    monkeypatch.setattr(restoration, "score", counting)
    assert evaluate(pairs, "--input", "--json", out) == 0
    assert scored == ["a", "b", "a", "b", "c"], "other data: everything is measured again"


def test_a_broken_image_leaves_out_its_pair_and_is_named(pairs, tmp_path, capsys):
    whole = (pairs / "clean/b.png").read_bytes()
    (pairs / "clean/b.png").write_bytes(whole[: len(whole) // 2])
    assert evaluate(pairs, "--input", "--json", tmp_path / "out.json") == 0
    output = capsys.readouterr().out
    assert "1 of 3 left out:" in output and "clean/b.png cannot be read: png of" in output
    assert [one["image"] for one in json.loads((tmp_path / "out.json").read_text())["images"]] == [
        "a",
        "c",
    ]
    for path in (pairs / "clean").iterdir():
        path.write_bytes(b"no image")
    assert evaluate(pairs, "--input") == 2
    assert "none of 3 can be read" in capsys.readouterr().err


def test_errors_name_their_cause(pairs, tmp_path, capsys):
    def fails_with(text, *options, folder=pairs):
        assert evaluate(folder, *options) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in message, message

    fails_with("shows no layout of rain/clean pairs; name one: rain_clean", folder=tmp_path)
    fails_with("no model named 'nothing'", "--model", "nothing")
    fails_with("omit --card", "--input", "--card")
    cv2.imwrite(str(pairs / "clean/b.png"), np.zeros((72, 90, 3), np.uint8))
    fails_with("b.png is 90x72: they must be equal", "--input")
    (pairs / "clean/b.png").unlink()
    fails_with("1 of 3 have no clean image in", "--input")
    for path in (pairs / "rain").iterdir():
        path.unlink()
    fails_with("shows no layout of rain/clean pairs", "--input")


def test_the_figures_are_stored_on_the_card(pairs, tmp_path, capsys):
    model = tiny_model.write(tmp_path / "model")
    assert evaluate(pairs, "--model", model, "--card") == 0
    card, _ = models.load(model)
    noted = card.results["sets/small restoration"]
    assert noted["frames"] == 3 and noted["rows"][0]["gain_y_db"] is not None
