"""Where training pictures come from, one file per kind of data set.

A data set knows its files: ``len(dataset)``, ``dataset[i]`` is a :class:`Sample` (of
:class:`RainPairs` a :class:`Pair`, of :class:`RainLayers` an array), and ``dataset.classes``
names what its labels mean, () where it has none. Missing and mismatched files are errors when
it is opened; contents are checked when they are read. Every error is a ``DataError``.
"""

from .boxes import Boxes, read_boxes
from .camvid import CAMVID_CLASSES, CamVid
from .cityscapes import CITYSCAPES_CLASSES, Cityscapes
from .coco import Coco
from .images import DataError, list_images, read_image
from .labels import UNLABELLED, count_class_pixels
from .layouts import LAYOUTS
from .objects import OBJECT_OF, OBJECTS
from .pairs import Pair, RainLayers, RainPairs
from .photographs import Photographs
from .registry import KINDS, Source, check_options, open_dataset
from .sample import Sample
from .translated import Translated
from .voc import VOC_CLASSES, Voc2012
from .yolo import Yolo

__all__ = [
    "CAMVID_CLASSES",
    "CITYSCAPES_CLASSES",
    "KINDS",
    "LAYOUTS",
    "OBJECTS",
    "OBJECT_OF",
    "UNLABELLED",
    "VOC_CLASSES",
    "Boxes",
    "CamVid",
    "Cityscapes",
    "Coco",
    "DataError",
    "Pair",
    "Photographs",
    "RainLayers",
    "RainPairs",
    "Sample",
    "Source",
    "Translated",
    "Voc2012",
    "Yolo",
    "check_options",
    "count_class_pixels",
    "list_images",
    "open_dataset",
    "read_boxes",
    "read_image",
]
