"""True boxes, where a bag or a folder has them: how right the detections are before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ros2_derain.bags.messages import BAD_MESSAGE, detections, stamp_ns
from ros2_derain.bags.reader import BagReader
from ros2_derain.engine import Detection, Frame, LoadedModel, Perception
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate.labelled_clip import boxes_by_name
from ros2_derain.evaluate.scores import BoxScore, to_boxes
from ros2_derain.metrics import Boxes
from ros2_derain.replay.matching import by_stamp_or_order, of_frame

BOXES = "vision_msgs/msg/Detection2DArray"


class BoxTruth:
    """The true boxes of one camera, and the figures against them.

    Args:
        boxes: of each frame, by stamp in ns or by the frame's number.
        objects: of the model, by id.
        ways: names of what is held against them.
    """

    def __init__(self, boxes: Mapping[int, Boxes], objects: Sequence[str], ways: Sequence[str]) -> None:
        self._boxes = boxes
        self._scores = {way: BoxScore(objects) for way in ways}

    def of(self, frame: Frame, index: int) -> Boxes | None:
        """The true boxes of a frame; None where they are not known.

        Raises:
            EvaluationError: they reach beyond the frame.
        """
        boxes = of_frame(self._boxes, frame, index)
        height, width = frame.image.shape[:2]
        if boxes is not None and len(boxes) and (boxes.corners[:, 2:] > (width + 1, height + 1)).any():
            raise EvaluationError(
                f"a true box reaches beyond the image, {width}x{height}: is it of this size?"
            )
        return boxes

    def add(self, way: str, seen: Perception, boxes: Boxes) -> dict:
        """Count a frame: how many boxes were right, wrong and missed."""
        found = self._scores[way].add(seen.detections, boxes)
        return {"hits": found.hits, "false_alarms": found.false_alarms, "misses": found.misses}

    def figures(self) -> dict:
        """Over all frames: AP50, AP50:95, precision, recall, AP50 per class."""
        found: dict = {"frames": max(map(len, self._scores.values()))}
        for way, score in self._scores.items():
            counted = score.figures()
            per_class = {name: values["ap50"] for name, values in counted.pop("boxes").items()}
            found[way] = {**counted, "ap50_per_class": per_class}
        return found


def find(bag: BagReader, source: str, frames: int, model: LoadedModel, ways: Sequence[str]) -> BoxTruth:
    """The true boxes that a topic of the bag or a folder holds.

    Args:
        bag: open.
        source: a ``vision_msgs/Detection2DArray`` topic, whose stamps are the images' and whose class ids
            are names, or a folder with ``boxes.csv`` and ``images.csv`` as for ``evaluate perception``,
            whose images are named by their stamps in ns, or stand in their order.
        frames: of the camera.
        model: its objects.
        ways: names of what is held against them.

    Raises:
        EvaluationError: there is no such topic or folder, it names a class that the model does not
            detect, or holds nothing.
    """
    objects = model.identity.object_names
    if source in {topic.name for topic in bag.topics if topic.type == BOXES}:
        boxes = _of_topic(bag, source, objects)
    elif Path(source).is_dir():
        listed = boxes_by_name(Path(source), objects)
        named = {Path(name).stem: found for name, found in sorted(listed.items())}
        boxes = by_stamp_or_order(named, frames, source)
    else:
        raise EvaluationError(f"--truth-boxes {source} is neither a {BOXES} topic of {bag.path} nor a folder")
    if not boxes:
        raise EvaluationError(f"--truth-boxes {source} holds no boxes that can be read")
    return BoxTruth(boxes, objects, ways)


def _of_topic(bag: BagReader, topic: str, objects: Sequence[str]) -> dict[int, Boxes]:
    """By stamp. A damaged message is as none."""
    found = {}
    for message in bag.messages([topic]):
        try:
            decoded = bag.decode(message)
            found[stamp_ns(decoded, message.received_ns)] = _boxes(detections(decoded), objects, topic)
        except BAD_MESSAGE:
            continue
    return found


def _boxes(found: Sequence[Detection], objects: Sequence[str], topic: str) -> Boxes:
    known = {name.casefold(): name for name in objects}
    unknown = [box.class_name for box in found if box.class_name.casefold() not in known]
    if unknown:
        raise EvaluationError(
            f"{topic}: the model does not detect class {unknown[0]!r}; it detects {', '.join(objects)}"
        )
    named = [replace(box, class_name=known[box.class_name.casefold()]) for box in found]
    return to_boxes(named, objects, scored=False)
