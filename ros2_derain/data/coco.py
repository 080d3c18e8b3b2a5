"""Boxes in COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path

from .boxes import check_listed_size
from .images import DataError, check_files, read_image
from .objects import box_array, clip_box, object_index
from .sample import Sample


class Coco:
    """A folder of pictures with the boxes of an ``instances`` file. Lin et al., Microsoft COCO, ECCV 2014.

    Crowds and boxes without area (train2017 has some) are left out; a listed picture without
    annotations has no objects.

    Args:
        folder: what holds both of the following.
        annotations: the JSON file, e.g. annotations/instances_train2017.json.
        images: the pictures' folder, e.g. train2017.
        driving: they are road scenes.

    Raises:
        DataError: a file is missing, or an entry is malformed or refers to what is not there.
    """

    classes = ()

    def __init__(
        self,
        folder: Path,
        annotations: str = "annotations.json",
        images: str = "images",
        driving: bool = True,
    ):
        path = folder / annotations
        content = _read(path)
        entries = {entry["id"]: entry for entry in content["images"]}
        if not entries:
            raise DataError(f"{path} lists no image")
        self.images = [folder / images / entry["file_name"] for entry in entries.values()]
        check_files(self.images, "image")
        self._sizes = [(float(entry["width"]), float(entry["height"])) for entry in entries.values()]
        boxes = _boxes(path, content, entries)
        self._boxes = [box_array(boxes[key]) for key in entries]
        self._driving = driving

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self.images[index])
        check_listed_size(image, self._sizes[index], self.images[index])
        return Sample(image, None, self._boxes[index], self._driving)


_KEYS = {
    "images": {"id": int, "file_name": str, "width": (int, float), "height": (int, float)},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}


def _read(path: Path) -> dict[str, list[dict]]:
    """The three lists of an ``instances`` file, each entry with the keys that are needed."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    for part, keys in _KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DataError(f"{path} has no list `{part}`; COCO instances have {', '.join(_KEYS)}")
        for number, entry in enumerate(content[part]):
            for key, kind in keys.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                    raise DataError(f"{path}, {part}[{number}]: `{key}` is missing or of the wrong type")
    return content


def _boxes(path: Path, content: dict[str, list[dict]], entries: dict[int, dict]) -> dict[int, list]:
    """Boxes (index into OBJECTS, x0, y0, x1, y1) by image id."""
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    boxes: dict[int, list[list[float]]] = {key: [] for key in entries}
    for number, entry in enumerate(content["annotations"]):
        where = f"{path}, annotations[{number}]"
        if entry["category_id"] not in names:
            raise DataError(f"{where}: category id {entry['category_id']} is not in categories")
        if entry["image_id"] not in entries:
            raise DataError(f"{where}: image id {entry['image_id']} is not in images")
        edges = _edges(entry["bbox"], where)
        index = object_index(names[entry["category_id"]])
        empty = edges[0] == edges[2] or edges[1] == edges[3]
        if index is None or entry.get("iscrowd") or empty:
            continue
        image = entries[entry["image_id"]]
        boxes[entry["image_id"]].append([index, *clip_box(edges, image["width"], image["height"], where)])
    return boxes


def _edges(bbox: list, where: str) -> list[float]:
    """x, y, width, height -> x0, y0, x1, y1."""
    if len(bbox) != 4 or not all(isinstance(value, (int, float)) for value in bbox):
        raise DataError(f"{where}: bbox {bbox} is not x, y, width, height")
    x, y, width, height = bbox
    return [x, y, x + width, y + height]
