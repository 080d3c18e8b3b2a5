"""Datasets of images with label maps and boxes: one class per layout, and finding the layout of folders.

Missing and mismatched files are errors when a dataset is opened; contents of images and label maps are
checked when they are read.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .boxes import (
    BoxList,
    class_names,
    find_boxes,
    ignored_classes,
    read_boxes,
    read_coco,
    read_csv,
    read_voc,
    read_yolo,
)
from .classes import CAMVID_CLASSES, CAMVID_TABLE, OBJECTS, map_ids, translation
from .images import (
    DataError,
    check_files,
    check_same_size,
    list_files,
    list_images,
    natural_order,
    read_image,
)
from .label_files import VOC_FOLDER, LabelFiles, cityscapes_labels, find_labels, voc_labels


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth.

    Attributes:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids, 255 = unlabelled; None where there are no labels.
        boxes: M x 5 float32 (class index, x0, y0, x1, y1); None where boxes are unknown.
        driving: a road scene (rain with veil), else a photograph.
    """

    image: np.ndarray
    labels: np.ndarray | None
    boxes: np.ndarray | None
    driving: bool


class ImageDataset:
    """Images with label maps and boxes, as far as they are known.

    Args:
        images: files, in order.
        labels: of the images; None: there are none.
        boxes: of each image; None: they are unknown.
        driving: they are road scenes.

    Attributes:
        images: the files.
        classes: names of the class ids of the labels, () where there are none.
        objects: names of the class indices of the boxes.
    """

    def __init__(
        self,
        images: Sequence[Path],
        labels: LabelFiles | None = None,
        boxes: Sequence[BoxList] | None = None,
        driving: bool = True,
    ) -> None:
        self.images = images
        self.classes = labels.classes if labels else ()
        self.objects: tuple[str, ...] = OBJECTS
        self.label_paths = labels.paths if labels else ()
        self._labels, self._boxes, self._driving = labels, boxes, driving
        self._translation: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Raises DataError where a file cannot be read, or sizes or ids do not fit."""
        image, labels = read_image(self.images[index]), None
        if self._labels:
            labels = self.labels(index)
            check_same_size(image, labels, self.images[index], self._labels.paths[index])
        return Sample(image, labels, self.boxes(index, image), self._driving)

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 class ids, 255 = unlabelled.

        Raises:
            DataError: there is no label map, it cannot be read, or holds an unknown id.
        """
        if not self._labels:
            raise DataError(f"{self.images[index]} has no label map: pass a dataset with labels")
        path = self._labels.paths[index]
        ids = map_ids(self._labels.read(path), self._labels.tables[index], path)
        return ids if self._translation is None else self._translation[ids]

    def boxes(self, index: int, image: np.ndarray) -> np.ndarray | None:
        """M x 5 float32 (index into ``objects``, x0, y0, x1, y1); None where boxes are unknown."""
        if self._boxes is None:
            return None
        height, width = image.shape[:2]
        return self._boxes[index].array(width, height, self.images[index], self.objects)

    @property
    def has_boxes(self) -> bool:
        """Whether boxes are known."""
        return self._boxes is not None

    def ignored_objects(self) -> Counter[str]:
        """Number of boxes of each name that is none of ``objects``."""
        return ignored_classes(self._boxes or (), self.objects)

    def in_classes(self, names: Sequence[str], objects: Sequence[str] = OBJECTS) -> ImageDataset:
        """This dataset in the classes and objects of a model, by :func:`classes.class_index`.

        A label of another class is unlabelled, a box of another class is left out.
        """
        other = copy.copy(self)
        if self._labels:
            other.classes = tuple(names)
            other._translation = translation(self._labels.classes, names)
        other.objects = tuple(objects)
        return other


class CamVid(ImageDataset):
    """``DIR/images/*.jpg`` with ``DIR/labels/*.png`` (ids 0..10, 11 = void), and boxes by image name.

    Args:
        folder: .../camvid/train or .../camvid/val.
        boxes: folder with images.csv and boxes.csv whose names end in ``<split>/images/<name>``.
    """

    def __init__(self, folder: Path, boxes: Path | None = None) -> None:
        images = list_images(folder / "images")
        paths = [folder / "labels" / f"{path.stem}.png" for path in images]
        check_files(paths, "label")
        labels = LabelFiles(paths, [CAMVID_TABLE] * len(paths), CAMVID_CLASSES)
        super().__init__(images, labels, find_boxes(read_csv(boxes), images, boxes) if boxes else None)


class Cityscapes(ImageDataset):
    """``DIR/leftImg8bit/<split>/<city>/*_leftImg8bit.png`` with labels below ``DIR/gtFine/<split>``.

    The labels are ``<city>/*_gtFine_labelIds.png`` or, where those are missing,
    ``*_gtFine_labelTrainIds.png``.

    Args:
        folder: holds leftImg8bit/ and gtFine/.
        split: train or val.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        root = folder / "leftImg8bit" / split
        if not root.is_dir():
            raise DataError(f"{root} is not a folder: Cityscapes has leftImg8bit/<split>/<city>")
        images = sorted(root.glob("*/[!.]*_leftImg8bit.png"), key=natural_order)
        if not images:
            raise DataError(f"{root} holds no <city>/*_leftImg8bit.png")
        super().__init__(images, cityscapes_labels(images, folder / "gtFine" / split))


class Voc2012(ImageDataset):
    """``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation/<split>.txt`` of PASCAL VOC.

    Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010.

    Args:
        folder: VOC2012, or a folder that holds VOC2012 or VOCdevkit/VOC2012.
        split: train, val or trainval.
        with_boxes: read ``Annotations/*.xml`` too.
    """

    def __init__(self, folder: Path, split: str = "train", with_boxes: bool = False) -> None:
        root = _voc_root(folder)
        if root is None:
            raise DataError(f"{folder} holds neither JPEGImages nor VOC2012 nor VOCdevkit/VOC2012")
        listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listed.is_file():
            known = ", ".join(sorted(path.stem for path in listed.parent.glob("*.txt")))
            raise DataError(f"{listed} is missing; existing splits: {known or 'none'}")
        stems = listed.read_text(encoding="utf-8", errors="replace").split()
        if not stems:
            raise DataError(f"{listed} lists no image")
        images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
        check_files(images, "image")
        paths = [root / VOC_FOLDER / f"{stem}.png" for stem in stems]
        check_files(paths, "label")
        annotations = [root / "Annotations" / f"{stem}.xml" for stem in stems] if with_boxes else []
        check_files(annotations, "annotation")
        boxes = [read_voc(path) for path in annotations] if with_boxes else None
        super().__init__(images, voc_labels(paths), boxes, driving=False)


class Boxes(ImageDataset):
    """A folder with ``images.csv``, ``boxes.csv`` and ``images/``: images with boxes, without labels.

    Args:
        driving: they are road scenes.
    """

    def __init__(self, folder: Path, driving: bool = True) -> None:
        boxes = read_csv(folder)
        images = list_images(folder / "images")
        names = {path.name for path in images}
        for name in sorted(names ^ set(boxes)):
            if name in names:
                raise DataError(f"{folder / 'images' / name} is not listed in {folder / 'images.csv'}")
            raise DataError(f"{folder / 'images.csv'} lists {name}, which is not in {folder / 'images'}")
        super().__init__(images, None, [boxes[path.name] for path in images], driving)


class Yolo(ImageDataset):
    """``images/[<split>/]*.jpg`` with ``labels/[<split>/]<stem>.txt``, names in data.yaml or classes.txt.

    Each line of a label file is ``class cx cy width height``: an index into the names, then the
    box as fractions of the image. An image without a label file has no objects.

    Args:
        folder: holds images/, labels/ and data.yaml (``names:`` as list or mapping) or classes.txt
            (one name a line, also in labels/).
        split: name of the folder below images/ and labels/, if there is one.
        driving: they are road scenes.
    """

    def __init__(self, folder: Path, split: str | None = None, driving: bool = True) -> None:
        images = list_images(folder / "images" / (split or ""))
        boxes = read_yolo(folder / "labels" / (split or ""), class_names(folder))
        orphans = sorted(set(boxes) - {path.stem for path in images})
        if orphans:
            file = folder / "labels" / (split or "") / f"{orphans[0]}.txt"
            raise DataError(f"{file} has no image in {images[0].parent}")
        super().__init__(
            images, None, [boxes.get(path.stem, BoxList(fractions=True)) for path in images], driving
        )


class Coco(ImageDataset):
    """A folder of images with the boxes of an ``instances`` file; see :func:`boxes.read_coco`.

    Args:
        folder: holds both of the following.
        annotations: the JSON file, e.g. annotations/instances_train2017.json.
        images: the images' folder, e.g. train2017.
        driving: they are road scenes.
    """

    def __init__(
        self,
        folder: Path,
        annotations: str = "annotations.json",
        images: str = "images",
        driving: bool = True,
    ) -> None:
        boxes = read_coco(folder / annotations)
        files = [folder / images / name for name in boxes]
        check_files(files, "image")
        super().__init__(files, None, list(boxes.values()), driving)


class Photographs(ImageDataset):
    """A folder of clean images without labels: backgrounds to render rain on.

    Args:
        driving: they are road scenes.
    """

    def __init__(self, folder: Path, driving: bool = False) -> None:
        super().__init__(list_images(folder), driving=driving)


KINDS: dict[str, Callable[..., ImageDataset]] = {
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "voc2012": Voc2012,
    "boxes": Boxes,
    "yolo": Yolo,
    "coco": Coco,
    "photographs": Photographs,
}


def check_options(kind: str, options: Iterable[str]) -> None:
    """
    Raises:
        DataError: there is no such kind, or it has no such option; the message lists them.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of dataset {kind}; known: {', '.join(KINDS)}")
    known = [name for name in inspect.signature(KINDS[kind]).parameters if name != "folder"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"dataset {kind}: unknown option {', '.join(unknown)}; known: {', '.join(known)}")


def open_dataset(kind: str, folder: Path | str, data: Path = Path(), **options: Any) -> ImageDataset:
    """The dataset of a recipe's entry, e.g. ``{kind: cityscapes, folder: cityscapes}``.

    Args:
        kind: a key of :data:`KINDS`.
        folder: of the dataset; relative to ``data``.
        data: data folder, to which camvid's option ``boxes`` is relative too.
        options: the other arguments of that kind's class.

    Raises:
        DataError: an unknown kind or option, or the dataset is not usable.
    """
    check_options(kind, options)
    if options.get("boxes") is not None:
        options["boxes"] = data / options["boxes"]
    return KINDS[kind](data / folder, **options)


def find_dataset(
    images: Path, labels: Path | None = None, boxes: Path | None = None, own: LabelFiles | None = None
) -> ImageDataset:
    """Images with ground truth in any of the layouts above, which the folders show.

    Args:
        images: the folder of the images, or of a whole dataset, whose split ``val`` is taken.
        labels: folder of label maps: of Cityscapes (below ``gtFine``), of VOC (``SegmentationClass``), or
            of equal stems, whose ids ``own`` names; None: those of the whole dataset.
        boxes: a source of :func:`boxes.read_boxes`; None: those of the whole dataset.
        own: classes and the only table for label maps of equal stems; None: those of CamVid.

    Raises:
        DataError: a folder is missing or empty, or an image lacks its label map or its boxes.
    """
    images, labels, boxes = _parts(images, labels, boxes)
    files = list_images(images, recursive=True)
    found = None
    if labels:
        files, found = find_labels(files, labels, own)
    listed = find_boxes(read_boxes(boxes, images.name), files, boxes) if boxes else None
    return ImageDataset(files, found, listed)


def _parts(images: Path, labels: Path | None, boxes: Path | None) -> tuple[Path, Path | None, Path | None]:
    """Folders of the images, the label maps and the boxes; of a whole dataset those of its split ``val``."""
    root, voc = images, _voc_root(images)
    if voc:
        annotations = voc / "Annotations"
        return (
            voc / "JPEGImages",
            labels or voc / VOC_FOLDER,
            boxes or (annotations if annotations.is_dir() else None),
        )
    if (root / "leftImg8bit").is_dir():
        return root / "leftImg8bit" / "val", labels or root / "gtFine" / "val", boxes
    if (root / "annotations" / "instances_val2017.json").is_file():
        return root / "val2017", labels, boxes or root / "annotations" / "instances_val2017.json"
    if not (root / "images").is_dir():
        return images, labels, boxes
    split = "val" if (root / "images" / "val").is_dir() else ""
    maps = root / "labels" / split
    if labels is None and maps.is_dir() and list_files(maps, (".png",)):
        labels = maps
    described = ("boxes.csv", "annotations.json", "data.yaml", "classes.txt", "labels/classes.txt")
    if boxes is None and any((root / name).is_file() for name in described):
        boxes = root
    return root / "images" / split, labels, boxes


def _voc_root(folder: Path) -> Path | None:
    roots = (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012")
    return next((root for root in roots if (root / "JPEGImages").is_dir()), None)
