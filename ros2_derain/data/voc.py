"""PASCAL VOC 2012: photographs with labels of 21 classes, and boxes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from .boxes import check_listed_size
from .images import DataError, check_files, check_same_size, read_image, read_stored
from .labels import UNLABELLED, id_table, map_ids
from .objects import box_array, clip_box, object_index
from .sample import Sample

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The 21 classes of VOC 2012 in the order of their ids; 255 is void."""

_TABLE = id_table({index: index for index in range(len(VOC_CLASSES))} | {255: UNLABELLED})


class Voc2012:
    """``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation/<split>.txt``.

    Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010.

    Args:
        folder: VOC2012, or a folder that holds VOC2012 or VOCdevkit/VOC2012.
        split: train, val or trainval.
        with_boxes: read ``Annotations/*.xml`` too.

    Raises:
        DataError: a folder or a listed file is missing, or the list is empty.
    """

    classes = VOC_CLASSES

    def __init__(self, folder: Path, split: str = "train", with_boxes: bool = False):
        root = _root(folder)
        listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listed.is_file():
            known = ", ".join(sorted(path.stem for path in listed.parent.glob("*.txt")))
            raise DataError(f"{listed} is missing; splits that are there: {known or 'none'}")
        stems = listed.read_text(encoding="utf-8", errors="replace").split()
        if not stems:
            raise DataError(f"{listed} lists no image")
        self.images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
        self._labels = [root / "SegmentationClass" / f"{stem}.png" for stem in stems]
        check_files(self.images, "image")
        check_files(self._labels, "label")
        self._annotations = [root / "Annotations" / f"{stem}.xml" for stem in stems] if with_boxes else []
        check_files(self._annotations, "annotation")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image, labels = read_image(self.images[index]), self.labels(index)
        check_same_size(image, labels, self.images[index], self._labels[index])
        boxes = None
        if self._annotations:
            size, boxes = _read_annotation(self._annotations[index])
            check_listed_size(image, size, self.images[index])
        return Sample(image, labels, boxes, False)

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 class ids 0..20, 255 = void."""
        return map_ids(_read_palette_ids(self._labels[index]), _TABLE, self._labels[index])


def _root(folder: Path) -> Path:
    for root in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if (root / "JPEGImages").is_dir():
            return root
    raise DataError(f"{folder} holds neither JPEGImages nor VOC2012 nor VOCdevkit/VOC2012")


def _palette() -> np.ndarray:
    """256 colours as 0xRRGGBB: bit b of an id is bit 7 - b // 3 of channel b % 3 (VOC development kit)."""
    ids = np.arange(256)
    colours = np.zeros(256, np.int64)
    for bit in range(8):
        colours |= ((ids >> bit) & 1) << ((7 - bit // 3) + 8 * (2 - bit % 3))
    return colours


_COLOURS = _palette()
_ORDER = np.argsort(_COLOURS)


def _read_palette_ids(path: Path) -> np.ndarray:
    """H x W uint8 indices of a PNG with the VOC palette (OpenCV gives its colours), or plain ids."""
    picture = read_stored(path)
    if picture.dtype != np.uint8:
        raise DataError(f"{path} holds {picture.dtype}; labels have 8 bits")
    if picture.ndim == 2:
        return picture
    colours = picture[:, :, :3].astype(np.int64) @ (1, 1 << 8, 1 << 16)
    ids = _ORDER[np.searchsorted(_COLOURS, colours, sorter=_ORDER).clip(max=255)]
    strange = _COLOURS[ids] != colours
    if strange.any():
        raise DataError(f"{path} holds colour #{colours[strange][0]:06x}, which is not in the VOC palette")
    return ids.astype(np.uint8)


def _read_annotation(path: Path) -> tuple[tuple[float, float], np.ndarray]:
    """(width, height) and M x 5 float32 boxes. VOC counts pixels from 1 and includes the last."""
    boxes = []
    try:
        root = ET.parse(path).getroot()
        size = float(root.findtext("size/width", "")), float(root.findtext("size/height", ""))
        for number, item in enumerate(root.findall("object"), 1):
            x0, y0, x1, y1 = (
                float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            edges = clip_box([x0 - 1, y0 - 1, x1, y1], *size, f"{path}, object {number}")
            index = object_index(item.findtext("name", ""))
            if index is not None:
                boxes.append([index, *edges])
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{path} is not a VOC annotation: {error}") from None
    return size, box_array(boxes)
