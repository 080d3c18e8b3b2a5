"""Class names: those of the datasets, one table of synonyms, and the ids of label files.

Training and evaluation map names by the same table: ``truck`` counts as ``car`` in both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .images import DataError

UNLABELLED = 255
"""Id of a pixel without a label."""
CAMVID_VOID = 11
_UNKNOWN = -1

CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
"""The eleven CamVid classes of SegNet in the order of their ids; 11 is void.

Badrinarayanan et al., TPAMI 2017; unions of the 32 classes of Brostow et al., Pattern Recognition
Letters 2009. They are the classes of the default model.
"""

CITYSCAPES_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
"""The 19 classes of Cityscapes in the order of their train ids (Cordts et al., CVPR 2016)."""

CITYSCAPES_LABEL_IDS = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground"),
    *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge"),
    *("tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky"),
    *("person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""Names of the ids 0..33 of the ``labelIds`` files; those that are no train class are void."""

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
"""The 21 classes of PASCAL VOC 2012 in the order of their ids; 255 is void."""

OBJECTS = ("car", "pedestrian", "bicyclist")
"""Detection classes of the default model."""

SYNONYMS = {
    "sidewalk": "pavement",
    "wall": "building",
    "columnpole": "pole",
    "signsymbol": "sign",
    "trafficlight": "sign",
    "trafficsign": "sign",
    "vegetation": "tree",
    "terrain": "tree",
    "person": "pedestrian",
    "rider": "bicyclist",
    "cyclist": "bicyclist",
    "bicycle": "bicyclist",
    "motorcycle": "bicyclist",
    "motorbike": "bicyclist",
    "truck": "car",
    "bus": "car",
}
"""Names of other datasets -> :data:`CAMVID_CLASSES`, by letters and digits in lower case."""


def class_index(name: str, names: Sequence[str]) -> int | None:
    """Index of the class in ``names`` that a name means; None where there is none, or several.

    A name that is equal (capitals, spaces and punctuation do not count) comes first, then the only one
    with the same meaning by :data:`SYNONYMS`.
    """
    for meaning in (_plain, _meaning):
        found = [index for index, known in enumerate(names) if meaning(known) == meaning(name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def id_table(class_of: Mapping[int, int]) -> np.ndarray:
    """The ids found in files -> class ids, as 256 int16 for :func:`map_ids`; -1 for unknown ids."""
    table = np.full(256, _UNKNOWN, np.int16)
    for found, mapped in class_of.items():
        table[found] = mapped
    return table


_TRAIN_ID = {name: index for index, name in enumerate(CITYSCAPES_CLASSES)}
CAMVID_TABLE = id_table({**{i: i for i in range(len(CAMVID_CLASSES))}, CAMVID_VOID: UNLABELLED})
VOC_TABLE = id_table({**{i: i for i in range(len(VOC_CLASSES))}, 255: UNLABELLED})
CITYSCAPES_TABLES = {
    "labelIds": id_table({i: _TRAIN_ID.get(name, UNLABELLED) for i, name in enumerate(CITYSCAPES_LABEL_IDS)}),
    "labelTrainIds": id_table({**{i: i for i in _TRAIN_ID.values()}, 255: UNLABELLED}),
}
"""By the kind that the names of the label files state."""


def map_ids(ids: np.ndarray, table: np.ndarray, path: Path | str) -> np.ndarray:
    """Class ids for the ids of a label map.

    Args:
        ids: H x W uint8.
        table: from :func:`id_table`.
        path: the file, for the error.

    Returns:
        H x W uint8.

    Raises:
        DataError: an id that the table does not know; names the file, the id and its first pixel.
    """
    mapped = table[ids]
    if mapped.min() == _UNKNOWN:
        y, x = np.argwhere(mapped == _UNKNOWN)[0]
        known = ", ".join(_ranges(np.flatnonzero(table != _UNKNOWN)))
        raise DataError(
            f"{path} holds label id {ids[y, x]} (at x {x}, y {y}); known are {known}: correct the file, or "
            "name the classes (--classes) and the id of unlabelled pixels (--void)"
        )
    classes: np.ndarray = mapped.astype(np.uint8)
    return classes


def translation(classes: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Class ids -> ids of other classes, as 256 uint8; a class that has no counterpart is unlabelled."""
    table = np.full(256, UNLABELLED, np.uint8)
    for index, name in enumerate(classes):
        found = class_index(name, target)
        table[index] = UNLABELLED if found is None else found
    return table


def is_coarser(classes: Sequence[str], than: Sequence[str]) -> bool:
    """Whether one of the classes means several of the others, as ``tree`` means vegetation and terrain."""
    meant = {class_index(name, classes) for name in than}
    return any(index in meant and class_index(name, than) is None for index, name in enumerate(classes))


def class_ids(model_classes: Sequence[str], file: Path | None, void: int | None) -> np.ndarray:
    """The model's class for each id of label files, as 256 int16 for :func:`map_ids`.

    Without a file the ids are the model's own.

    Args:
        model_classes: by id.
        file: class names, one a line in the order of their ids, or JSON as CamVid's
            ``classes.json``: ``{"classes": [{"id": 0, "name": "Sky"}, ...], "void_id": 11}``.
        void: the id of unlabelled pixels; None: the file's (see :func:`read_classes`), else 11. 255 is
            always unlabelled.

    Raises:
        DataError: the file cannot be read, or names a class that the model lacks.
    """
    if file is None:
        void = CAMVID_VOID if void is None else void
        known = {number: number for number in range(len(model_classes)) if number != void}
        return id_table({**known, void: UNLABELLED, UNLABELLED: UNLABELLED})
    names, void = read_classes(file, void)
    class_of = {void: UNLABELLED, UNLABELLED: UNLABELLED}
    for number, name in names.items():
        index = class_index(name, model_classes)
        if index is None:
            raise DataError(
                f"{file} names class {name!r}, which the model does not know: it knows "
                f"{', '.join(model_classes)}; name pixels without a class 'void'"
            )
        class_of[number] = index
    return id_table(class_of)


def read_classes(file: Path, void: int | None = None) -> tuple[dict[int, str], int]:
    """The names of the classes by id, without void, and the id of unlabelled pixels.

    Args:
        file: as for :func:`class_ids`; JSON may call the id ``void_id`` or ``ignore_id``.
        void: instead of the id that the file states. If neither states it, it is 11, or 255 where 11 has a
            name.

    Raises:
        DataError: the file cannot be read.
    """
    names, stated = _read_names(file)
    named_void = [number for number, name in names.items() if _plain(name) == "void"]
    if void is None:
        default = UNLABELLED if CAMVID_VOID in names else CAMVID_VOID
        void = stated if stated is not None else named_void[0] if named_void else default
    return {number: name for number, name in names.items() if number not in (void, *named_void)}, void


def _read_names(file: Path) -> tuple[dict[int, str], int | None]:
    """Names by id, and the id of unlabelled pixels if the file states one."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() != ".json":
            return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), None
        data = json.loads(text)
        listed = data["classes"] if isinstance(data, dict) else data
        if all(isinstance(entry, str) for entry in listed):
            names = dict(enumerate(listed))
        else:
            names = {int(entry["id"]): str(entry["name"]) for entry in listed}
        stated = data.get("void_id", data.get("ignore_id")) if isinstance(data, dict) else None
        return names, None if stated is None else int(stated)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not a list of classes ({error!r}): write a name a line, or JSON as "
            '{"classes": [{"id": 0, "name": "sky"}], "void_id": 11}'
        ) from error


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _meaning(name: str) -> str:
    return SYNONYMS.get(_plain(name), _plain(name))


def _ranges(values: np.ndarray) -> list[str]:
    """[0, 1, 2, 255] -> ["0..2", "255"]."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return [f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
