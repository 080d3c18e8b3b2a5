"""Networks made elsewhere, scored by ``evaluate perception``."""

import json

import numpy as np
import pytest
import tiny_model
from foreign_networks import constant

from ros2_derain import cli
from ros2_derain.data import CAMVID_CLASSES, CITYSCAPES_CLASSES
from ros2_derain.data.images import write_image

pytest.importorskip("onnxruntime")


def run(*words):
    assert cli.main([str(word) for word in words]) == 0


def add(folder, file, kind, classes, base):
    run("models", "import", file, "--as", kind, "--classes", classes, "--base", base, "--out", folder)


def dry_row(folder, out, *words) -> dict:
    """The row of the camera's images."""
    run("evaluate", "perception", "--model", folder, "--rates", "0", "--json", out, *words)
    return next(row for row in json.loads(out.read_text())["rows"] if row["input"] == "dry")


def test_a_strangers_yolox_reaches_its_reference(data_dir, tmp_path):
    base = tiny_model.write(tmp_path / "base", reads_mm_h=0.0)
    add(tmp_path / "mine", data_dir / "foreign_models/yolox_nano.onnx", "detector", "coco", base)
    boxes = data_dir / "boxes/coco_traffic"
    words = ("--images", boxes / "images", "--boxes", boxes, "--prior", "none")
    found = dry_row(tmp_path / "mine", tmp_path / "out.json", *words)["boxes"]
    assert found["person"]["ap50"] >= 0.44
    assert found["truck"]["ap50"] >= 0.34
    assert found["car"]["ap50"] >= 0.17


def test_finer_classes_are_merged_into_those_of_the_labels(tmp_path):
    """Vegetation and terrain are both ``tree`` of CamVid's labels; a train is none of its classes."""
    finer = np.zeros((1, 64, 96), np.int64)
    for column, name in enumerate(("vegetation", "terrain", "car", "truck", "train", "sky")):
        finer[:, :, 16 * column : 16 * column + 16] = CITYSCAPES_CLASSES.index(name)
    file = constant(tmp_path / "labels.onnx", {"labels": finer}, (1, 3, 64, 96))
    base = tiny_model.write(tmp_path / "base", reads_mm_h=0.0)
    add(tmp_path / "mine", file, "segmentation", "cityscapes", base)
    labels = np.repeat(np.array([5, 5, 8, 8, 8, 0], np.uint8), 16)[None].repeat(64, 0)
    for name, image in (("images", np.zeros((64, 96, 3), np.uint8)), ("labels", labels)):
        (tmp_path / name).mkdir()
        for number in range(2):
            write_image(tmp_path / name / f"{number}.png", image)
    (tmp_path / "classes.txt").write_text("\n".join(CAMVID_CLASSES))
    words = ("--images", tmp_path / "images", "--labels", tmp_path / "labels")
    words += ("--classes", tmp_path / "classes.txt", "--prior", "none")
    found = dry_row(tmp_path / "mine", tmp_path / "out.json", *words)["iou"]
    assert set(found) == set(CAMVID_CLASSES)
    assert found["tree"] == found["sky"] == 1.0 and found["car"] == pytest.approx(2 / 3, abs=0.02)
