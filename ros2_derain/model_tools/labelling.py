"""``ros2-derain label``: label maps and boxes of images by a model, to train on (pseudo-labels)."""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain import engine_options, options
from ros2_derain.data import OBJECTS, UNLABELLED, class_index
from ros2_derain.data.boxes import BoxList, find_boxes, read_boxes
from ros2_derain.data.images import (
    UnreadableError,
    check_unique_stems,
    left_out_note,
    list_images,
    read_image,
    write_image,
)
from ros2_derain.engine import Detection, Interpreter
from ros2_derain.engine.interpreter import suppress
from ros2_derain.options import MIN_SIDE, OptionError
from ros2_derain.reporting import tables
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.progress import Progress

CARD = "classes.json"
MAX_SCALE = 4.0

INSIDE = 0.7
"""A found box belongs to a given one if at least this share of it lies inside."""
COVERED = 0.8
"""Share of a given box's width that the found ones must cover to replace it."""
SAME = 0.55
"""Found boxes of more overlap (IoU) are of the same object, such as a van found as car and as truck."""

Row = tuple[str, np.ndarray, float | None]
"""A box: its class, its edges x0, y0, x1, y1 in pixels, and its score (None: a given box)."""

EXAMPLES = """examples:
  ros2-derain label DATA/driving_boston/images out/boston --flip --scales 0.5,0.75 --bonnet 0.16
  ros2-derain label photos/ out/photos --model runs/teacher-model --min-score 0.5

OUT gets labels/<stem>.png with the model's class ids, 255 where the class is less probable than
--min-confidence, and classes.json, which names them. The probabilities are the mean over the scales, and over
each image and its mirror image. With --min-score OUT also gets boxes.csv and images.csv: boxes that the model
finds in the image as it is. A recipe trains on them (docs/training.md):

  datasets:
    boston: {kind: labelled, folder: driving_boston, options: {labels: /abs/out/boston/labels}}

Boxes drawn around masks hold cars that touch as one. With --part, OUT gets these boxes, each replaced by the
boxes that a detector finds in it, where it finds several of the class and they cover its width:

  ros2-derain models import DATA/foreign_models/yolox_nano.onnx --as detector --out models/yolox
  ros2-derain label DATA/camvid/train/images DATA/boxes/camvid_parted --model models/yolox --min-score 0.25 \\
      --part DATA/boxes/camvid_from_masks --part-classes car"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Label images by a model where it is confident, to train another one on them."
    parser.epilog = EXAMPLES
    parser.add_argument("images", type=Path, metavar="IN", help="folder of images")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the labels")
    parser.add_argument(
        "--min-confidence",
        type=_share("--min-confidence"),
        default=0.8,
        help="least probability of a label, 0..1 (default: %(default)s)",
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirror image too")
    parser.add_argument(
        "--scales", type=_scales, default=(1.0,), help="average over these sizes, such as 0.75,1,1.25"
    )
    parser.add_argument(
        "--min-score", type=_share("--min-score"), help="write boxes of at least this score too, 0..1"
    )
    parser.add_argument(
        "--part",
        type=Path,
        metavar="BOXES",
        help="write these boxes of the images, parted where the model finds several objects in one",
    )
    parser.add_argument(
        "--part-classes",
        type=_object_classes,
        default=OBJECTS,
        metavar="NAME,NAME",
        help=f"part boxes of these classes alone (default: {','.join(OBJECTS)})",
    )
    parser.add_argument(
        "--bonnet",
        type=_share("--bonnet"),
        default=0.0,
        help="lowest share of every image that shows the own car and stays unlabelled (default: 0)",
    )
    parser.add_argument("--force", action="store_true", help="replace the labels of an earlier call")
    engine_options.add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Label every image; returns the exit status."""
    if args.part and args.min_score is None:
        raise OptionError("--part takes --min-score: boxes of a lower score part no other, such as 0.25")
    if args.part_classes != OBJECTS and not args.part:
        raise OptionError("--part-classes takes --part: the boxes whose classes they are")
    paths = list_images(args.images)
    check_unique_stems(paths)
    given = find_boxes(read_boxes(args.part, args.images.name), paths, args.part) if args.part else None
    settings = engine_options.settings(args, score_threshold=args.min_score or 0.0)
    labeller = Labeller(Interpreter.load(settings), args.scales, args.flip, args.min_confidence, args.bonnet)
    names = labeller.interpreter.identity.class_names
    pixels, errors, known = np.zeros(256, np.int64), [], 0
    boxes: dict[str, tuple[tuple[int, int], list[Row]]] = {}
    with staged(args.out, args.force, CARD) as stage, Progress("images", len(paths)) as progress:
        folder = stage / args.out.name
        (folder / "labels").mkdir(parents=True)
        for number, path in enumerate(paths):
            try:
                image = read_image(path)
            except UnreadableError as error:
                errors.append(str(error))
                continue
            labels = labeller.label(image)
            write_image(folder / "labels" / f"{path.stem}.png", labels)
            pixels += np.bincount(labels.ravel(), minlength=256)
            if args.min_score is not None:
                rows = [_row(box) for box in labeller.boxes(image)]
                if given:
                    listed = _given_rows(given[number], image.shape, path)
                    known, rows = known + len(listed), parted(listed, rows, args.part_classes)
                boxes[path.name] = (image.shape[:2], rows)
            progress.step()
        if len(errors) == len(paths):
            raise UnreadableError(f"none of {len(paths)} images can be read; the first: {errors[0]}")
        _write_card(folder / CARD, labeller)
        if args.min_score is not None:
            _write_boxes(folder, boxes)
    print(_summary(names, pixels))
    if args.min_score is not None:
        written = [row for _, rows in boxes.values() for row in rows]
        kept = sum(score is None for _, _, score in written)
        origin = f"{known} boxes given, {known - kept} of them parted: " if given else ""
        print(f"\n{origin}{len(written)} boxes")
    if errors:
        print(f"\n{left_out_note(errors, len(paths))}")
    return 0


@dataclass(frozen=True)
class Labeller:
    """Labels images by the mean of a parser's class probabilities over several views.

    Attributes:
        interpreter: holds the parser.
        scales: sizes at which an image is parsed, as factors.
        flip: parse the mirror image too.
        min_confidence: mean probability below which a pixel is unlabelled.
        bonnet: lowest share of the rows that is unlabelled.
    """

    interpreter: Interpreter
    scales: Sequence[float]
    flip: bool
    min_confidence: float
    bonnet: float

    def label(self, image: np.ndarray) -> np.ndarray:
        """H x W uint8 class ids of an H x W x 3 uint8 RGB image; 255 = unlabelled.

        Raises:
            OptionError: the image is too small at one of the scales.
        """
        views = list(self._probabilities(image))
        confidence, labels = (sum(views[1:], views[0]) / len(views)).max(0)
        ids = labels.to(torch.uint8)
        ids[confidence < self.min_confidence] = UNLABELLED
        ids[round(len(ids) * (1 - self.bonnet)) :] = UNLABELLED
        return ids.cpu().numpy()

    def boxes(self, image: np.ndarray) -> tuple[Detection, ...]:
        """The boxes that the model finds in the image as it is."""
        return self.interpreter.interpret(image).perception.detections

    def _probabilities(self, image: np.ndarray) -> Iterator[Tensor]:
        """K x H x W class probabilities of each view."""
        height, width = image.shape[:2]
        for scale in self.scales:
            size = (round(width * scale), round(height * scale))
            if min(size) < MIN_SIDE:
                raise OptionError(
                    f"--scales: an image of {width}x{height} is {size[0]}x{size[1]} at {scale:g}, below "
                    f"{MIN_SIDE}x{MIN_SIDE}: choose larger scales"
                )
            filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            scaled = image if scale == 1 else cv2.resize(image, size, interpolation=filtering)
            yield self._parse(scaled, (height, width))
            if self.flip:
                yield self._parse(np.ascontiguousarray(scaled[:, ::-1]), (height, width)).flip(-1)

    def _parse(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """K x H x W probabilities of an image, enlarged to a size."""
        cells = self.interpreter.probabilities(image)
        stride = math.ceil(image.shape[1] / cells.shape[-1])
        full = functional.interpolate(cells, scale_factor=stride, mode="bilinear", align_corners=False)
        full = full[..., : image.shape[0], : image.shape[1]]
        if full.shape[-2:] != size:
            full = functional.interpolate(full, size, mode="bilinear", align_corners=False)
        return full[0]


def _write_card(path: Path, labeller: Labeller) -> None:
    identity = labeller.interpreter.identity
    content = {
        "by": "ros2-derain label",
        "model": identity.name,
        "model_sha256": identity.sha256,
        "min_confidence": labeller.min_confidence,
        "scales": list(labeller.scales),
        "flip": labeller.flip,
        "bonnet": labeller.bonnet,
        "classes": [{"id": index, "name": name} for index, name in enumerate(identity.class_names)],
        "void_id": UNLABELLED,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _row(box: Detection) -> Row:
    return box.class_name, np.array((box.x0, box.y0, box.x1, box.y1)), box.score


def _given_rows(boxes: BoxList, shape: tuple[int, ...], path: Path) -> list[Row]:
    edges = boxes.array(shape[1], shape[0], path)
    return [(OBJECTS[int(row[0])], row[1:].astype(float), None) for row in edges]


def parted(given: Sequence[Row], found: Sequence[Row], classes: Sequence[str] = OBJECTS) -> list[Row]:
    """The given boxes; one of ``classes`` in which several boxes of its class are found becomes these.

    They must cover the given box's width by :data:`COVERED`: else some of its objects were not found, and
    would become background.
    """
    result: list[Row] = []
    for name, edges, score in given:
        inside = [each for each in found if class_index(each[0], OBJECTS) == OBJECTS.index(name)]
        inside = [each for each in inside if _common(each[1], edges) >= INSIDE * _area(each[1])]
        corners = np.array([each[1] for each in inside]).reshape(-1, 4)
        scores = np.array([each[2] for each in inside])
        kept = suppress(corners, scores, np.zeros(len(inside), int), SAME) if inside else []
        columns = np.linspace(edges[0], edges[2], 201)
        covered = ((columns >= corners[kept, :1]) & (columns <= corners[kept, 2:3])).any(0).mean()
        several = name in classes and len(kept) > 1 and covered >= COVERED
        result += [(name, *inside[index][1:]) for index in kept] if several else [(name, edges, score)]
    return result


def _area(edges: np.ndarray) -> float:
    return float(np.prod(np.clip(edges[2:] - edges[:2], 0, None)))


def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Area in pixels that two boxes have in common."""
    return _area(np.hstack((np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:]))))


def _write_boxes(folder: Path, boxes: Mapping[str, tuple[tuple[int, int], Sequence[Row]]]) -> None:
    """``images.csv`` and ``boxes.csv``: height and width of each image by name, and its boxes."""
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        sizes = [(name, width, height) for name, ((height, width), _) in boxes.items()]
        csv.writer(file).writerows([("image", "width", "height"), *sizes])
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "class", "xmin", "ymin", "xmax", "ymax", "score"))
        for name, (_, rows) in boxes.items():
            for class_name, edges, score in rows:
                shown = "" if score is None else round(score, 4)
                writer.writerow((name, class_name, *edges.round(2).tolist(), shown))


def _summary(names: Sequence[str], pixels: np.ndarray) -> str:
    """Share of the pixels that each class and no class got."""
    shares = pixels / max(1, pixels.sum())
    rows = [(name, tables.percent(shares[index])) for index, name in enumerate(names)]
    rows.append(("unlabelled", tables.percent(shares[UNLABELLED])))
    return tables.aligned(("class", "pixels %"), rows)


def _share(option: str):
    def number(text: str) -> float:
        return options.number(text, float, option, "a share", 0, 1, "0.8")

    return number


def _object_classes(text: str) -> tuple[str, ...]:
    option = "--part-classes"
    return options.several(text, option, lambda name: options.one_of(name, option, OBJECTS))


def _scales(text: str) -> tuple[float, ...]:
    def scale(part: str) -> float:
        return options.number(part, float, "--scales", "a factor", 1 / MAX_SCALE, MAX_SCALE, "0.75,1,1.25")

    return options.several(text, "--scales", scale)
