"""Agreement of boxes: COCO's average precision, and precision and recall at one threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .image import MetricError


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, found or true.

    Attributes:
        corners: N x 4 (x0, y0, x1, y1) in pixels, the maximum edges exclusive.
        classes: N integers from 0.
        scores: N confidences 0..1 of found boxes; None for true ones.

    Raises:
        MetricError: the lengths differ, or a box has no area or is not finite.
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "corners", np.asarray(self.corners, float).reshape(-1, 4))
        object.__setattr__(self, "classes", np.asarray(self.classes, int).reshape(-1))
        if self.scores is not None:
            object.__setattr__(self, "scores", np.asarray(self.scores, float).reshape(-1))
        lengths = [len(a) for a in (self.corners, self.classes, self.scores) if a is not None]
        if len(set(lengths)) > 1:
            raise MetricError(f"numbers of boxes, classes and scores differ: {lengths}")
        bad = ~(np.isfinite(self.corners).all(1) & (self.corners[:, 2:] > self.corners[:, :2]).all(1))
        if bad.any():
            raise MetricError(f"box {self.corners[bad][0].tolist()} is not x0 < x1, y0 < y1")

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def certain_scores(self) -> np.ndarray:
        """The scores; 1 for true boxes."""
        return np.ones(len(self)) if self.scores is None else self.scores


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's average precision; NaN stands for a class that the truth does not hold.

    Attributes:
        ap50_per_class: classes, 0..1, at an IoU of 0.5.
        ap_per_class: classes, 0..1, mean over the IoUs 0.50, 0.55 ... 0.95.
    """

    ap50_per_class: np.ndarray
    ap_per_class: np.ndarray

    @property
    def ap50(self) -> float:
        """Mean of AP50 over the classes that the truth holds, 0..1; NaN if it holds none."""
        return _mean(self.ap50_per_class)

    @property
    def ap(self) -> float:
        """Mean of AP50:95 over the classes that the truth holds, 0..1; NaN if it holds none."""
        return _mean(self.ap_per_class)


@dataclass(frozen=True)
class Matches:
    """Found boxes against true ones, at one IoU threshold and one score threshold.

    Attributes:
        hits: found boxes that match a true one.
        false_alarms: found boxes that match none.
        misses: true boxes that no found one matches.
        iou_of_hits: sum of the IoUs of the matches.
        iou_of_truth: sum, over the true boxes, of the best IoU any found box of the class has.
    """

    hits: int
    false_alarms: int
    misses: int
    iou_of_hits: float
    iou_of_truth: float

    @property
    def precision(self) -> float:
        """Share of the found boxes that are right, 0..1; NaN if none was found."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of the true boxes that were found, 0..1; NaN if there are none."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matches, from the IoU threshold up to 1; NaN without a match."""
        return _share(self.iou_of_hits, self.hits)

    @property
    def best_iou(self) -> float:
        """Mean over the true boxes of the best IoU with any found box, 0..1; NaN without truth.

        What darknet's ``detector recall`` prints as IoU. MSPFN's table 6 prints IoUs from 0.55 at
        a threshold of 0.6: a mean of matches cannot be that low, this one can.
        """
        return _share(self.iou_of_truth, self.hits + self.misses)


def average_precision(found: Sequence[Boxes], truth: Sequence[Boxes], classes: int) -> AveragePrecision:
    """AP50 and AP50:95 as COCO defines them: 101 recall levels, the 100 best boxes of an image.

    Lin et al., "Microsoft COCO: common objects in context", ECCV 2014; computed by
    faster-coco-eval.

    Args:
        found, truth: one entry for each image, in the same order; an image may be empty.
        classes: how many there are.

    Raises:
        MetricError: the lists differ in length, found boxes lack scores, or a class is
            outside 0..classes-1.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    _check(found, truth, classes)
    if not any(map(len, truth)):
        return AveragePrecision(np.full(classes, np.nan), np.full(classes, np.nan))
    evaluation = COCOeval_faster(COCO(_coco(truth, classes)), COCO(_coco(found, classes)), "bbox")
    evaluation.params.maxDets = [100]
    settings = evaluation.params
    settings.areaRng, settings.areaRngLbl = settings.areaRng[:1], settings.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # IoU, recall level, class; -1: not in the truth
    by_iou = np.where(precision < 0, np.nan, precision).mean(1)
    return AveragePrecision(by_iou[0], by_iou.mean(0))


def match_boxes(
    found: Sequence[Boxes], truth: Sequence[Boxes], classes: int, *, iou: float = 0.6, score: float = 0.5
) -> Matches:
    """Counts for precision and recall over all images and classes (MSPFN, table 6).

    COCO's matching: in each image and class the found boxes of at least ``score``, best first,
    each take the free true box with which they overlap most, if by at least ``iou``. A true box
    is taken once; a second box on it is a false alarm.

    Args:
        found, truth: one entry for each image, in the same order; an image may be empty.
        classes: how many there are.
        iou: least intersection over union of a match, 0..1. MSPFN prints a threshold of 0.6
            without saying of what, and none of the score.
        score: least score of a found box that counts, 0..1.

    Raises:
        MetricError: as :func:`average_precision`.
    """
    _check(found, truth, classes)
    hits = found_boxes = true_boxes = 0
    of_hits = of_truth = 0.0
    for ours, other in zip(found, truth, strict=True):
        scores = ours.certain_scores
        for label in np.union1d(ours.classes, other.classes):
            kept = np.flatnonzero((ours.classes == label) & (scores >= score))
            kept = kept[np.argsort(-scores[kept], kind="stable")]
            overlaps = box_iou(ours.corners[kept], other.corners[other.classes == label])
            matched = _take(overlaps, iou)
            hits, of_hits = hits + len(matched), of_hits + sum(matched)
            found_boxes, true_boxes = found_boxes + overlaps.shape[0], true_boxes + overlaps.shape[1]
            of_truth += overlaps.max(0, initial=0).sum()
    return Matches(hits, found_boxes - hits, true_boxes - hits, float(of_hits), float(of_truth))


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """N x M intersections over unions, 0..1, of N x 4 and M x 4 boxes (x0, y0, x1, y1)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common: np.ndarray = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    ratios: np.ndarray = common / (areas[0][:, None] + areas[1][None] - common)
    return ratios


def _take(overlaps: np.ndarray, threshold: float) -> list[float]:
    """IoUs of the matches; the rows choose in order, a column is chosen once."""
    free, matched = overlaps.copy(), []
    for row in free:
        best = row.argmax() if row.size else 0
        if row.size and row[best] >= threshold:
            matched.append(float(row[best]))
            free[:, best] = -1
    return matched


def _coco(images: Sequence[Boxes], classes: int) -> dict[str, Any]:
    """The boxes as a COCO dataset. Ids start from 1: the matching takes id 0 for none."""
    annotations: list[dict[str, Any]] = []
    for image, boxes in enumerate(images):
        scores = boxes.certain_scores
        for (x0, y0, x1, y1), label, score in zip(boxes.corners.tolist(), boxes.classes, scores, strict=True):
            sides = (x1 - x0, y1 - y0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": [x0, y0, *sides],
                    "area": sides[0] * sides[1],
                    "iscrowd": 0,
                    "score": float(score),
                }
            )
    return {
        "images": [{"id": image} for image in range(len(images))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": annotations,
    }


def _check(found: Sequence[Boxes], truth: Sequence[Boxes], classes: int) -> None:
    if len(found) != len(truth):
        raise MetricError(f"found boxes are of {len(found)} images, true ones of {len(truth)}")
    if any(boxes.scores is None for boxes in found):
        raise MetricError("found boxes have no scores: give Boxes(corners, classes, scores)")
    for kind, images in (("found", found), ("true", truth)):
        labels = np.concatenate([np.zeros(0, int), *(boxes.classes for boxes in images)])
        outside = labels[(labels < 0) | (labels >= classes)]
        if outside.size:
            raise MetricError(f"{kind} box of class {outside[0]}, outside 0..{classes - 1}")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
