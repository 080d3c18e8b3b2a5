"""Ground truth of a camera's frames: label maps, boxes, and reference images without rain.

Each is compared with the ``input`` (the camera's image, and the parser's output for it) and with the
``output`` of the pipeline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ros2_derain.bags.reader import BagReader
from ros2_derain.data.classes import class_ids
from ros2_derain.data.images import DataError
from ros2_derain.engine import UNLABELLED, Engine, Frame, LoadedModel, Mode, Perception, Scene
from ros2_derain.evaluate.scores import BoxScore, LabelScore, empty_perception
from ros2_derain.metrics import Boxes, psnr, ssim
from ros2_derain.replay import ReplayError
from ros2_derain.replay.frame_metrics import average, number
from ros2_derain.replay.job import Job
from ros2_derain.replay.truth_sources import Entries, boxes, label_maps, reference_images

SIDES = ("input", "output")
LABELS, BOXES, IMAGES = "labels", "boxes", "images"
"""Kinds of truth, by their names in the figures."""
OPTIONS = {LABELS: "--truth", BOXES: "--truth-boxes", IMAGES: "--references"}


class Sides:
    """Both sides of a frame: what goes into the pipeline and what comes out.

    Args:
        frame: as the camera sent it.
        scene: output of the pipeline.
        parser: for the input; runs only when its perception is used.
    """

    def __init__(self, frame: Frame, scene: Scene, parser: Engine) -> None:
        self.images = dict(zip(SIDES, (frame.image, scene.image), strict=True))
        self._scene, self._parser = scene, parser
        self._seen: dict[str, Perception] = {}

    def perception(self, side: str) -> Perception:
        """Output of the parser for one side; empty where it failed."""
        if not self._seen:
            image, found = self.images["input"], self._scene.perception
            self._seen["output"] = found or empty_perception(*image.shape[:2])
            if self._scene.mode is Mode.DRY and found is not None:  # both sides are one image
                self._seen["input"] = found
            else:
                self._seen["input"] = self._parser.interpreter.interpret(image).perception
        return self._seen[side]


class LabelTruth:
    """The true labels of one camera, and the figures against them.

    Args:
        ids: 256 int16, for each id of them the model's class, as ``class_ids`` gives it.
        model: its classes.
    """

    def __init__(self, ids: np.ndarray, model: LoadedModel) -> None:
        self._ids = ids
        self._scores = {side: LabelScore(model.identity.class_names) for side in SIDES}

    def check(self, labels: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The true labels of a frame of this shape, H x W uint8 ids of the model.

        Raises:
            ReplayError: they are not of the frame's size, or hold an unknown id.
        """
        _require_size(name, labels, shape)
        mapped = self._ids[labels]
        if mapped.min() < 0:
            raise ReplayError(
                f"{name} holds label id {labels[mapped < 0].min()}, which is unknown: name them by --classes"
            )
        return mapped.astype(np.uint8)

    def add(self, side: str, sides: Sides, truth: np.ndarray) -> dict:
        """Count one side of a frame; its mIoU."""
        return {"miou": number(self._scores[side].add(sides.perception(side).labels, truth))}

    def figures(self) -> dict:
        """Over all frames: mIoU, pixel accuracy, IoU per class."""
        keys = ("miou", "pixel_accuracy", "iou")
        found = {side: score.figures() for side, score in self._scores.items()}
        return {side: {key: found[side][key] for key in keys} for side in SIDES}


class BoxTruth:
    """The true boxes of one camera, and the figures against them.

    Args:
        objects: of the model, by id.
    """

    def __init__(self, objects: Sequence[str]) -> None:
        self._scores = {side: BoxScore(objects) for side in SIDES}

    def check(self, boxes: Boxes, name: str, shape: tuple[int, ...]) -> Boxes:
        """The true boxes of a frame of this shape.

        Raises:
            ReplayError: they reach beyond the frame.
        """
        height, width = shape
        if len(boxes) and (boxes.corners[:, 2:] > (width + 1, height + 1)).any():
            raise ReplayError(
                f"{name}: a true box reaches beyond the image, {width}x{height}: is it of this size?"
            )
        return boxes

    def add(self, side: str, sides: Sides, truth: Boxes) -> dict:
        """Count one side of a frame: how many boxes were right, wrong and missed."""
        found = self._scores[side].add(sides.perception(side).detections, truth)
        return {"hits": found.hits, "false_alarms": found.false_alarms, "misses": found.misses}

    def figures(self) -> dict:
        """Over all frames: AP50, AP50:95, precision, recall, AP50 per class."""
        found = {}
        for side, score in self._scores.items():
            counted = score.figures()
            per_class = {name: values["ap50"] for name, values in counted.pop("boxes").items()}
            found[side] = {**counted, "ap50_per_class": per_class}
        return found


class ReferenceImages:
    """The expected clean images of one camera, such as those of a dry drive, and the figures against them."""

    def __init__(self) -> None:
        self._figures: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}

    def check(self, image: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The reference image of a frame of this shape, H x W x 3 uint8 RGB.

        Raises:
            ReplayError: it is of another size.
        """
        _require_size(name, image, shape)
        return image

    def add(self, side: str, sides: Sides, truth: np.ndarray) -> dict:
        """Count one side of a frame; its PSNR in dB (None: equal) and SSIM."""
        image = sides.images[side]
        decibels, similarity = psnr(image, truth), ssim(image, truth)
        self._figures[side].append((decibels, similarity))
        return {"psnr_db": number(decibels), "ssim": number(similarity)}

    def figures(self) -> dict:
        """Over all frames: mean PSNR in dB, of those frames that are not equal to theirs, and mean SSIM."""
        means = {}
        for side, found in self._figures.items():
            finite = [decibels for decibels, _ in found if np.isfinite(decibels)]
            means[side] = {"psnr_db": average(finite), "ssim": average([similar for _, similar in found])}
        return means


Part = LabelTruth | BoxTruth | ReferenceImages
"""One kind of truth: ``check`` refuses what does not fit a frame, ``add`` compares one side of the frame with
it, ``figures`` are those of all frames."""


class GroundTruth:
    """All ground truth of one camera.

    Args:
        parts: by :data:`LABELS`, :data:`BOXES`, :data:`IMAGES`, each with its entries.
    """

    def __init__(self, parts: Mapping[str, tuple[Part, Entries]]) -> None:
        self._parts = parts
        self._used: Counter[str] = Counter()
        self._unused: dict[str, list[str]] = {name: [] for name in parts}

    def add(self, frame: Frame, index: int, parser: Engine, scene: Scene) -> tuple[dict, list[str]]:
        """A frame's figures by kind of truth, JSON-ready; and why a truth was not used, a sentence each."""
        record: dict = {}
        notes, sides = [], Sides(frame, scene, parser)
        for name, (part, entries) in self._parts.items():
            try:
                entry = entries.of(frame, index)
                if entry is None:
                    continue
                truth: Any = part.check(entry.read(), entry.name, frame.image.shape[:2])
            except (DataError, ReplayError) as error:
                self._unused[name].append(str(error))
                notes.append(f"truth not used: {error}")
                continue
            self._used[name] += 1
            record[name] = {side: part.add(side, sides, truth) for side in SIDES}
        return record, notes

    def figures(self) -> dict:
        """By kind of truth: the number of ``frames`` that it was used on, and the figures over them."""
        parts = self._parts.items()
        return {name: {"frames": self._used[name], **part.figures()} for name, (part, _) in parts}

    def problems(self) -> list[str]:
        """A sentence for each kind of truth that could be used on no frame."""
        return [
            f"{OPTIONS[name]} could be used on no frame: "
            f"{unused[0] if unused else 'none of it has the stamp of a frame'}"
            for name, unused in self._unused.items()
            if not self._used[name]
        ]

    def notes(self) -> list[str]:
        """A sentence for each kind of truth that could not be used on some of its frames."""
        return [
            f"{OPTIONS[name]} could not be used on {len(unused)} frames, first: {unused[0]}"
            for name, unused in self._unused.items()
            if unused and self._used[name]
        ]


def _require_size(name: str, plane: np.ndarray, shape: tuple[int, ...]) -> None:
    if plane.shape[:2] != shape:
        raise ReplayError(f"{name} is of another size than the image, {shape[1]}x{shape[0]}")


def find(bag: BagReader, job: Job, frames: int, model: LoadedModel) -> GroundTruth | None:
    """What a job's ``truth``, ``truth_boxes`` and ``references`` name; None where they name nothing.

    Topics are matched by the stamps of their messages; files by the stamps in ns that they are named by, or
    by their order; see :class:`Entries`.

    Args:
        bag: open.
        job: names a topic of the bag or a folder for each: ``mono8`` images or PNG files;
            ``vision_msgs/Detection2DArray`` whose class ids are names, or ``boxes.csv`` and ``images.csv`` as
            for ``evaluate perception``; images of any kind.
        frames: of the one camera.
        model: its classes and objects.

    Raises:
        ReplayError: there is no such topic or folder, it holds nothing, or as many files as there are
            frames are needed and it holds another number.
        DataError: a class is not the model's, or a file cannot be read.
    """
    parts: dict[str, tuple[Part, Entries]] = {}
    if job.truth:
        ids = class_ids(model.identity.class_names, job.classes, None if job.classes else UNLABELLED)
        parts[LABELS] = LabelTruth(ids, model), label_maps(bag, job.truth, frames)
    if job.truth_boxes:
        objects = model.identity.object_names
        parts[BOXES] = BoxTruth(objects), boxes(bag, job.truth_boxes, frames, objects)
    if job.references:
        parts[IMAGES] = ReferenceImages(), reference_images(bag, job.references, frames)
    return GroundTruth(parts) if parts else None
