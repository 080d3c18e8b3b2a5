"""Options of ``evaluate perception`` that name images with ground truth, and select some of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ros2_derain import options
from ros2_derain.data import (
    DataError,
    ImageDataset,
    ImageIndex,
    Selection,
    class_ids,
    find_dataset,
    is_coarser,
    read_classes,
)
from ros2_derain.data.label_files import LabelFiles, own_classes
from ros2_derain.data.selection import every_kth
from ros2_derain.engine import ModelIdentity
from ros2_derain.evaluate import EvaluationError

MAX_STEP = 10**6


def add_files(parser: argparse.ArgumentParser) -> None:
    """Declare the options of :meth:`LabelledFiles.of`."""
    parser.add_argument(
        "--images", type=Path, required=True, help="folder of consecutive images, or of a whole dataset"
    )
    add_label_maps(parser)
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="PATH",
        help="folder of boxes.csv and images.csv, of YOLO or VOC files, or a COCO file",
    )
    parser.add_argument(
        "--stills", action="store_true", help="the images are no clip: the loop has no memory between them"
    )
    add_height_scale(parser)
    group = add_selection(parser)
    group.add_argument(
        "--by", default="", metavar="COLUMN", help="a column of the index: rows for each of its values"
    )
    group.add_argument(
        "--every", type=_step(1), default=1, metavar="N", help="only every N-th image of each group"
    )
    group.add_argument("--offset", type=_step(0), default=0, metavar="N", help="of --every (default: 0)")


def add_label_maps(parser: argparse.ArgumentParser) -> None:
    """Declare the options of label maps, and of how many images are used."""
    parser.add_argument(
        "--labels", type=Path, metavar="DIR", help="label PNGs of equal stems, or of Cityscapes or VOC"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the label ids (default: the model's classes)"
    )
    parser.add_argument(
        "--void", type=int, help="label id that means unlabelled (default: the file's, or 11)"
    )
    parser.add_argument("--frames", type=options.positive(int), help="only the first N images")


def add_height_scale(parser: argparse.ArgumentParser) -> None:
    """Declare ``--height-scale``."""
    parser.add_argument(
        "--height-scale",
        type=options.positive(float),
        default=1.0,
        metavar="FACTOR",
        help="multiply the height of images and labels first, where a dataset was squeezed (default: 1)",
    )


def add_selection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare ``--index`` and the options of :func:`selection`, in a group."""
    group = parser.add_argument_group("which images")
    group.add_argument("--select", default="", metavar="GLOB,...", help="only files of such names: '0001TP*'")
    group.add_argument("--leave-out", default="", metavar="GLOB,...", help="no file of such names")
    group.add_argument(
        "--index", type=Path, metavar="FILE", help="CSV with a line for each image; the images are stills"
    )
    group.add_argument(
        "--only",
        type=_column_values,
        action="append",
        default=[],
        metavar="COLUMN=VALUE,...",
        help="only images with these values in the index, such as condition=fog,snow",
    )
    return group


def selection(args: argparse.Namespace) -> Selection:
    """The selection of the options of :func:`add_selection`."""
    return Selection(args.select, args.leave_out, dict(args.only))


def _column_values(text: str) -> tuple[str, list[str]]:
    column, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",")]
    if not (column and equals and all(found)):
        raise argparse.ArgumentTypeError(f"expected COLUMN=VALUE such as condition=fog,snow, got {text!r}")
    return column, found


def _step(least: int):
    def number(text: str) -> int:
        return options.number(text, int, "--every/--offset", "a number of images", least, MAX_STEP, "4")

    return number


@dataclass(frozen=True)
class LabelledFiles:
    """Where images and ground truth are, and which of them are used.

    Attributes:
        images, labels, boxes: as for :func:`ros2_derain.data.find_dataset`.
        classes, void: names of the ids of label maps that have the stems of the images, and the id of
            unlabelled pixels, as for :func:`ros2_derain.data.class_ids`. None: ``classes.json`` in the folder
            of a whole dataset, else the model's own ids.
        height_scale: factor on the height of images, label maps and boxes.
        stills: the images are no clip; classes that the model lacks are unlabelled instead of an error.
        index: a CSV file about the images; None: there is none.
        by: column of the index whose values are the groups of the images; empty: they have none.
        selection: of the images.
        every, offset: of each group every N-th image, from the ``offset``-th.
        frames: only the first N of the selected images.
    """

    images: Path
    labels: Path | None = None
    boxes: Path | None = None
    classes: Path | None = None
    void: int | None = None
    height_scale: float = 1.0
    stills: bool = False
    index: Path | None = None
    by: str = ""
    selection: Selection = field(default_factory=Selection)
    every: int = 1
    offset: int = 0
    frames: int | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> LabelledFiles:
        """The files of the options of :func:`add_files`.

        Raises:
            EvaluationError: options do not go together.
        """
        if not args.index and (args.by or args.only):
            raise EvaluationError("--by and --only name columns of an index: give its file by --index")
        if args.offset >= args.every:
            raise EvaluationError(f"--offset {args.offset} must be below --every {args.every}")
        return cls(
            args.images,
            args.labels,
            args.boxes,
            args.classes,
            args.void,
            args.height_scale,
            args.stills or args.index is not None,
            args.index,
            args.by,
            selection(args),
            args.every,
            args.offset,
            args.frames,
        )

    @property
    def settings(self) -> dict:
        """What affects the figures besides the files that are read; JSON-ready."""
        return {"void": self.void, "height_scale": self.height_scale, "stills": self.stills, "by": self.by}

    @property
    def folder(self) -> Path:
        """The folder of the dataset, which names it."""
        images = self.images.resolve()
        return images if (images / "images").is_dir() else images.parent

    @property
    def further(self) -> list[Path]:
        """The files that are read besides images and label maps."""
        boxes = self.boxes or self.images
        listed = [boxes] if boxes.is_file() else [boxes / "images.csv", boxes / "boxes.csv"]
        return [path for path in (*listed, self.classes, self.index) if path and path.is_file()]

    def dataset(self, model: ModelIdentity) -> ImageDataset:
        """All images; label maps of equal stems in the file's classes for stills, else the model's."""
        beside = self.images / "classes.json"
        classes = self.classes or (beside if beside.is_file() else None)
        names = tuple(read_classes(classes, self.void)[0].values()) if classes else ()
        if classes and (self.stills or is_coarser(names, model.class_names)):
            own = own_classes(classes, self.void)
        else:
            ids = class_ids(model.class_names, classes, self.void)
            own = LabelFiles((), [ids], tuple(model.class_names))
        dataset = find_dataset(self.images, self.labels, self.boxes, own)
        return dataset.stretched(self.height_scale)

    def select(self, images: Sequence[Path]) -> tuple[list[int], list[str]]:
        """Indices of the images that are used, and the group of every image; '' without groups.

        Raises:
            DataError: the index does not list an image, or nothing is selected.
        """
        index = ImageIndex.read(self.index) if self.index else None
        groups = index.column(self.by, images) if index and self.by else [""] * len(images)
        chosen = self.selection.indices(images, index)
        used = every_kth(self.every, self.offset, [groups[number] for number in chosen])
        kept = [number for number, use in zip(chosen, used, strict=True) if use][: self.frames]
        if not kept:
            raise DataError(
                f"no group has an image number {self.offset} of {len(chosen)} selected ones, counted from 0: "
                "choose a smaller --offset"
            )
        return kept, groups
