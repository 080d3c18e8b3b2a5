"""Scores of a clip: quality of the images, and of the labels and boxes that a parser finds in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ros2_derain.engine import UNLABELLED, Detection, Perception
from ros2_derain.metrics import Boxes, Matches, average_precision, match_boxes
from ros2_derain.metrics.image import psnr, psnr_y, ssim_y
from ros2_derain.metrics.segmentation import (
    accuracy_per_class,
    confusion,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from ros2_derain.metrics.temporal import Motion, label_flicker, warp_error
from ros2_derain.reporting.statistics import finite

MATCH_IOU, SCORE = 0.6, 0.3
"""IoU of a correct box, and the pipeline's default threshold on its score."""


class LabelScore:
    """Score of label maps over many images.

    Args:
        classes: names by id.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._matrix = np.zeros((len(classes), len(classes) + 1), np.int64)

    def add(self, labels: np.ndarray, truth: np.ndarray) -> float | None:
        """Add an image, H x W uint8 ids (255 = unlabelled); its own mIoU, None if undefined."""
        matrix = confusion(labels, truth, len(self._classes))
        self._matrix += matrix
        return finite(mean_iou(matrix))

    def figures(self) -> dict:
        """mIoU, PA and mPA in 0..1, IoU and accuracy per class."""
        return {
            "miou": finite(mean_iou(self._matrix)),
            "pixel_accuracy": finite(pixel_accuracy(self._matrix)),
            "mean_accuracy": finite(mean_accuracy(self._matrix)),
            "iou": _named(self._classes, iou_per_class(self._matrix)),
            "accuracy": _named(self._classes, accuracy_per_class(self._matrix)),
        }


class BoxScore:
    """Score of boxes over many images.

    Args:
        objects: names by id.
    """

    def __init__(self, objects: Sequence[str]) -> None:
        self._objects = objects
        self._found: list[Boxes] = []
        self._truth: list[Boxes] = []

    def __len__(self) -> int:
        """Number of images."""
        return len(self._found)

    def add(self, found: Sequence[Detection], truth: Boxes) -> Matches:
        """Add an image; its matches, as precision and recall count them."""
        boxes = to_boxes(found, self._objects, scored=True)
        self._found.append(boxes)
        self._truth.append(truth)
        return match_boxes([boxes], [truth], len(self._objects), iou=MATCH_IOU, score=SCORE)

    def figures(self) -> dict:
        """AP50, AP50:95, precision, recall and overlap in 0..1; ``boxes``: AP of each class."""
        count = len(self._objects)
        precision = average_precision(self._found, self._truth, count)
        matches = match_boxes(self._found, self._truth, count, iou=MATCH_IOU, score=SCORE)
        ap50 = _named(self._objects, precision.ap50_per_class)
        ap = _named(self._objects, precision.ap_per_class)
        return {
            "ap50": finite(precision.ap50),
            "ap": finite(precision.ap),
            "precision": finite(matches.precision),
            "recall": finite(matches.recall),
            "overlap": finite(matches.best_iou),
            "boxes": {name: {"ap50": ap50[name], "ap": ap[name]} for name in self._objects},
        }


def to_boxes(found: Sequence[Detection], objects: Sequence[str], scored: bool) -> Boxes:
    """Detections as the metrics take them; without scores they are ground truth.

    Raises:
        ValueError: a class is not one of the objects, or a box has no area.
    """
    return Boxes(
        np.array([(box.x0, box.y0, box.x1, box.y1) for box in found]),
        np.array([objects.index(box.class_name) for box in found]),
        np.array([box.score for box in found]) if scored else None,
    )


def empty_perception(height: int, width: int) -> Perception:
    """Perception of an image on which the parser failed: unlabelled, without boxes."""
    labels = np.full((height, width), UNLABELLED, np.uint8)
    return Perception(labels, np.zeros_like(labels), ())


class ParserScore:
    """Score of one parser over a clip.

    Args:
        classes: of label maps, by id.
        objects: of boxes, by id.
        truth: boxes of each image; None: boxes are not scored.
    """

    def __init__(self, classes: Sequence[str], objects: Sequence[str], truth: Sequence[Boxes] | None) -> None:
        self._labels, self._truth = LabelScore(classes), truth
        self._boxes = BoxScore(objects)
        self._flicker: list[float] = []
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, perception: Perception, truth: np.ndarray, motion: Motion | None) -> None:
        """Add the next frame and its true labels; ``motion`` is that from the previous frame."""
        self._labels.add(perception.labels, truth)
        if motion is not None and self._before is not None:
            labels, truth_before = self._before
            self._flicker.append(label_flicker(labels, perception.labels, motion, (truth_before, truth)))
        self._before = perception.labels, truth
        if self._truth is not None:
            self._boxes.add(perception.detections, self._truth[len(self._boxes)])

    def figures(self) -> dict:
        """mIoU, PA, mPA and flicker in 0..1, IoU and accuracy per class; with boxes AP and more."""
        found = {**self._labels.figures(), "flicker": _mean_known(self._flicker)}
        return found if self._truth is None else found | self._boxes.figures()


class ImageScore:
    """PSNR and SSIM of images compared with the clean ones, and their temporal stability."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._psnr_y: list[float] = []
        self._ssim_y: list[float] = []
        self._warp: list[float] = []
        self._before: np.ndarray | None = None

    def add(self, image: np.ndarray, clean: np.ndarray, motion: Motion | None) -> None:
        """Add the next frame; ``motion`` is that from the previous frame."""
        self._psnr.append(psnr(image, clean))
        self._psnr_y.append(psnr_y(image, clean))
        self._ssim_y.append(ssim_y(image, clean))
        if motion is not None and self._before is not None:
            self._warp.append(warp_error(self._before, image, motion))
        self._before = image

    def figures(self) -> dict:
        """Means over the frames: PSNR in dB (None: some are equal), SSIM, warp error 0..1."""
        return {
            "psnr_db": finite(float(np.mean(self._psnr))),
            "psnr_y_db": finite(float(np.mean(self._psnr_y))),
            "ssim_y": float(np.mean(self._ssim_y)),
            "warp_error": _mean_known(self._warp),
        }


def recovery(reached: float | None, rain: float | None, dry: float | None) -> float | None:
    """Share of what rain or water cost that is won back; None where they cost nothing."""
    if reached is None or rain is None or dry is None or dry <= rain:
        return None
    return (reached - rain) / (dry - rain)


def _mean_known(values: Sequence[float]) -> float | None:
    """Mean of the finite values; None without any."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: finite(float(value)) for name, value in zip(names, values, strict=True)}
