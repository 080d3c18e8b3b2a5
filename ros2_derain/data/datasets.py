"""Datasets of images with label maps and boxes: one class per layout, and finding the layout of folders.

Missing and mismatched files are errors when a dataset is opened; contents of images and label maps are
checked when they are read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .boxes import (
    BoxList,
    class_names,
    find_boxes,
    read_boxes,
    read_coco,
    read_csv,
    read_voc,
    read_yolo,
)
from .classes import CAMVID_CLASSES, CAMVID_TABLE
from .image_dataset import ImageDataset
from .images import (
    DataError,
    check_files,
    list_files,
    list_images,
    natural_order,
)
from .label_files import VOC_FOLDER, LabelFiles, cityscapes_labels, find_labels, own_classes, voc_labels


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
        file: name of the file of the boxes.
        min_score: boxes of a lower ``score``, such as a model's, are left out.
    """

    def __init__(
        self, folder: Path, driving: bool = True, file: str = "boxes.csv", min_score: float = 0.0
    ) -> None:
        boxes = read_csv(folder, file, min_score)
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


class Labelled(ImageDataset):
    """A folder with ``images/``, ``labels/<stem>.png`` and ``classes.json``, which names the ids.

    Args:
        folder: holds images/.
        labels: folder of the label maps; relative to ``folder``.
        classes: names of their ids, as for ``evaluate perception --classes``; relative to ``folder``.
            None: classes.json beside the folder of the label maps.
        boxes: a source of :func:`boxes.read_boxes`; None: boxes are unknown.
        height_scale: factor on the height of images, label maps and boxes.
        consecutive: as of :class:`ImageDataset`.
    """

    def __init__(
        self,
        folder: Path,
        labels: str = "labels",
        classes: str | None = None,
        boxes: Path | None = None,
        height_scale: float = 1.0,
        consecutive: bool = False,
    ) -> None:
        maps = folder / labels
        files = list_images(folder / "images")
        own = own_classes(folder / classes if classes else maps.parent / "classes.json")
        files, found = find_labels(files, maps, own)
        listed = find_boxes(read_boxes(boxes), files, boxes) if boxes else None
        super().__init__(files, found, listed, consecutive=consecutive)
        self._height_scale = height_scale


class Photographs(ImageDataset):
    """A folder of clean images without labels: backgrounds to render rain on.

    Args:
        driving: they are road scenes.
        consecutive: as of :class:`ImageDataset`.
    """

    def __init__(self, folder: Path, driving: bool = False, consecutive: bool = False) -> None:
        super().__init__(list_images(folder), driving=driving, consecutive=consecutive)


KINDS: dict[str, Callable[..., ImageDataset]] = {
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "voc2012": Voc2012,
    "boxes": Boxes,
    "yolo": Yolo,
    "coco": Coco,
    "labelled": Labelled,
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
        data: data folder, to which the option ``boxes`` is relative too.
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
