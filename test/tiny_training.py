"""A data folder of a few small random images and a recipe of narrow networks, for tests of training."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from ros2_derain import cli

LOOP = {
    "name": "tiny",
    "steps": 6,
    "batch": 2,
    "networks": {
        "derainer": {"network": "loopnet", "options": {"widths": [8, 8, 8, 8], "state": 4}},
        "parser": {"network": "scene_parser", "options": {"widths": [8, 8, 8, 8]}},
    },
    "optimiser": {"warm_up": 2},
    "sources": {"camvid": 1, "photographs": 1},
    "clips": {"height": 64, "width": 64, "rains": 2},
    "log_every": 1,
}
GAUGE = {
    **LOOP,
    "task": "gauge",
    "networks": {"gauge": {"network": "weather_gauge", "options": {"widths": [4, 4, 4, 4]}}},
    "sources": {"camvid": 1},
    "clips": {**LOOP["clips"], "frames": 1},
}


def write_data(folder: Path) -> Path:
    """A camvid split of three 160 x 120 images with labels and boxes, and three photographs."""
    random = np.random.default_rng(0)
    camvid, boxes = folder / "camvid/train", folder / "boxes/camvid_from_masks"
    for made in (camvid / "images", camvid / "labels", boxes, folder / "bsds/images"):
        made.mkdir(parents=True)
    pixels = {str(index): 100 * (index + 1) for index in range(12)}
    (folder / "camvid/classes.json").write_text(json.dumps({"pixels_per_class": {"train": pixels}}))
    labels = np.full((120, 160), 3, np.uint8)
    labels[40:80, 40:90] = 8
    names = [f"{index}.png" for index in range(3)]
    for name in names:
        for target in (camvid / "images", folder / "bsds/images"):
            cv2.imwrite(str(target / name), random.integers(0, 256, (120, 160, 3), np.uint8))
        cv2.imwrite(str(camvid / "labels" / name), labels)
    seen = [f"train/images/{name}" for name in names]
    write_table(boxes / "images.csv", ("image", "width", "height"), [(name, 160, 120) for name in seen])
    header = ("image", "class", "xmin", "ymin", "xmax", "ymax")
    write_table(boxes / "boxes.csv", header, [(name, "car", 40, 40, 90, 80) for name in seen])
    return folder


def write_table(path: Path, header: tuple, rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_recipe(path: Path, base: dict, **changed) -> Path:
    path.write_text(yaml.safe_dump({**base, **changed}))
    return path


def train(recipe: Path, data: Path, out: Path, *options: str) -> int:
    """``ros2-derain train``; gives its exit status."""
    arguments = ["train", str(recipe), "--data", str(data), "--out", str(out), "--workers", "1", *options]
    return cli.main(arguments)
