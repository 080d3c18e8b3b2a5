"""Files of images, label maps, boxes and videos, and the layouts of datasets; for training and evaluation.

``images``, ``clips`` and ``boxes`` list, read and write files, ``classes`` maps class names, ``datasets``
and ``rain_pairs`` know the layouts of datasets. Every error is a ``DataError``.
"""

from .boxes import BoxList, read_boxes
from .classes import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    OBJECTS,
    UNLABELLED,
    VOC_CLASSES,
    class_ids,
    class_index,
)
from .datasets import (
    KINDS,
    Boxes,
    CamVid,
    Cityscapes,
    Coco,
    ImageDataset,
    Photographs,
    Sample,
    Voc2012,
    Yolo,
    check_options,
    find_dataset,
    open_dataset,
)
from .images import DataError, list_images, read_image
from .rain_pairs import LAYOUTS, Pair, RainLayers, RainPairs

__all__ = [
    "CAMVID_CLASSES",
    "CITYSCAPES_CLASSES",
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
    "Pair",
    "Photographs",
    "RainLayers",
    "RainPairs",
    "Sample",
    "Voc2012",
    "Yolo",
    "check_options",
    "class_ids",
    "class_index",
    "find_dataset",
    "list_images",
    "open_dataset",
    "read_boxes",
    "read_image",
]
