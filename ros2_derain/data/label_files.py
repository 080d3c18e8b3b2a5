"""Label maps of the images of a dataset: finding them by the names of each layout, and their ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .classes import (
    CAMVID_CLASSES,
    CAMVID_TABLE,
    CITYSCAPES_CLASSES,
    CITYSCAPES_TABLES,
    UNLABELLED,
    VOC_CLASSES,
    VOC_TABLE,
    id_table,
    read_classes,
)
from .images import DataError, list_files, read_label_map, read_stored

VOC_FOLDER = "SegmentationClass"


@dataclass(frozen=True)
class LabelFiles:
    """Label maps of the images of a dataset.

    Attributes:
        paths: of each image.
        tables: of each image, its ids -> class ids, as :func:`classes.map_ids` takes them.
        classes: names of the class ids 0, 1, ...
        read: reads one of them as H x W uint8 ids.
    """

    paths: Sequence[Path]
    tables: Sequence[np.ndarray]
    classes: tuple[str, ...]
    read: Callable[[Path], np.ndarray] = read_label_map


def own_classes(file: Path, void: int | None = None) -> LabelFiles:
    """The classes that a file names and the table of their ids, for label maps of equal stems.

    Args:
        file, void: as for :func:`classes.read_classes`.

    Raises:
        DataError: the file cannot be read.
    """
    names, void = read_classes(file, void)
    class_of = {number: index for index, number in enumerate(names)}
    return LabelFiles((), [id_table({**class_of, void: UNLABELLED, 255: UNLABELLED})], tuple(names.values()))


def find_labels(
    images: Sequence[Path], folder: Path, own: LabelFiles | None
) -> tuple[list[Path], LabelFiles]:
    """The images that have label maps, and these; images of VOC without one are left out.

    Args:
        folder: of the label maps: of Cityscapes or VOC, or of equal stems.
        own: classes and the only table for label maps of equal stems; None: those of CamVid.

    Raises:
        DataError: an image of another layout has no label map, or a label map of Cityscapes no image.
    """
    if images[0].stem.endswith("_leftImg8bit"):
        return list(images), cityscapes_labels(images, folder)
    maps = {path.stem: path for path in list_files(folder, (".png",), recursive=True)}
    if folder.name == VOC_FOLDER:
        images = [path for path in images if path.stem in maps]
        if not images:
            raise DataError(f"{folder} holds no label map of the images")
        return images, voc_labels([maps[path.stem] for path in images])
    lacking = [path for path in images if path.stem not in maps]
    if lacking:
        raise DataError(
            f"{folder} lacks label maps (.png) for {len(lacking)} of {len(images)} images, the first is "
            f"{lacking[0].stem}"
        )
    names, table = (own.classes, own.tables[0]) if own else (CAMVID_CLASSES, CAMVID_TABLE)
    paths = [maps[path.stem] for path in images]
    return list(images), LabelFiles(paths, [table] * len(paths), names)


def cityscapes_labels(images: Sequence[Path], folder: Path) -> LabelFiles:
    """The label maps of Cityscapes images, below a folder ``gtFine/<split>``.

    Raises:
        DataError: an image has no label map, or a label map no image.
    """
    stems = [path.name.removesuffix("_leftImg8bit.png") for path in images]
    found: dict[str, dict[str, Path]] = {kind: {} for kind in CITYSCAPES_TABLES}
    for path in sorted(folder.rglob("[!.]*_gtFine_label*Ids.png")):
        stem, kind = path.stem.split("_gtFine_")
        found.setdefault(kind, {})[stem] = path
    paths, tables = [], []
    for stem, image in zip(stems, images, strict=True):
        used = next((kind for kind in CITYSCAPES_TABLES if stem in found[kind]), None)
        if used is None:
            expected = " nor ".join(f"{stem}_gtFine_{kind}.png" for kind in CITYSCAPES_TABLES)
            raise DataError(f"{image} has no labels: below {folder} there is neither {expected}")
        paths.append(found[used][stem])
        tables.append(CITYSCAPES_TABLES[used])
    known = set(stems)
    orphans = [path for files in found.values() for stem, path in files.items() if stem not in known]
    if orphans:
        raise DataError(f"{orphans[0]} has no image below {images[0].parent.parent}")
    return LabelFiles(paths, tables, CITYSCAPES_CLASSES)


def voc_labels(paths: Sequence[Path]) -> LabelFiles:
    """Label maps of VOC 2012: palette PNGs, whose indices are the ids."""
    return LabelFiles(paths, [VOC_TABLE] * len(paths), VOC_CLASSES, read_voc_labels)


def read_voc_labels(path: Path) -> np.ndarray:
    """H x W uint8 ids of a palette PNG, of plain ids, or of an image in the colours of the VOC palette.

    Raises:
        DataError: it cannot be read, or holds a colour that is not in the palette.
    """
    stored = read_stored(path)
    if stored.ndim == 2 or stored.dtype != np.uint8:
        return read_label_map(path)
    colours = stored[:, :, :3].astype(np.int64) @ (1, 1 << 8, 1 << 16)
    ids: np.ndarray = _ORDER[np.searchsorted(_COLOURS, colours, sorter=_ORDER).clip(max=255)]
    unknown = _COLOURS[ids] != colours
    if unknown.any():
        raise DataError(f"{path} holds colour #{colours[unknown][0]:06x}, which is not in the VOC palette")
    labels: np.ndarray = ids.astype(np.uint8)
    return labels


def _voc_palette() -> np.ndarray:
    """256 colours as 0xRRGGBB: bit b of an id is bit 7 - b // 3 of channel b % 3 (VOC development kit)."""
    ids = np.arange(256)
    colours = np.zeros(256, np.int64)
    for bit in range(8):
        colours |= ((ids >> bit) & 1) << ((7 - bit // 3) + 8 * (2 - bit % 3))
    return colours


_COLOURS = _voc_palette()
_ORDER = np.argsort(_COLOURS)
