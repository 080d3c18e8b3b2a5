"""``ros2-derain evaluate perception`` on a small labelled clip, through the command line."""

import json

import cv2
import numpy as np
import pytest
import tiny_model

from ros2_derain import cli, models
from ros2_derain.evaluate import conditions
from ros2_derain.metrics.image import psnr
from ros2_derain.rain import Rain, RainRenderer

FRAMES, FPS = 4, 15
CAR = {"xmin": 40, "ymin": 40, "xmax": 60, "ymax": 60}


@pytest.fixture
def clip(tmp_path):
    """Four labelled frames: a bright sky over a dark road with a car, one row of it void; and boxes."""
    folder = tmp_path / "town" / "val"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(FRAMES):
        image, labels = np.full((72, 96, 3), 60, np.uint8), np.ones((72, 96), np.uint8)
        image[:30], labels[:30], labels[30] = 220, 0, 11
        image[40:60, 40:60], labels[40:60, 40:60] = (10, 10, 120), 2
        cv2.imwrite(str(folder / f"images/{index}.png"), image)
        cv2.imwrite(str(folder / f"labels/{index}.png"), labels)
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    names = [f"val/images/{index}.png" for index in range(FRAMES)]
    (boxes / "images.csv").write_text("image,width,height\n" + "".join(f"{name},96,72\n" for name in names))
    rows = "".join(f"{name},Car,{','.join(map(str, CAR.values()))}\n" for name in names[1:])
    (boxes / "boxes.csv").write_text("image,class," + ",".join(CAR) + "\n" + rows)
    return folder


def evaluate(clip, model, *options: str) -> int:
    folders = ["--images", str(clip / "images"), "--labels", str(clip / "labels")]
    return cli.main(["evaluate", "perception", *folders, "--model", str(model), *map(str, options)])


def rows_of(file) -> dict:
    return {(row["rate_mm_h"], row["input"]): row for row in json.loads(file.read_text())["rows"]}


def test_every_rate_and_parser_input_has_its_row(clip, rainy_model, tmp_path, capsys):
    out, page = tmp_path / "out" / "figures.json", tmp_path / "out" / "page.html"
    ways = ("--prior", "temporal,closed_loop", "--iterations", "1,2")
    assert evaluate(clip, rainy_model, "--rates", "0,100", *ways, "--json", out, "--html", page) == 0
    report = json.loads(out.read_text())
    loops = ["temporal", "closed_loop x1", "closed_loop x2"]
    assert list(rows_of(out)) == [(0, "dry"), *((0, way) for way in loops)] + [
        *((100, way) for way in ("rain", *loops))
    ]
    assert report["frames"] == FRAMES and report["data"]["name"] == "town/val"
    assert len(report["model_sha256"]) == len(report["data"]["sha256"]) == 64
    for row in report["rows"]:
        assert 0 <= row["miou"] <= row["pixel_accuracy"] <= 1 and 0 <= row["flicker"] <= 1
        assert set(row["iou"]) == set(row["accuracy"]) == set(tiny_model.CLASSES)
        if row["input"] in loops:
            assert row["gate_open"] == 1 and 95 < row["read_mm_h"] < 105
    assert capsys.readouterr().out.count("closed_loop x2") == 2
    assert "mIoU over the rain rate" in page.read_text()
    assert not list(out.parent.glob(".*")), "no partial file is left"


def test_the_rain_row_is_the_rendered_rain(clip, rainy_model, tmp_path):
    out = tmp_path / "figures.json"
    assert evaluate(clip, rainy_model, "--rates", "100", "--seed", "7", "--json", out) == 0
    renderer = RainRenderer(Rain(100.0), 72, 96, seed=7)
    expected = []
    for index in range(FRAMES):
        clean = cv2.imread(str(clip / f"images/{index}.png"))[:, :, ::-1].copy()
        expected.append(psnr(renderer.render(clean, index / FPS), clean))
    rows = rows_of(out)
    assert rows[100, "rain"]["psnr_db"] == pytest.approx(np.mean(expected))
    assert rows[0, "dry"]["psnr_db"] is None, "dry images are parsed too, and they are the clean ones"


def test_a_closed_gate_leaves_every_frame_untouched(clip, dry_model, tmp_path):
    out = tmp_path / "figures.json"
    assert evaluate(clip, dry_model, "--rates", "0,100", "--json", out) == 0
    for row in json.loads(out.read_text())["gauge"]["rates"]:
        assert row["gate_open"] == 0 and row["untouched"] == 1
    rows = rows_of(out)
    assert rows[0, "temporal"]["psnr_db"] is None
    assert rows[100, "temporal"]["miou"] == rows[100, "rain"]["miou"]
    assert evaluate(clip, dry_model, "--rates", "0", "--no-gate", "--json", out) == 0
    assert json.loads(out.read_text())["gauge"]["rates"][0]["gate_open"] == 1
    assert rows_of(out)[0, "temporal"]["psnr_db"] < 100


def test_several_seeds_give_mean_and_spread(clip, rainy_model, tmp_path):
    found = {}
    for seeds in ("1", "2", "1,2"):
        out = tmp_path / "figures.json"
        assert evaluate(clip, rainy_model, "--rates", "120", "--seed", seeds, "--json", out) == 0
        found[seeds] = rows_of(out)[120, "rain"]
    each = [found[seed]["psnr_db"] for seed in ("1", "2")]
    assert each[0] != each[1]
    assert found["1,2"]["psnr_db"] == pytest.approx(np.mean(each))
    assert found["1,2"]["spread"]["psnr_db"] == pytest.approx(np.std(each, ddof=1))


def test_a_further_parser_gets_the_rain_and_the_image_restored_without_prior(clip, rainy_model, tmp_path):
    out = tmp_path / "figures.json"
    assert (
        evaluate(clip, rainy_model, "--rates", "100", "--parser", f"twin={rainy_model}", "--json", out) == 0
    )
    rows = rows_of(out)
    assert {name for rate, name in rows if rate == 100} == {
        *("rain", "twin: rain", "temporal", "none", "twin: derained")
    }
    assert rows[100, "twin: rain"]["miou"] == rows[100, "rain"]["miou"]
    assert rows[100, "twin: derained"]["psnr_db"] == rows[100, "none"]["psnr_db"]


def test_boxes_are_scored_for_each_class(clip, rainy_model, tmp_path, capsys):
    out = tmp_path / "figures.json"
    boxes = clip.parent.parent / "boxes"
    assert evaluate(clip, rainy_model, "--rates", "100", "--boxes", boxes, "--json", out) == 0
    rows = rows_of(out)
    for row in rows.values():
        assert 0 <= row["boxes"]["car"]["ap"] <= row["boxes"]["car"]["ap50"] == row["ap50"] <= 1
        assert row["boxes"]["pedestrian"]["ap50"] is None, "no pedestrian is in the truth"
        assert 0 <= row["recall"] <= 1
    assert "recovery" in rows[100, "temporal"] and "recovery" not in rows[100, "rain"]
    assert "AP50:95 %" in capsys.readouterr().out


def test_an_interrupted_run_continues(clip, rainy_model, tmp_path, monkeypatch):
    out, whole = tmp_path / "figures.json", tmp_path / "whole.json"
    options = ("--rates", "0,100", "--prior", "temporal,none")
    assert evaluate(clip, rainy_model, *options, "--json", whole) == 0
    done, measure = [], conditions.measure

    def until_the_fourth(setup, condition, step):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(condition)
        return measure(setup, condition, step)

    monkeypatch.setattr(conditions, "measure", until_the_fourth)
    assert evaluate(clip, rainy_model, *options, "--json", out) == cli.INTERRUPTED
    assert not out.exists()
    (cache,) = tmp_path.glob(".figures.json.partial.jsonl")
    cache.write_text(cache.read_text()[:-10])  # as a kill in the middle of a line leaves it
    again = []
    monkeypatch.setattr(conditions, "measure", lambda *case: again.append(case[1]) or measure(*case))
    assert evaluate(clip, rainy_model, *options, "--json", out) == 0
    repeated = [(condition.rate, condition.input.name) for condition in again]
    assert repeated == [(0, "none"), (100, "rain"), (100, "temporal"), (100, "none")]
    assert rows_of(out) == rows_of(whole) and not cache.exists()


def test_errors_name_their_cause(clip, rainy_model, tmp_path, capsys):
    def fails_with(text, *options):
        assert evaluate(clip, rainy_model, *options) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in message, message

    fails_with("--rates: 'wet' is not a rain rate", "--rates", "0,wet")
    fails_with("--rates: '300' is not a rain rate in 0..250", "--rates", "300")
    fails_with("--rates: '5,5' repeats a value", "--rates", "5,5")
    fails_with("'sometimes' is not one of closed_loop, temporal, none", "--prior", "sometimes")
    fails_with("'9' is not a number of iterations in 1..5", "--iterations", "9")
    fails_with("expected NAME=MODEL", "--parser", "clean")
    fails_with("holds no image", "--images", str(tmp_path / "boxes"))
    (tmp_path / "classes.txt").write_text("sky\nroad\nboat\n")
    fails_with("names class 'boat', which the model does not know", "--classes", tmp_path / "classes.txt")
    (tmp_path / "boxes/boxes.csv").write_text(
        "image,class,xmin,ymin,xmax,ymax\nval/images/1.png,boat,0,0,9,9\n"
    )
    options = ("--boxes", tmp_path / "boxes", "--rates", "0")
    assert evaluate(clip, rainy_model, *options) == 0
    ignored = "boxes of classes that the model does not detect are ignored: boat (1)"
    assert ignored in capsys.readouterr().out

    wrong = np.full((72, 96), 7, np.uint8)
    cv2.imwrite(str(clip / "labels/2.png"), wrong)
    fails_with("labels/2.png holds label id 7 (at x 0, y 0); known are 0..2")
    cv2.imwrite(str(clip / "labels/2.png"), np.zeros((70, 96), np.uint8))
    fails_with("they must be equal")
    (clip / "labels/2.png").write_bytes(b"")
    assert evaluate(clip, rainy_model, "--rates", "0", "--json", tmp_path / "left.json") == 0
    output = capsys.readouterr().out
    assert "1 of 4 left out:" in output and "labels/2.png is not an image" in output
    assert json.loads((tmp_path / "left.json").read_text())["frames"] == 3
    (clip / "labels/2.png").unlink()
    fails_with("lacks label maps (.png) for 1 of 4 images, the first is 2")


def test_a_parser_of_other_classes_is_refused(clip, rainy_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tiny_model, "CLASSES", ("sky", "road", "boat"))
    other = tiny_model.write(tmp_path / "other")
    assert evaluate(clip, rainy_model, "--parser", f"other={other}") == 2
    assert "its classes are not those of rainy: sky, road, boat" in capsys.readouterr().err


def test_the_figures_are_stored_on_the_card(clip, tmp_path, capsys):
    model = tiny_model.write(tmp_path / "model")
    assert evaluate(clip, model, "--rates", "90", "--card") == 0
    card, _ = models.load(model)
    noted = card.results["town/val perception"]
    assert noted["by"] == "ros2-derain evaluate perception" and noted["frames"] == FRAMES
    assert [row["input"] for row in noted["rows"]] == ["dry", "rain", "temporal"]
