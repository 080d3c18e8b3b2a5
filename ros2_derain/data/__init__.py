"""Files of images, label maps, boxes and videos, and the layouts of datasets; for training and evaluation.

``images``, ``clips`` and ``boxes`` list, read and write files, ``classes`` maps class names, ``datasets``
and ``rain_pairs`` know the layouts of datasets. Every error is a ``DataError``.
"""

from .boxes import BoxList, read_boxes
from .class_lists import CLASS_LISTS, COCO_CLASSES, class_list
from .classes import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    OBJECTS,
    UNLABELLED,
    VOC_CLASSES,
    class_ids,
    class_index,
    is_coarser,
    read_classes,
    translation,
)
from .datasets import (
    KINDS,
    Boxes,
    CamVid,
    Cityscapes,
    Coco,
    Labelled,
    Photographs,
    Voc2012,
    Yolo,
    check_options,
    find_dataset,
    open_dataset,
)
from .image_dataset import ImageDataset, Sample
from .images import DataError, list_images, read_image
from .rain_pairs import LAYOUTS, Pair, RainLayers, RainPairs
from .selection import ImageIndex, Selection

__all__ = [
    "CAMVID_CLASSES",
    "CITYSCAPES_CLASSES",
    "CLASS_LISTS",
    "COCO_CLASSES",
    "KINDS",
    "LAYOUTS",
    "OBJECTS",
    "UNLABELLED",
    "VOC_CLASSES",
    "BoxList",
    "Boxes",
    "CamVid",
    "Cityscapes",
    "Coco",
    "DataError",
    "ImageDataset",
    "ImageIndex",
    "Labelled",
    "Pair",
    "Photographs",
    "RainLayers",
    "RainPairs",
    "Sample",
    "Selection",
    "Voc2012",
    "Yolo",
    "check_options",
    "class_ids",
    "class_index",
    "class_list",
    "find_dataset",
    "is_coarser",
    "list_images",
    "open_dataset",
    "read_boxes",
    "read_image",
    "read_classes",
    "translation",
]
