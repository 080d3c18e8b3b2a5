"""``ros2-derain evaluate`` on a small labelled clip, through the command line."""

import json

import cv2
import numpy as np
import pytest
import tiny_model

from ros2_derain import cli, models


@pytest.fixture
def clip(tmp_path):
    """Four labelled frames: a bright sky over a dark road, one row of it void."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for index in range(4):
        image, labels = np.full((72, 96, 3), 60, np.uint8), np.ones((72, 96), np.uint8)
        image[:30], labels[:30], labels[30] = 220, 0, 11
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), image)
        cv2.imwrite(str(tmp_path / f"labels/{index}.png"), labels)
    return tmp_path


def evaluate(clip, *options: str) -> int:
    model = tiny_model.write(clip / "model")
    folders = ["--images", str(clip / "images"), "--labels", str(clip / "labels")]
    return cli.main(["evaluate", *folders, "--model", str(model), *options])


def test_every_rate_and_prior_has_its_row(clip, capsys):
    out = clip / "out" / "figures.json"
    assert evaluate(clip, "--rates", "0,100", "--priors", "temporal,none", "--json", str(out)) == 0
    report = json.loads(out.read_text())
    rows = [(row["rate_mm_h"], row["input"]) for row in report["rows"]]
    assert rows == [(rate, given) for rate in (0, 100) for given in ("rain", "temporal", "none")]
    assert report["frames"] == 4 and len(report["sha256"]) == 64
    dry, rain = report["rows"][0], report["rows"][3]
    assert dry["psnr_db"] is None and 5 < rain["psnr_db"] < 40
    for row in report["rows"]:
        assert 0 <= row["miou"] <= 1 and row["gate_open"] == 1 and 95 < row["read_mm_h"] < 105
        assert set(row["iou"]) == set(tiny_model.CLASSES)
    assert capsys.readouterr().out.count("temporal") == 2


def test_the_same_run_gives_the_same_figures(clip):
    for name in ("first", "second"):
        assert evaluate(clip, "--rates", "80", "--json", str(clip / name)) == 0
    assert (clip / "first").read_text() == (clip / "second").read_text()


def test_what_is_missing_is_named(clip, capsys):
    (clip / "labels/2.png").unlink()
    assert evaluate(clip) == 2
    assert "1 label files are missing, the first is" in capsys.readouterr().err
    (clip / "labels/2.png").write_bytes(b"")
    assert evaluate(clip) == 2
    assert "labels/2.png is not an image" in capsys.readouterr().err
    assert evaluate(clip, "--images", str(clip / "model")) == 2
    assert "holds no .jpg or .png image" in capsys.readouterr().err


def test_the_figures_go_onto_the_card(clip):
    assert evaluate(clip, "--rates", "90", "--card") == 0
    card, _ = models.load(clip / "model")
    (noted,) = card.results.values()
    assert noted["frames"] == 4 and [row["input"] for row in noted["rows"]] == ["rain", "temporal"]
