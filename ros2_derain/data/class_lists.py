"""Lists of class names in the order of a network's outputs: known ones, and those of files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .classes import CAMVID_CLASSES, CITYSCAPES_CLASSES, VOC_CLASSES
from .images import DataError

COCO_CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse"),
    *("sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie"),
    *("suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove"),
    *("skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon"),
    *("bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut"),
    *("cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book"),
    *("clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The 80 object classes of COCO in the order that detectors use (Lin et al., ECCV 2014)."""

_COCO_GAPS = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Numbers below 91 that stand for no class in COCO's files."""

BDD_CLASSES = (
    *("person", "rider", "car", "bus", "truck", "bike", "motor", "traffic light", "traffic sign", "train"),
)
"""The 10 object classes of BDD100K (Yu et al., CVPR 2020)."""


def _with_gaps() -> tuple[str, ...]:
    names = iter(COCO_CLASSES)
    return tuple(f"none {number}" if number in _COCO_GAPS else next(names) for number in range(91))


CLASS_LISTS: Mapping[str, tuple[str, ...]] = {
    "camvid": CAMVID_CLASSES,
    "cityscapes": CITYSCAPES_CLASSES,
    "voc": VOC_CLASSES,
    "coco": COCO_CLASSES,
    "coco91": _with_gaps(),
    "bdd": BDD_CLASSES,
}
"""By name; ``coco91`` is numbered as COCO's files are."""


def class_list(text: str) -> tuple[str, ...]:
    """The classes of a list of :data:`CLASS_LISTS` or of a file, by id.

    Args:
        text: a name, or a file: text with a name a line; YAML or JSON with a list, or ``names``,
            ``classes`` or ``id2label``; CSV with a column ``name`` and maybe ``id``.

    Raises:
        DataError: there is no such list or file, it is malformed, or names one class twice.
    """
    if text.lower() in CLASS_LISTS:
        return CLASS_LISTS[text.lower()]
    path = Path(text)
    if not path.is_file():
        raise DataError(f"no class list {text}: give a file, or one of {', '.join(CLASS_LISTS)}")
    try:
        names = _named(_content(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise DataError(f"{path} is not a list of classes ({reason}): write a name a line") from error
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(f"{path} names class {repeated[0]!r} twice")
    if not names:
        raise DataError(f"{path} names no class: write a name a line")
    return names


def _content(path: Path) -> Any:
    text = path.read_text(encoding="utf-8-sig")
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return yaml.safe_load(text)
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".csv":
        return _csv_names(text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _csv_names(text: str) -> list[str] | dict[int, str]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if not rows:
        return []
    head = [cell.lower() for cell in rows[0]]
    column = next((head.index(name) for name in ("name", "class", "label") if name in head), None)
    if column is None:
        return [row[-1] for row in rows]
    number = next((head.index(name) for name in ("id", "train_id", "index") if name in head), None)
    if number is None:
        return [row[column] for row in rows[1:]]
    return {int(row[number]): row[column] for row in rows[1:]}


def _named(data: Any) -> tuple[str, ...]:
    if isinstance(data, dict):
        for key in ("names", "classes", "id2label"):
            if key in data:
                void = data.get("void_id", data.get("ignore_id"))
                return _named(_without(data[key], void))
        data = {int(key): value for key, value in data.items()}
        if sorted(data) != list(range(len(data))):
            raise ValueError("its ids are not 0, 1, 2 and so on")
        data = [data[number] for number in range(len(data))]
    if isinstance(data, list) and all(isinstance(entry, dict) for entry in data) and data:
        return _named({int(entry["id"]): entry["name"] for entry in data})
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise ValueError("it holds no list of names")
    return tuple(data)


def _without(listed: Any, void: int | None) -> Any:
    """A list of classes without the one that means unlabelled."""
    if void is None or not isinstance(listed, list):
        return listed
    return [entry for entry in listed if not isinstance(entry, dict) or entry.get("id") != void]
