"""Sources and clips: labels and boxes follow the picture; broken folders are named."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.learning.clips import Clips, ClipSettings
from ros2_derain.learning.errors import LearningError
from ros2_derain.learning.sources import Boxes, CamVid, Photographs


def write_split(folder: Path, count: int = 3) -> Path:
    """A camvid-like split: a bright square of class 8 (car) on road, with its box."""
    for name in ("train/images", "train/labels", "boxes"):
        (folder / name).mkdir(parents=True)
    with (folder / "boxes" / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "class", "xmin", "ymin", "xmax", "ymax"))
        for index in range(count):
            image, labels = np.zeros((240, 320, 3), np.uint8), np.full((240, 320), 3, np.uint8)
            image[100:160, 120:200], labels[100:160, 120:200] = 255, 8
            labels[:10] = 11
            cv2.imwrite(str(folder / f"train/images/{index}.png"), image)
            cv2.imwrite(str(folder / f"train/labels/{index}.png"), labels)
            writer.writerow((f"train/images/{index}.png", "car", 120, 100, 200, 160))
    return folder


def test_labels_and_boxes_follow_the_picture(tmp_path):
    folder = write_split(tmp_path)
    source = CamVid(folder / "train", folder / "boxes")
    settings = ClipSettings(height=96, width=128, frames=3, dry=1.0, storms=2)
    boxes_seen = 0
    for _, item in zip(range(12), Clips([(source, 1.0)], settings, seed=1), strict=False):
        assert item["clean"].shape == (3, 3, 96, 128) and item["labels"].shape == (3, 96, 128)
        assert (item["rain"] == item["clean"]).all() and item["rate"] == 0
        for clean, labels, boxes in zip(item["clean"], item["labels"], item["boxes"], strict=True):
            bright = clean.float().mean(0) > 100
            agree = (bright == (labels == 8)).float().mean()
            assert agree > 0.97
            for _, x0, y0, x1, y1 in boxes[boxes[:, 0] >= 0]:
                boxes_seen += 1
                inside = bright[int(y0 + 1) : int(y1), int(x0 + 1) : int(x1)]
                assert inside.float().mean() > 0.9
    assert boxes_seen > 10


def test_the_same_seed_gives_the_same_clips(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(height=64, width=64, storms=2)
    first, second = (next(iter(Clips([(source, 1.0)], settings, seed=3))) for _ in range(2))
    assert all((first[key] == second[key]).all() for key in first)
    assert not first["boxes_known"]


def test_void_becomes_unlabelled(tmp_path):
    labels = CamVid(write_split(tmp_path) / "train")[0].labels
    assert set(np.unique(labels)) == {3, 8, 255}


def test_broken_folders_are_named(tmp_path):
    folder = write_split(tmp_path)
    with pytest.raises(LearningError, match="nowhere/images is not a folder"):
        CamVid(folder / "nowhere")
    with pytest.raises(LearningError, match="holds no .jpg"):
        Photographs(folder / "boxes")
    with pytest.raises(LearningError, match="boxes.csv is missing"):
        Boxes(folder / "train")
    (folder / "train/labels/1.png").unlink()
    with pytest.raises(LearningError, match="1 label files are missing, the first is .*1.png"):
        CamVid(folder / "train")
    cv2.imwrite(str(folder / "train/labels/1.png"), np.full((240, 320), 12, np.uint8))
    with pytest.raises(LearningError, match="holds label id 12"):
        CamVid(folder / "train")[1]
    (folder / "train/images/0.png").write_bytes(b"no picture")
    with pytest.raises(LearningError, match="0.png is missing or not an image"):
        CamVid(folder / "train")[0]


def test_the_real_sets_are_readable(data_dir):
    camvid = CamVid(data_dir / "camvid" / "train", data_dir / "boxes" / "camvid_from_masks")
    assert len(camvid) == 367 and len(camvid[0].boxes) == 3
    fog = Boxes(data_dir / "boxes" / "dawn_fog")
    assert len(fog) == 180 and sum(len(fog[i].boxes) for i in range(5)) > 0
