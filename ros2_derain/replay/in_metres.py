"""The planner's part of a replay: frames in metres, their distance errors, and an image from above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ros2_derain import overlay
from ros2_derain.bags.planner_inputs import (
    CLOUD,
    OUR_ENDINGS,
    STATIC,
    TRANSFORMS,
    TRUTH,
    PlannerInputs,
    add_transforms,
)
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.class_colours import lookup
from ros2_derain.engine import Detection, ModelIdentity, Scene
from ros2_derain.nodes.frames import Frames
from ros2_derain.nodes.planning import PlannerFrame
from ros2_derain.planner import Lifted, PlannerError
from ros2_derain.planner.top_view import Area, Labelled, draw_top_view
from ros2_derain.replay.cameras import CameraTopic
from ros2_derain.replay.worst_frames import scaled_down

FAR_OFF = 0.3
"""A true object that is further from every detection than this share of its distance was not found."""
OPACITY = 0.45
SURE = 0.5
"""Boxes of this score and above decide which frame is shown."""


class InMetres:
    """What the planner says of the cameras of a bag.

    Args:
        bag: open.
        cameras: of the bag.
        values: parameters of planner_node that differ from the defaults.
        identity: of the model, with its classes and their colours.
    """

    def __init__(
        self,
        bag: BagReader,
        cameras: Sequence[CameraTopic],
        values: Mapping[str, Any],
        identity: ModelIdentity,
    ) -> None:
        self._frames, self._identity = Frames(), identity
        self._inputs = {
            camera.topic: PlannerInputs(self._frames, values) for camera in cameras if camera.camera_info
        }
        self._kinds = {
            topic.name: topic.type
            for topic in bag.topics
            if topic.type in (CLOUD, TRUTH, TRANSFORMS) and not topic.name.endswith(OUR_ENDINGS)
        }
        if self._inputs:
            for message in bag.messages({STATIC} & self._kinds.keys()):
                add_transforms(self._frames, message.raw, static=True)
        self._count: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._problems: dict[str, None] = {}
        self._errors: dict[str, list[float]] = {"lidar": [], "truth": []}
        self._place, self._assumed = "", False
        self._best: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None

    @property
    def topics(self) -> set[str]:
        """What must be read besides images and calibrations."""
        return set(self._kinds) - {STATIC} if self._inputs else set()

    def has(self, camera: CameraTopic) -> bool:
        """Whether a camera has a calibration topic."""
        return camera.topic in self._inputs

    def calibrate(self, camera: CameraTopic, info: bytes) -> None:
        """Take a serialized calibration."""
        if camera.topic in self._inputs:
            self._inputs[camera.topic].calibrate(info)

    def take(self, message: Message) -> None:
        """Take a message of :attr:`topics`."""
        kind = self._kinds[message.topic]
        if kind == TRANSFORMS:
            add_transforms(self._frames, message.raw, static=False)
        else:
            for inputs in self._inputs.values():
                inputs.take(message.raw, kind)

    def frame(self, camera: CameraTopic, scene: Scene | None) -> PlannerFrame | None:
        """A scene in metres; None where nothing true can be said, which is counted."""
        inputs = self._inputs.get(camera.topic)
        if inputs is None or scene is None or scene.perception is None:
            return None
        try:
            frame = inputs.frame(scene, self._identity.class_names)
        except PlannerError as error:
            self._problems[str(error)] = None
            return None
        if frame is not None:
            self._add(frame, inputs.true_places(frame), scene)
        return frame

    def _add(self, frame: PlannerFrame, truth: np.ndarray, scene: Scene) -> None:
        lifted, dropped = frame.lifted
        self._count.update(frames=1, detections=len(lifted))
        self._dropped.update(dropped.values())
        self._place, self._assumed = frame.placed.source, frame.placed.assumed
        by_lidar = {item.index: item.distance for item in lifted if item.by_lidar}
        if by_lidar:
            for item in frame.lift(None)[0]:
                if item.index in by_lidar:
                    known = by_lidar[item.index]
                    self._errors["lidar"].append(abs(item.distance - known) / known)
        origin = frame.placed.to_base.translation[:2]
        for place in truth:
            distance = float(np.hypot(*(place[:2] - origin)))
            off = min((float(np.hypot(*(item.middle - place)[:2])) for item in lifted), default=np.inf)
            if 0 < off / distance <= FAR_OFF:
                self._errors["truth"].append(off / distance)
        found = frame.seen.detections or ()
        sure = sum(found[item.index].score >= SURE for item in lifted)
        rank = sure, sure - len(lifted)
        if lifted and (self._best is None or rank > self._best[0]):
            self._best = rank, *self._draw(frame, scene)

    def _draw(self, frame: PlannerFrame, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Labels and boxes over the image, and the same from above."""
        assert scene.perception is not None
        names, colours = self._identity.class_names, self._identity.colours
        drawn = overlay.draw(scene.image, scene.perception, colours, OPACITY)
        area = Area()
        labels = frame.labels_of_places(area.places())
        shown = {name: colours[i] for i, name in enumerate(names) if (labels == i).any()}
        found = frame.seen.detections or ()
        boxes = [Labelled(item, _caption(found[item.index], item)) for item in frame.lifted[0]]
        x, y, _ = frame.placed.to_base.translation
        ground = lookup(colours)[labels]
        return scaled_down(drawn), draw_top_view(area, ground, boxes, (float(x), float(y)), shown)

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Labels and boxes over the image, and from above; None where no frame has boxes.

        Of the frame with most sure boxes, and fewest others.
        """
        return None if self._best is None else self._best[1:]

    def figures(self) -> dict | None:
        """JSON-ready; None where no camera has a calibration."""
        if not self._inputs:
            return None
        return {
            "frames": self._count["frames"],
            "detections": self._count["detections"],
            "detections_dropped": dict(self._dropped),
            "camera_frame": self._place,
            "pose_assumed": self._assumed,
            "problems": list(self._problems)[:5],
            "distance_error": {name: _spread(values) for name, values in self._errors.items() if values},
        }

    def notes(self) -> list[str]:
        """Sentences for the report."""
        notes = [f"nothing in metres: {problem}" for problem in list(self._problems)[:3]]
        if self._assumed:
            notes.append(
                f"distances are by an assumed pose, {self._place}: give camera_height with --params-file, or "
                "record /tf_static"
            )
        return notes


def _caption(found: Detection, lifted: Lifted) -> str:
    return f"{found.class_name} #{found.id} {lifted.distance:.0f} m"


def _spread(errors: Sequence[float]) -> dict:
    median, p90 = np.percentile(errors, (50, 90))
    return {"boxes": len(errors), "median": round(float(median), 4), "p90": round(float(p90), 4)}
