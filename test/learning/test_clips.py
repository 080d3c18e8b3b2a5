"""Clips: labels and boxes follow the picture; an item depends on the seed and its index alone."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.data import CamVid, Photographs
from ros2_derain.learning.clips import Clips, ClipSettings
from ros2_derain.learning.views import paste


def write_split(folder: Path, count: int = 3) -> Path:
    """A camvid-like split: a bright square of class 8 (car) on road, with its box."""
    for name in ("train/images", "train/labels", "boxes"):
        (folder / name).mkdir(parents=True)
    listed = [f"train/images/{index}.png,320,240" for index in range(count)]
    (folder / "boxes" / "images.csv").write_text("\n".join(["image,width,height", *listed]))
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
    clips = Clips([(source, 1.0)], settings, seed=1)
    for item in (clips[index] for index in range(12)):
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
    begun, resumed = (Clips([(source, 1.0)], settings, seed=3) for _ in range(2))
    for index in range(5):
        begun[index]
    first, second = begun[5], resumed[5]
    assert all((first[key] == second[key]).all() for key in first), "an item depends on nothing before it"
    assert not first["boxes_known"]
    other = Clips([(source, 1.0)], settings, seed=4)[5]
    assert any((first[key] != other[key]).any() for key in ("rain", "clean"))


def test_streaks_of_real_pairs_fall_on_photographs(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((100, 120, 3), 60, np.uint8))
    layer = np.zeros((80, 90), np.uint8)
    layer[:, ::6] = 90
    settings = ClipSettings(height=64, width=64, frames=2, dry=0.0, light=0.0, layers=1.0, storms=2)
    item = Clips([(Photographs(tmp_path), 1.0)], settings, seed=0, layers=[layer])[0]
    rain, clean = item["rain"].int(), item["clean"].int()
    assert (clean == 60).all() and (rain >= clean).all() and (rain > clean + 40).float().mean() > 0.05
    assert item["raining"] and item["rate"] == -1 and not item["follows"]
    assert (rain[0] != rain[1]).any(), "the views of a photograph get rain of their own"


def test_pasted_objects_bring_their_labels_and_boxes(tmp_path):
    folder = write_split(tmp_path)
    source = CamVid(folder / "train", folder / "boxes")
    empty = replace(
        source[0], image=np.zeros_like(source[0].image), labels=np.full((240, 320), 3, np.uint8),
        boxes=np.zeros((0, 5), np.float32),
    )  # fmt: skip
    pasted = [paste(empty, source[0], np.random.default_rng(seed)) for seed in range(20)]
    cars = [sample for sample in pasted if (sample.labels == 8).any()]
    assert 0 < len(cars) < 20
    for sample in pasted:
        has_car = (sample.labels == 8).any()
        assert len(sample.boxes) == has_car and (sample.image[130, 160] == 255 * has_car).all()
    assert (empty.image == 0).all(), "the sample itself is left alone"
