"""A clip with label maps, and boxes where there are some."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain.data.images import check_same_size, list_images, partners, read_image, read_label_map
from ros2_derain.engine import UNLABELLED
from ros2_derain.errors import EvaluationError
from ros2_derain.metrics.detection import Boxes

CAMVID_VOID = 11
EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Sample:
    """One labelled frame.

    Attributes:
        time_s: since the first frame.
        path: of the picture.
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids of the model; 255 = unlabelled.
    """

    time_s: float
    path: Path
    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class LabelledClip:
    """Consecutive pictures with label maps.

    Attributes:
        pairs: picture and label files, in order.
        ids: 256 int16: for each id of the label files the model's class id, 255 for unlabelled, -1
            for an id that must not occur.
        fps: frames per second.
    """

    pairs: Sequence[tuple[Path, Path]]
    ids: np.ndarray
    fps: float

    @classmethod
    def open(
        cls, images: Path, labels: Path, ids: np.ndarray, fps: float, frames: int | None
    ) -> LabelledClip:
        """The pictures of a folder (the first ``frames`` of them) with the label PNGs of equal stems.

        Raises:
            EvaluationError: a folder is missing or empty, or lacks a label file.
        """
        found = list_images(images)[:frames]
        return cls(tuple(zip(found, partners(found, labels, (".png",)), strict=True)), ids, fps)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Frame ``index``.

        Raises:
            EvaluationError: a file cannot be decoded, sizes differ, or a label id is unknown.
        """
        image_path, label_path = self.pairs[index]
        image, labels = read_image(image_path), read_label_map(label_path)
        check_same_size(image, labels, image_path, label_path)
        mapped = self.ids[labels]
        if mapped.min() < 0:
            known = np.flatnonzero((self.ids >= 0) & (self.ids != UNLABELLED))
            raise EvaluationError(
                f"{label_path} holds label id {labels[mapped < 0].min()}: known are {known.min()}.."
                f"{known.max()}; --void names the id of unlabelled pixels, --classes a file of classes"
            )
        return Sample(index / self.fps, image_path, image, mapped.astype(np.uint8))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def class_ids(model_classes: Sequence[str], file: Path | None, void: int | None) -> np.ndarray:
    """What each id of the label files means to the model: ``LabelledClip.ids``.

    Without a file the ids are the model's own. A class of the file is the model's class of
    equal name; letters and digits count, capitals don't. Where there is none, it is the one
    free class whose name begins as its own does (CamVid's ``SignSymbol`` is ``sign``).

    Args:
        model_classes: by id.
        file: class names, one a line in the order of their ids, or JSON as CamVid's
            ``classes.json``: ``{"classes": [{"id": 0, "name": "Sky"}, ...], "void_id": 11}``.
        void: the id of unlabelled pixels; None: the file's, else 11. 255 is always unlabelled.

    Raises:
        EvaluationError: the file cannot be read or names a class that the model lacks.
    """
    names: Mapping[int, str] = dict(enumerate(model_classes))
    if file is not None:
        names, stated = _read_classes(file)
        void = stated if void is None else void
    void = CAMVID_VOID if void is None else void
    names = {number: name for number, name in names.items() if number != void and _plain(name) != "void"}
    ids = np.full(256, -1, np.int16)
    ids[list(names)] = _matched(list(names.values()), model_classes, file)
    ids[[void, UNLABELLED]] = UNLABELLED
    return ids


def _matched(names: Sequence[str], model_classes: Sequence[str], file: Path | None) -> list[int]:
    free = {_plain(name): index for index, name in enumerate(model_classes)}
    found = {name: free.pop(_plain(name)) for name in names if _plain(name) in free}
    for name in names:
        if name in found:
            continue
        alike = [m for m in free if _plain(name).startswith(m) or m.startswith(_plain(name))]
        if len(alike) != 1:
            raise EvaluationError(
                f"{file} names class {name!r}, which the model does not know; "
                f"it knows {', '.join(model_classes)}"
            )
        found[name] = free.pop(alike[0])
    return [found[name] for name in names]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _read_classes(file: Path) -> tuple[dict[int, str], int | None]:
    """Names by id, and the void id if the file states one."""
    text = file.read_text(encoding="utf-8")
    if file.suffix.lower() != ".json":
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), None
    try:
        data = json.loads(text)
        listed = data["classes"] if isinstance(data, dict) else data
        if all(isinstance(entry, str) for entry in listed):
            names = dict(enumerate(listed))
        else:
            names = {int(entry["id"]): str(entry["name"]) for entry in listed}
        return names, data.get("void_id") if isinstance(data, dict) else None
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{file} is no list of classes ({error!r}); wanted is a name a line, or JSON as "
            '{"classes": [{"id": 0, "name": "sky"}], "void_id": 11}'
        ) from error


def read_boxes(folder: Path, images: Sequence[Path], object_names: Sequence[str]) -> list[Boxes]:
    """The boxes of each picture, from ``boxes.csv`` and ``images.csv``.

    The files name a picture by the end of its path, such as ``val/images/a.jpg``.

    Args:
        folder, object_names: as for :func:`boxes_by_name`.
        images: the pictures.

    Raises:
        EvaluationError: a picture is not listed, or as :func:`boxes_by_name`.
    """
    listed = boxes_by_name(folder, object_names)
    found = []
    for path in images:
        parts = path.resolve().parts
        named = ["/".join(parts[-length:]) for length in range(1, len(parts))]
        name = next((name for name in named if name in listed), None)
        if name is None:
            raise EvaluationError(f"{folder / 'images.csv'} does not list {path}: take its boxes' own folder")
        found.append(listed[name])
    return found


def boxes_by_name(folder: Path, object_names: Sequence[str]) -> dict[str, Boxes]:
    """The boxes of each listed picture, by the name it is listed under.

    Args:
        folder: holds ``boxes.csv`` (image, class, xmin, ymin, xmax, ymax in pixels) and ``images.csv``; a
            picture without boxes is listed in ``images.csv`` only.
        object_names: the model's, by id; capitals don't count.

    Raises:
        EvaluationError: a file or column is missing, a value is no number, or a class is not one that the
            model detects.
    """
    rows: dict[str, list[dict]] = {row["image"]: [] for row in _csv(folder / "images.csv", ("image",))}
    known = {name.casefold(): index for index, name in enumerate(object_names)}
    for number, row in enumerate(_csv(folder / "boxes.csv", ("image", "class", *EDGES)), 2):
        if row["class"].casefold() not in known:
            raise EvaluationError(
                f"{folder / 'boxes.csv'}, line {number}: the model does not detect class {row['class']!r}; "
                f"it detects {', '.join(object_names)}"
            )
        rows.setdefault(row["image"], []).append(row)
    return {name: _truth(listed, known, folder) for name, listed in rows.items()}


def _truth(rows: Sequence[dict], known: Mapping[str, int], folder: Path) -> Boxes:
    try:
        corners = [[float(row[edge]) for edge in EDGES] for row in rows]
        return Boxes(np.array(corners), np.array([known[row["class"].casefold()] for row in rows]))
    except (ValueError, TypeError) as error:
        raise EvaluationError(f"{folder / 'boxes.csv'}: {rows[0]['image']}: {error}") from error


def _csv(path: Path, columns: Sequence[str]) -> list[dict]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise EvaluationError(f"{path} lacks column {missing[0]}; wanted are {', '.join(columns)}")
            return list(reader)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
