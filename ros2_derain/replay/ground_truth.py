"""Ground truth of a camera's frames: label maps, boxes, and reference images without rain.

Each is compared with the ``input`` (the camera's image, and the parser's output for it) and with the
``output`` of the pipeline.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ros2_derain.bags.messages import BAD_MESSAGE, COMPRESSED, IMAGE, decode_image, detections, stamp_ns
from ros2_derain.bags.reader import BagReader
from ros2_derain.data.classes import class_ids
from ros2_derain.data.images import (
    DataError,
    check_unique_stems,
    list_files,
    list_images,
    natural_order,
    read_image,
    read_label_map,
)
from ros2_derain.engine import UNLABELLED, Detection, Engine, Frame, LoadedModel, Mode, Perception, Scene
from ros2_derain.evaluate.labelled_clip import boxes_by_name
from ros2_derain.evaluate.scores import BoxScore, LabelScore, empty_perception, to_boxes
from ros2_derain.metrics import Boxes, psnr, ssim
from ros2_derain.nodes.images import to_mono
from ros2_derain.replay import ReplayError
from ros2_derain.replay.frame_metrics import average, number
from ros2_derain.replay.job import Job

SIDES = ("input", "output")
LABELS, BOXES, IMAGES = "labels", "boxes", "images"
"""Kinds of truth, by their names in the figures."""

DETECTIONS = "vision_msgs/msg/Detection2DArray"
STAMP_DIGITS = 10
"""A name of this many digits or more is a stamp in ns, a shorter one a name in order."""
AHEAD = 16
"""Images of a topic that are kept while the frame that they belong to is waited for."""

T = TypeVar("T")


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
        maps: each frame's true labels, by stamp in ns or by the frame's number.
        ids: 256 int16, for each id of them the model's class, as ``class_ids`` gives it.
        model: its classes.
    """

    def __init__(self, maps: Mapping[int, Path | bytes], ids: np.ndarray, model: LoadedModel) -> None:
        self._maps, self._ids = maps, ids
        self._scores = {side: LabelScore(model.identity.class_names) for side in SIDES}
        self._frames = 0

    def of(self, frame: Frame, index: int) -> np.ndarray | None:
        """The true labels of a frame, H x W uint8 ids of the model.

        Raises:
            ReplayError: they are not of the frame's size, or hold an unknown id.
        """
        kept = entry_of(self._maps, frame, index)
        if kept is None:
            return None
        shape = frame.image.shape[:2]
        if isinstance(kept, Path):
            labels, name = read_label_map(kept), str(kept)
        else:
            labels, name = np.frombuffer(zlib.decompress(kept), np.uint8), f"the truth of {frame.stamp_ns} ns"
            labels = labels.reshape(shape) if labels.size == shape[0] * shape[1] else labels[None]
        _require_size(name, labels, shape)
        mapped = self._ids[labels]
        if mapped.min() < 0:
            raise ReplayError(
                f"{name} holds label id {labels[mapped < 0].min()}, which is unknown: name them by --classes"
            )
        return mapped.astype(np.uint8)

    def add(self, side: str, sides: Sides, truth: np.ndarray) -> dict:
        """Count one side of a frame; its mIoU."""
        self._frames += side == SIDES[0]
        return {"miou": number(self._scores[side].add(sides.perception(side).labels, truth))}

    def figures(self) -> dict:
        """Over all frames: mIoU, pixel accuracy, IoU per class."""
        keys = ("miou", "pixel_accuracy", "iou")
        found = {side: score.figures() for side, score in self._scores.items()}
        return {"frames": self._frames, **{side: {key: found[side][key] for key in keys} for side in SIDES}}


class BoxTruth:
    """The true boxes of one camera, and the figures against them.

    Args:
        boxes: of each frame, by stamp in ns or by the frame's number.
        objects: of the model, by id.
    """

    def __init__(self, boxes: Mapping[int, Boxes], objects: Sequence[str]) -> None:
        self._boxes = boxes
        self._scores = {side: BoxScore(objects) for side in SIDES}

    def of(self, frame: Frame, index: int) -> Boxes | None:
        """The true boxes of a frame.

        Raises:
            ReplayError: they reach beyond the frame.
        """
        boxes = entry_of(self._boxes, frame, index)
        height, width = frame.image.shape[:2]
        if boxes is not None and len(boxes) and (boxes.corners[:, 2:] > (width + 1, height + 1)).any():
            raise ReplayError(f"a true box reaches beyond the image, {width}x{height}: is it of this size?")
        return boxes

    def add(self, side: str, sides: Sides, truth: Boxes) -> dict:
        """Count one side of a frame: how many boxes were right, wrong and missed."""
        found = self._scores[side].add(sides.perception(side).detections, truth)
        return {"hits": found.hits, "false_alarms": found.false_alarms, "misses": found.misses}

    def figures(self) -> dict:
        """Over all frames: AP50, AP50:95, precision, recall, AP50 per class."""
        found: dict = {"frames": max(map(len, self._scores.values()))}
        for side, score in self._scores.items():
            counted = score.figures()
            per_class = {name: values["ap50"] for name, values in counted.pop("boxes").items()}
            found[side] = {**counted, "ap50_per_class": per_class}
        return found


class ReferenceImages:
    """The expected clean images of one camera, such as those of a dry drive.

    Args:
        images: each frame's, by stamp in ns or by the frame's number; or a topic.
    """

    def __init__(self, images: Mapping[int, Path] | TopicImages) -> None:
        self._images = images
        self._figures: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}

    def of(self, frame: Frame, index: int) -> np.ndarray | None:
        """The reference image of a frame, H x W x 3 uint8 RGB.

        Raises:
            ReplayError: it is of another size than the frame.
        """
        image: np.ndarray | None
        if isinstance(self._images, TopicImages):
            image, name = self._images.take(frame.stamp_ns), f"the reference image of {frame.stamp_ns} ns"
        else:
            path = entry_of(self._images, frame, index)
            image, name = None if path is None else read_image(path), str(path)
        if image is not None:
            _require_size(name, image, frame.image.shape[:2])
        return image

    def add(self, side: str, sides: Sides, truth: np.ndarray) -> dict:
        """Count one side of a frame; its PSNR in dB (None: equal) and SSIM."""
        image = sides.images[side]
        decibels, similarity = psnr(image, truth), ssim(image, truth)
        self._figures[side].append((decibels, similarity))
        return {"psnr_db": number(decibels), "ssim": number(similarity)}

    def figures(self) -> dict:
        """Over all frames: mean PSNR in dB, of those frames that are not equal to theirs, and mean SSIM."""
        means: dict = {"frames": len(self._figures["output"])}
        for side, found in self._figures.items():
            finite = [decibels for decibels, _ in found if np.isfinite(decibels)]
            means[side] = {"psnr_db": average(finite), "ssim": average([similar for _, similar in found])}
        return means


class TopicImages:
    """The images of a topic by their stamps, read along with the frames, a few of them at a time.

    Args:
        path: of the bag; it is opened once more.
        topic: of its images.
    """

    def __init__(self, path: Path, topic: str) -> None:
        self._images = self._read(path, topic)
        self._ahead: dict[int, np.ndarray] = {}

    def take(self, stamp_ns: int) -> np.ndarray | None:
        """The image of a stamp, H x W x 3 uint8 RGB; None: there is none. Ask in the order of the stamps."""
        self._ahead = {stamp: image for stamp, image in self._ahead.items() if stamp >= stamp_ns}
        while stamp_ns not in self._ahead and len(self._ahead) < AHEAD:
            found = next(self._images, None)
            if found is None:
                break
            stamp, image = found
            if stamp >= stamp_ns:
                self._ahead[stamp] = image
        return self._ahead.get(stamp_ns)

    @staticmethod
    def _read(path: Path, topic: str) -> Iterator[tuple[int, np.ndarray]]:
        with BagReader(path, recover=True) as bag:
            for message in bag.messages([topic]):
                try:
                    decoded = bag.decode(message)
                    yield stamp_ns(decoded, message.received_ns), decode_image(decoded, message.type)
                except BAD_MESSAGE:
                    continue


Part = LabelTruth | BoxTruth | ReferenceImages
"""One kind of truth: ``of`` gives it for a frame (None: unknown), ``add`` compares one side of the frame with
it, ``figures`` are those of all frames."""


class GroundTruth:
    """All ground truth of one camera.

    Args:
        parts: by :data:`LABELS`, :data:`BOXES`, :data:`IMAGES`.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts

    def add(self, frame: Frame, index: int, parser: Engine, scene: Scene) -> tuple[dict, list[str]]:
        """A frame's figures by kind of truth, JSON-ready; and why a truth was not used, a sentence each."""
        record: dict = {}
        notes, sides = [], Sides(frame, scene, parser)
        for name, part in self._parts.items():
            try:
                truth: Any = part.of(frame, index)
            except (DataError, ReplayError) as error:
                notes.append(f"truth not used: {error}")
                continue
            if truth is not None:
                record[name] = {side: part.add(side, sides, truth) for side in SIDES}
        return record, notes

    def figures(self) -> dict:
        """Over all frames, by kind of truth."""
        return {name: part.figures() for name, part in self._parts.items()}


def find(bag: BagReader, job: Job, frames: int, model: LoadedModel) -> GroundTruth | None:
    """What a job's ``truth``, ``truth_boxes`` and ``references`` name; None where they name nothing.

    Topics are matched by the stamps of their messages; files by the stamps in ns that they are named by, or
    by their order.

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
    parts: dict[str, Part] = {}
    if job.truth:
        ids = class_ids(model.identity.class_names, job.classes, None if job.classes else UNLABELLED)
        parts[LABELS] = LabelTruth(_label_maps(bag, job.truth, frames), ids, model)
    if job.truth_boxes:
        objects = model.identity.object_names
        parts[BOXES] = BoxTruth(_boxes(bag, job.truth_boxes, frames, objects), objects)
    if job.references:
        parts[IMAGES] = ReferenceImages(_reference_images(bag, job.references, frames))
    return GroundTruth(parts) if parts else None


def _label_maps(bag: BagReader, source: str, frames: int) -> dict[int, Any]:
    maps: dict = {}
    if _is_topic(bag, "--truth", source, IMAGE):
        for message in bag.messages([source]):
            with suppress(*BAD_MESSAGE):
                image = bag.decode(message)
                packed = zlib.compress(to_mono(image).tobytes(), 1)  # a few kB each
                maps[stamp_ns(image, message.received_ns)] = packed
    elif named := {path.stem: path for path in list_files(Path(source), (".png",))}:
        maps = by_stamp_or_order(named, frames, source)
    if not maps:
        raise ReplayError(f"--truth {source} holds no label map: mono8 images, or PNG files")
    return maps


def _boxes(bag: BagReader, source: str, frames: int, objects: Sequence[str]) -> dict[int, Boxes]:
    boxes = {}
    if _is_topic(bag, "--truth-boxes", source, DETECTIONS):
        for message in bag.messages([source]):
            with suppress(*BAD_MESSAGE):
                decoded = bag.decode(message)
                found = _true_boxes(detections(decoded), objects, source)
                boxes[stamp_ns(decoded, message.received_ns)] = found
    else:
        listed = boxes_by_name(Path(source), objects)
        names = sorted(listed, key=lambda name: natural_order(Path(name)))
        boxes = by_stamp_or_order({Path(name).stem: listed[name] for name in names}, frames, source)
    if not boxes:
        raise ReplayError(f"--truth-boxes {source} holds no boxes that can be read")
    return boxes


def _true_boxes(found: Sequence[Detection], objects: Sequence[str], topic: str) -> Boxes:
    known = {name.casefold(): name for name in objects}
    unknown = [box.class_name for box in found if box.class_name.casefold() not in known]
    if unknown:
        raise ReplayError(
            f"{topic}: the model does not detect class {unknown[0]!r}; it detects {', '.join(objects)}"
        )
    named = [replace(box, class_name=known[box.class_name.casefold()]) for box in found]
    return to_boxes(named, objects, scored=False)


def _reference_images(bag: BagReader, source: str, frames: int) -> dict[int, Path] | TopicImages:
    if _is_topic(bag, "--references", source, IMAGE, COMPRESSED):
        return TopicImages(bag.path, source)
    files = list_images(Path(source))
    check_unique_stems(files)
    return by_stamp_or_order({path.stem: path for path in files}, frames, source)


def _is_topic(bag: BagReader, option: str, source: str, *types: str) -> bool:
    """Whether an option names a topic of these types, True, or a folder, False.

    Raises:
        ReplayError: it names neither.
    """
    if any(topic.name == source and topic.type in types for topic in bag.topics):
        return True
    if not Path(source).is_dir():
        kind = "an image" if IMAGE in types else f"a {types[0]}"
        raise ReplayError(f"{option} {source} is neither {kind} topic of {bag.path} nor a folder")
    return False


def _require_size(name: str, plane: np.ndarray, shape: tuple[int, ...]) -> None:
    if plane.shape[:2] != shape:
        raise ReplayError(f"{name} is of another size than the image, {shape[1]}x{shape[0]}")


def by_stamp_or_order(named: Mapping[str, T], frames: int, source: str) -> dict[int, T]:
    """Entries by their stamp in ns, where all names are stamps; else by their number, from 0.

    Args:
        named: in order.
        frames: of the camera.
        source: where the entries are from, for the message.

    Raises:
        ReplayError: the names are no stamps, and there are not as many as frames.
    """
    stamped = all(name.isdigit() and len(name) >= STAMP_DIGITS for name in named)
    if not stamped and len(named) != frames:
        raise ReplayError(
            f"{source} holds {len(named)} images for {frames} frames, so that their order does not show "
            "which is whose: name them by the frames' stamps in ns"
        )
    return {int(name) if stamped else index: entry for index, (name, entry) in enumerate(named.items())}


def entry_of(entries: Mapping[int, T], frame: Frame, index: int) -> T | None:
    """The entry of a frame that is the ``index``-th of its camera; None if there is none."""
    return entries.get(frame.stamp_ns, entries.get(index))
