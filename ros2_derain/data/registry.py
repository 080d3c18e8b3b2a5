"""Data sets of samples by the name of their kind, as recipes name them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

from ros2_derain.data.images import DataError

from .boxes import Boxes
from .camvid import CamVid
from .cityscapes import Cityscapes
from .coco import Coco
from .photographs import Photographs
from .voc import Voc2012
from .yolo import Yolo

Source = CamVid | Cityscapes | Voc2012 | Boxes | Yolo | Coco | Photographs
"""A data set of samples."""

KINDS: dict[str, type[Source]] = {
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
        raise DataError(f"unknown kind of data set {kind}; known: {', '.join(KINDS)}")
    known = [name for name in inspect.signature(KINDS[kind]).parameters if name != "folder"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"data set {kind}: unknown option {', '.join(unknown)}; known: {', '.join(known)}")


def open_dataset(kind: str, folder: Path | str, data: Path = Path(), **options) -> Source:
    """The data set of a recipe's entry, e.g. ``{kind: cityscapes, folder: cityscapes}``.

    Args:
        kind: a key of :data:`KINDS`.
        folder: of the data set; relative to ``data``.
        data: data folder, to which camvid's option ``boxes`` is relative too.
        options: the other arguments of that kind's class.

    Raises:
        DataError: an unknown kind or option, or the data set is not usable.
    """
    check_options(kind, options)
    if options.get("boxes") is not None:
        options["boxes"] = data / options["boxes"]
    return KINDS[kind](data / folder, **options)
