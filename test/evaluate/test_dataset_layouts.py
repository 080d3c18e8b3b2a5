"""``evaluate`` reads the layouts that training reads, through the command line."""

import json
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain import cli

CAR = (40, 40, 60, 60)
"""The only object: x0, y0, x1, y1 in pixels of an image of 96 x 72."""
IDS = {"camvid": (0, 1, 2, 11), "cityscapes": (23, 7, 26, 0), "voc": (0, 0, 7, 255)}
"""Ids of sky, road, car and void; VOC has neither sky nor road."""


def scene() -> np.ndarray:
    image = np.full((72, 96, 3), 60, np.uint8)
    image[:30] = 220
    image[CAR[1] : CAR[3], CAR[0] : CAR[2]] = (10, 10, 120)
    return image


def labels(sky: int, road: int, car: int, void: int) -> np.ndarray:
    ids = np.full((72, 96), road, np.uint8)
    ids[:30], ids[30] = sky, void
    ids[CAR[1] : CAR[3], CAR[0] : CAR[2]] = car
    return ids


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def voc_xml(name: str) -> str:
    box = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (41, 41, 60, 60), strict=True)
    )
    size = "<size><width>96</width><height>72</height></size>"
    return f"<annotation>{size}<object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"


def camvid(root: Path) -> None:
    for stem in ("1", "2", "10"):
        write(root / f"images/{stem}.png", scene())
        write(root / f"labels/{stem}.png", labels(*IDS["camvid"]))


def cityscapes(root: Path) -> None:
    for city, kind in (("aachen", "labelIds"), ("bonn", "labelTrainIds")):
        write(root / f"leftImg8bit/val/{city}/{city}_0_leftImg8bit.png", scene())
        ids = IDS["cityscapes"] if kind == "labelIds" else (10, 0, 13, 255)
        write(root / f"gtFine/val/{city}/{city}_0_gtFine_{kind}.png", labels(*ids))


def voc(root: Path) -> None:
    for stem in ("2007_1", "2007_2", "unlabelled"):
        write(root / f"VOCdevkit/VOC2012/JPEGImages/{stem}.jpg", scene())
    for stem in ("2007_1", "2007_2"):
        write(root / f"VOCdevkit/VOC2012/SegmentationClass/{stem}.png", labels(*IDS["voc"]))
        annotation = root / f"VOCdevkit/VOC2012/Annotations/{stem}.xml"
        annotation.parent.mkdir(exist_ok=True)
        annotation.write_text(voc_xml("bus"))


def yolo(root: Path) -> None:
    for stem in ("1", "2"):
        write(root / f"images/val/{stem}.png", scene())
    (root / "labels/val").mkdir(parents=True)
    (root / "labels/val/1.txt").write_text(f"1 {50 / 96} {50 / 72} {20 / 96} {20 / 72}\n0 0.1 0.1 0.1 0.1\n")
    (root / "data.yaml").write_text("names: [zebra, Truck]\n")


def coco(root: Path) -> None:
    write(root / "val2017/1.png", scene())
    (root / "annotations").mkdir()
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 96, "height": 72}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [40, 40, 20, 20]}],
    }
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))


def csv_boxes(root: Path) -> None:
    write(root / "images/1.png", scene())
    (root / "images.csv").write_text("image,width,height\n1.png,96,72\n")
    (root / "boxes.csv").write_text("image,class,xmin,ymin,xmax,ymax\n1.png,truck,40,40,60,60\n")


WHOLE = {camvid: 3, cityscapes: 2, voc: 2, yolo: 2, coco: 1, csv_boxes: 1}
"""Frames of each dataset."""

PARTS = {
    cityscapes: ("leftImg8bit/val", "gtFine/val", None),
    voc: ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass", None),
    yolo: ("images/val", None, "."),
    coco: ("val2017", None, "annotations/instances_val2017.json"),
    csv_boxes: ("images", None, "."),
}
"""Images, label maps and boxes of some, one by one."""


def perception(model, out: Path, *options) -> dict:
    words = ["evaluate", "perception", "--model", model, "--rates", "0", "--json", out, *options]
    assert cli.main(list(map(str, words))) == 0
    return json.loads(out.read_text())


def check(result: dict, make, frames: int) -> None:
    row = result["rows"][0]
    assert result["frames"] == frames
    if make in (camvid, cityscapes, voc):
        assert 0 <= row["miou"] <= 1 and (row["iou"]["car"] is not None)
        sky = row["iou"]["sky"]  # VOC has none: 0 where the untrained model calls something that
        assert not sky if make is voc else sky is not None
    else:
        assert row["miou"] is None
    assert ("ap50" in row) is (make not in (camvid, cityscapes))


@pytest.mark.parametrize("make", WHOLE, ids=lambda make: make.__name__)
def test_a_whole_dataset_needs_its_folder_only(make, tmp_path, rainy_model, capsys):
    make(tmp_path / "set")
    result = perception(rainy_model, tmp_path / "out.json", "--images", tmp_path / "set")
    check(result, make, WHOLE[make] if make is not voc else 2)
    if make is yolo:
        assert "that the model does not detect are ignored: zebra (1)" in capsys.readouterr().out


@pytest.mark.parametrize("make", PARTS, ids=lambda make: make.__name__)
def test_the_folders_of_a_dataset_are_given_one_by_one(make, tmp_path, rainy_model):
    root = tmp_path / "set"
    make(root)
    options = []
    for option, part in zip(("--images", "--labels", "--boxes"), PARTS[make], strict=True):
        options += [option, root / part] if part else []
    result = perception(rainy_model, tmp_path / "out.json", *options)
    assert result["frames"] == WHOLE[make]


LAYOUTS = {
    "rain_clean": ("rain/{}.png", "clean/{}.png"),
    "input_target": ("input/{}.png", "target/{}.png"),
    "rain100": ("rain-{}.png", "norain-{}.png"),
    "rain100_rainy": ("rainy/rain-{}.png", "norain-{}.png"),
    "rain_norain": ("rain/norain-{}x2.png", "norain/norain-{}.png"),
    "jorder": ("rain/X2/norain-{}x2.png", "norain/norain-{}.png"),
    "rain14000": ("rainy_image/{}_1.jpg", "ground_truth/{}.jpg"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_of_every_public_layout(layout, tmp_path):
    for number in (1, 2, 10):
        rainy, clean = (tmp_path / "set" / name.format(number) for name in LAYOUTS[layout])
        write(rainy, np.full((72, 96, 3), 60, np.uint8))
        write(clean, np.full((72, 96, 3), 50, np.uint8))
    out = tmp_path / "out.json"
    words = ["evaluate", "restoration", "--input", "--pairs", str(tmp_path / "set"), "--json", str(out)]
    assert cli.main(words) == 0
    result = json.loads(out.read_text())
    assert [int("".join(filter(str.isdigit, one["image"]))[:1]) for one in result["images"]] == [1, 2, 1]
    assert result["rows"][0]["psnr_db"] == pytest.approx(20 * math.log10(255 / 10), abs=0.5)


@pytest.mark.parametrize(("layout", "rainy_half"), [("rain800", 1), ("rain1200", 0)])
def test_pairs_in_one_image_are_named_by_their_layout(layout, rainy_half, tmp_path, capsys):
    halves = [np.full((72, 96, 3), 50, np.uint8)] * 2
    halves[rainy_half] = np.full((72, 96, 3), 60, np.uint8)
    write(tmp_path / "set/1.png", np.hstack(halves))
    words = ["evaluate", "restoration", "--input", "--pairs", str(tmp_path / "set")]
    assert cli.main(words) == 2
    assert "shows no layout" in capsys.readouterr().err
    assert cli.main([*words, "--layout", layout]) == 0
    assert "28.13" in capsys.readouterr().out


def test_real_rain_with_a_name_that_is_not_utf_8_and_a_broken_file(tmp_path, rainy_model, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    write(folder / "1.png", scene())
    png = (folder / "1.png").read_bytes()
    Path(os.fsdecode(os.fsencode(folder) + b"/stra\xdfe.png")).write_bytes(png)
    (folder / "2.jpg").write_bytes(png[:100])
    words = ["evaluate", "real", "--images", folder, "--out", out, "--model", rainy_model]
    assert cli.main(list(map(str, words))) == 0
    assert "1 of 3 left out:" in (said := capsys.readouterr().out) and "2.jpg" in said
    assert json.loads((out / "real.json").read_text())["frames"] == 2
    assert (out / "report.html").is_file()
