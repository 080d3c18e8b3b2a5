"""True label maps and boxes, where a bag or a folder has them: how right the outputs are before and after.

``input`` is the parser on what the camera saw, ``output`` what the pipeline says.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ros2_derain.bags.messages import BAD_MESSAGE, IMAGE, stamp_ns
from ros2_derain.bags.reader import BagReader
from ros2_derain.data.images import DataError, read_label_map
from ros2_derain.engine import UNLABELLED, Engine, Frame, LoadedModel, Mode, Perception, Scene
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate.labelled_clip import class_ids
from ros2_derain.evaluate.scores import LabelScore, empty_perception
from ros2_derain.nodes.images import to_mono
from ros2_derain.replay import ground_truth_boxes
from ros2_derain.replay.frame_records import number
from ros2_derain.replay.ground_truth_boxes import BoxTruth
from ros2_derain.replay.job import Job
from ros2_derain.replay.matching import by_stamp_or_order, of_frame

WAYS = ("input", "output")
LABELS, BOXES = "labels", "boxes"
"""What can be known, by its name in the figures."""


class LabelTruth:
    """The true labels of one camera, and the figures against them.

    Args:
        maps: where each frame's true labels are, by stamp in ns or by the frame's number.
        ids: 256 int16, for each id of them the model's class, as ``class_ids`` gives it.
        model: its classes.
    """

    def __init__(self, maps: Mapping[int, Path | bytes], ids: np.ndarray, model: LoadedModel) -> None:
        self._maps, self._ids = maps, ids
        self._scores = {way: LabelScore(model.identity.class_names) for way in WAYS}
        self._frames = 0

    def of(self, frame: Frame, index: int) -> np.ndarray | None:
        """The true labels of a frame, H x W uint8 ids of the model; None where they are not known.

        Raises:
            EvaluationError: they are not of the frame's size, or hold an unknown id.
        """
        kept = of_frame(self._maps, frame, index)
        if kept is None:
            return None
        shape = frame.image.shape[:2]
        if isinstance(kept, Path):
            labels, name = read_label_map(kept), str(kept)
        else:
            labels, name = np.frombuffer(zlib.decompress(kept), np.uint8), f"the truth of {frame.stamp_ns} ns"
            labels = labels.reshape(shape) if labels.size == shape[0] * shape[1] else labels[None]
        if labels.shape != shape:
            raise EvaluationError(f"{name} is of another size than the image, {shape[1]}x{shape[0]}")
        mapped = self._ids[labels]
        if mapped.min() < 0:
            raise EvaluationError(
                f"{name} holds label id {labels[mapped < 0].min()}, which is unknown: name them by --classes"
            )
        return mapped.astype(np.uint8)

    def add(self, way: str, seen: Perception, labels: np.ndarray) -> dict:
        """Count a frame; its mIoU."""
        self._frames += way == WAYS[0]
        return {"miou": number(self._scores[way].add(seen.labels, labels))}

    def figures(self) -> dict:
        """Over all frames: mIoU, pixel accuracy, IoU per class."""
        keys = ("miou", "pixel_accuracy", "iou")
        found = {way: score.figures() for way, score in self._scores.items()}
        return {"frames": self._frames, **{way: {key: found[way][key] for key in keys} for way in WAYS}}


class Truth:
    """All that is truly known of one camera.

    Args:
        parts: :data:`LABELS`, :data:`BOXES`, or both.
    """

    def __init__(self, parts: Mapping[str, LabelTruth | BoxTruth]) -> None:
        self._parts = parts

    def add(self, frame: Frame, index: int, engine: Engine, scene: Scene) -> tuple[dict, list[str]]:
        """A frame's figures by what is known of it, JSON-ready; and why something known was not used."""
        record: dict = {}
        notes, seen = [], {}
        for name, part in self._parts.items():
            try:
                true = part.of(frame, index)
            except (DataError, EvaluationError) as error:
                notes.append(f"truth not used: {error}")
                continue
            if true is not None:
                seen = seen or _seen(frame, engine, scene)
                record[name] = {way: part.add(way, seen[way], true) for way in WAYS}
        return record, notes

    def figures(self) -> dict:
        """Over all frames, by what is known."""
        return {name: part.figures() for name, part in self._parts.items()}


def find(bag: BagReader, job: Job, frames: int, model: LoadedModel) -> Truth | None:
    """What a job's ``truth`` and ``truth_boxes`` name; None where they name nothing.

    Args:
        bag: open.
        job: names it.
        frames: of the one camera.
        model: its classes and objects.

    Raises:
        EvaluationError: as :func:`find_labels` and :func:`truth_boxes.find`.
    """
    parts: dict[str, LabelTruth | BoxTruth] = {}
    if job.truth:
        parts[LABELS] = find_labels(bag, job.truth, job.classes, frames, model)
    if job.truth_boxes:
        parts[BOXES] = ground_truth_boxes.find(bag, job.truth_boxes, frames, model, WAYS)
    return Truth(parts) if parts else None


def find_labels(
    bag: BagReader, source: str, classes: Path | None, frames: int, model: LoadedModel
) -> LabelTruth:
    """The true labels that a topic of the bag or a folder holds.

    Args:
        bag: open.
        source: a mono8 topic, whose stamps are the images', or a folder of PNGs that are named by
            the images' stamps in ns, or stand in their order.
        classes: names of the ids, as for ``evaluate perception``; None: the ids are the model's.
        frames: of the camera.
        model: its classes.

    Raises:
        EvaluationError: there is no such topic or folder, or it holds no label map.
    """
    ids = class_ids(model.identity.class_names, classes, None if classes else UNLABELLED)
    if source in {topic.name for topic in bag.topics if topic.type == IMAGE}:
        maps = _of_topic(bag, source)
    elif Path(source).is_dir():
        named = {path.stem: path for path in sorted(Path(source).glob("*.png"))}
        maps = by_stamp_or_order(named, frames, source) if named else {}
    else:
        raise EvaluationError(f"--truth {source} is neither an image topic of {bag.path} nor a folder")
    if not maps:
        raise EvaluationError(f"--truth {source} holds no label map: mono8 images, or PNG files")
    return LabelTruth(maps, ids, model)


def _of_topic(bag: BagReader, topic: str) -> dict[int, bytes]:
    """By stamp, packed: label maps are a few kB each."""
    found = {}
    for message in bag.messages([topic]):
        try:
            image = bag.decode(message)
            found[stamp_ns(image, message.received_ns)] = zlib.compress(to_mono(image).tobytes(), 1)
        except BAD_MESSAGE:
            continue
    return found


def _seen(frame: Frame, engine: Engine, scene: Scene) -> dict[str, Perception]:
    """What the parser says of the frame as the camera saw it, and what the pipeline says."""
    output = scene.perception or empty_perception(*frame.image.shape[:2])
    dry = scene.mode is Mode.DRY and scene.perception is not None
    return dict(
        zip(
            WAYS,
            (output if dry else engine.interpreter.interpret(frame.image).perception, output),
            strict=True,
        )
    )
