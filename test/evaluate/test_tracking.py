"""``evaluate tracking`` on small clips."""

import json
from pathlib import Path

import numpy as np
import pytest

from ros2_derain import cli
from ros2_derain.data.boxes import BoxList, read_boxes

SAMPLE = Path(__file__).resolve().parent.parent.parent / "samples/highway"


def run(*arguments):
    return cli.main(["evaluate", "tracking", *map(str, arguments)])


@pytest.fixture
def arguments(small_clip, dry_model, tmp_path):
    return (
        *("--images", small_clip, "--fps", 25, "--rates", "0,50", "--model", dry_model, "--device", "cpu"),
        *("--json", tmp_path / "tracking.json"),
    )


def test_a_dry_clip_agrees_with_itself(arguments, tmp_path, capsys):
    assert run(*arguments, "--frames", 4) == 0
    dry, rainy = json.loads((tmp_path / "tracking.json").read_text())["rows"]
    assert (dry["rate_mm_h"], rainy["rate_mm_h"]) == (0, 50)
    assert (dry["switches"], dry["fragmentations"]) == (0, 0)
    assert "switches" in capsys.readouterr().out


@pytest.mark.parametrize(("column", "ids"), [("", "by the tracker"), (",track", "given")])
def test_true_boxes_are_those_of_a_folder(arguments, small_clip, tmp_path, column, ids):
    names = sorted(path.name for path in small_clip.glob("*.png"))
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / "images.csv").write_text("image,width,height\n" + "".join(f"{name},160,96\n" for name in names))
    track = ",red car" if column else ""
    rows = [f"{name},car,{x},10,{x + 30},40{track}\n" for x, name in zip(np.arange(12), names, strict=True)]
    (folder / "boxes.csv").write_text(f"image,class,xmin,ymin,xmax,ymax{column}\n{''.join(rows)}")
    assert run(*arguments, "--boxes", folder) == 0
    result = json.loads((tmp_path / "tracking.json").read_text())
    assert result["rows"][0]["true_boxes"] == 12 and result["settings"]["true_ids"] == ids


def test_the_sample_clip_has_true_boxes_with_ids():
    listed = read_boxes(SAMPLE)
    assert sorted(listed) == sorted(path.name for path in SAMPLE.glob("*.jpg"))
    assert {tuple(boxes.tracks) for boxes in listed.values()} == {tuple("ABCDEFG")}


def test_ids_of_other_classes_than_the_model_s_are_left_out():
    boxes = BoxList((160, 96))
    for name, track in (("car", "1"), ("boat", "2"), ("pedestrian", "3")):
        boxes.add(name, [1, 1, 9, 9], "", track)
    assert boxes.tracks_of(("car", "pedestrian")) == ["1", "3"]
    assert boxes.array(160, 96, "", ("car", "pedestrian"))[:, 0].tolist() == [0, 1]


def test_an_image_without_true_boxes_is_named(arguments, tmp_path, capsys):
    (tmp_path / "images.csv").write_text("image,width,height\nother.png,160,96\n")
    (tmp_path / "boxes.csv").write_text("image,class,xmin,ymin,xmax,ymax\n")
    assert run(*arguments, "--boxes", tmp_path) == 2
    assert "does not list" in capsys.readouterr().err
