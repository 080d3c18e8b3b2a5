"""planner_node: labels and boxes in; points and boxes in metres out.

The inputs of one image are matched by its exact stamp. In the composed pipeline derain_node hands the scenes
over; otherwise they arrive by topic, and waiting for those that belong together is bounded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from ros2_derain import messages
from ros2_derain.engine import Scene
from ros2_derain.messages import images
from ros2_derain.messages.topics import CAMERA_INFO, CAMERA_INFO_LATCHED, POINTS_IN, Topic
from ros2_derain.nodes import outputs, runtime
from ros2_derain.nodes.diagnostics import Condition
from ros2_derain.nodes.frames import TF, TF_STATIC, Frames
from ros2_derain.nodes.managed_node import Handler, ManagedNode
from ros2_derain.nodes.outputs import (
    CLEAN_IMAGE,
    CONFIDENCE,
    DETECTIONS,
    LABEL_INFO,
    LABEL_MAP,
    OBSTRUCTION,
    TRUST,
)
from ros2_derain.nodes.parameters import PlannerParameters
from ros2_derain.nodes.planning import Planner, PlannerFrame, Seen, less_hidden
from ros2_derain.nodes.prior_exchange import StampedStore
from ros2_derain.planner import CalibrationError, PlannerError, TransformError, View

MATCHED = (CLEAN_IMAGE, TRUST, LABEL_MAP, CONFIDENCE, DETECTIONS)
"""Inputs of an image, by its stamp; what has no publisher is not waited for."""

CLOUDS_KEPT = 8

CAUSES = {CalibrationError: "calibration", TransformError: "transform"}
"""Why a frame is dropped, by the error; others are ``frames``."""


class PlannerNode(ManagedNode[PlannerParameters]):
    """Says in metres what segmentation_node says in pixels.

    Args:
        options: further arguments of the base class.
    """

    events = ("clouds_missed",)

    def __init__(self, **options: Any) -> None:
        super().__init__("planner_node", PlannerParameters, **options)
        self._is_fed = False
        self._frames = Frames()
        self._reset_inputs()

    def _reset_inputs(self) -> None:
        """Drop what came in: at construction and at every activation. Transforms stay: they are static."""
        self._planner = Planner()
        self._calibrations = messages.Calibrations()
        self._class_names: tuple[str, ...] = ()
        self._stores: dict[Topic, StampedStore[Any]] = {
            topic: StampedStore() for topic in (*MATCHED, OBSTRUCTION)
        }
        self._clouds: deque[PointCloud2] = deque(maxlen=CLOUDS_KEPT)
        self._offered: int | None = None
        self._problems: dict[str, str] = {}
        self._facts: dict[str, str] = {}
        self._lock = threading.Lock()

    # Lifecycle

    def load(self) -> str:
        return "nothing to load: positions are computed on the CPU"

    def unload(self) -> None:
        """Nothing was loaded."""

    def handlers(self) -> Mapping[str, Handler]:
        return {"frame": self._process}

    def start(self) -> None:
        self._reset_inputs()
        self.subscribe(CAMERA_INFO, self._calibrations.add)
        self.subscribe(CAMERA_INFO_LATCHED, self._calibrations.add, report_incompatible=False)
        self.subscribe(LABEL_INFO, self._on_label_info)
        self.subscribe(POINTS_IN, self._on_cloud)
        if TF is not None and TF_STATIC is not None:
            self.subscribe(TF, partial(self._on_transforms, False))
            self.subscribe(TF_STATIC, partial(self._on_transforms, True))
        self._subscribe_inputs()

    def interrupt(self) -> None:
        for store in self._stores.values():
            store.close()

    def reset(self) -> None:
        """Nothing is kept from one image to the next."""

    def feed(self, is_fed: bool) -> None:
        """Whether derain_node of the same process hands scenes over; otherwise they arrive by topic."""
        self._is_fed = is_fed
        for topic in (*MATCHED, OBSTRUCTION):
            self.unsubscribe(topic)
        if self.active:
            self._subscribe_inputs()

    def _subscribe_inputs(self) -> None:
        if not self._is_fed:
            for topic in (*MATCHED, OBSTRUCTION):
                self.subscribe(topic, partial(self._on_input, topic))

    # Inputs

    def take(self, scene: Scene) -> None:
        """Take a scene of this process."""
        if self.active and self._is_needed():
            self.statistics.received()
            self.offer("frame", (scene, time.perf_counter()))

    def _is_needed(self) -> bool:
        """Whether anybody listens: otherwise nothing is computed."""
        return any(self.has_subscriber(topic) for topic in self.outputs)

    def _on_input(self, topic: Topic, message: Any) -> None:
        """Keep a message by its stamp; the first label map or detections of a stamp begin its frame."""
        if not self._is_needed():
            return
        stamp = messages.stamp_ns(message.header)
        self._stores[topic].put(stamp, message)
        if topic in (LABEL_MAP, DETECTIONS) and stamp != self._offered:
            self._offered = stamp
            self.statistics.received()
            self.offer("frame", (message.header, time.perf_counter()))

    def _on_label_info(self, info: LabelInfo) -> None:
        self._class_names = messages.to_class_names(info)

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self._clouds.append(cloud)

    def _on_transforms(self, static: bool, message: Any) -> None:
        with self._lock:
            refused = self._frames.add(message, static)
        if refused:
            self.warn("transforms", f"a transform is ignored: {refused}")

    # The way of a frame

    def _process(self, item: tuple[Scene | Header, float]) -> None:
        """Called by the worker: everything that is done with a frame."""
        source, arrived = item
        began = time.perf_counter()
        by_topic = isinstance(source, Header)
        seen = self._of_topics(source) if by_topic else Seen.of_scene(source, self._class_names)
        if seen is None:
            self.dropped("frame", "not_parsed")
            return
        matched = time.perf_counter()
        try:
            frame = self._in_metres(seen)
        except PlannerError as error:
            self._refuse(CAUSES.get(type(error), "frames"), str(error))
            return
        for output in outputs.IN_METRES:
            if self.has_subscriber(output):
                message = output.make(frame)
                if message is not None:
                    self.publish(output, message)
        now = time.perf_counter()
        stages = {"match": matched - began, "compute": now - matched, "total": now - arrived}
        age = self.age_ms(messages.stamp_ns(seen.header))
        self.statistics.published({name: 1e3 * spent for name, spent in stages.items()}, age)
        self._note(frame)

    def _of_topics(self, header: Header) -> Seen:
        """Everything that arrives in time with the stamp of a header."""
        self.suspend_throttle()
        stamp = messages.stamp_ns(header)
        deadline = time.monotonic() + self.parameters.match_timeout_ms / 1e3
        found = {topic: self._take(topic, stamp, deadline) for topic in MATCHED}
        detections: Detection2DArray | None = found[DETECTIONS]
        labels = self._mono(found[LABEL_MAP])
        boxes = None if detections is None else messages.from_detections(detections)
        if labels is None:
            return Seen(header, None, boxes, self._class_names, None)
        trust = self._plane(found[TRUST], TRUST, labels.shape)
        image: Image | None = found[CLEAN_IMAGE]
        colours = np.zeros((*labels.shape, 3), np.uint8)
        if image is not None and (image.height, image.width) == labels.shape:
            colours = images.to_rgb(image, max_pixels=self.parameters.max_pixels)
        confidence = self._plane(found[CONFIDENCE], CONFIDENCE, labels.shape)
        view = View(labels, confidence, less_hidden(trust, self._obstruction(stamp)), colours)
        return Seen(header, view, boxes, self._class_names, labels.shape)

    def _obstruction(self, stamp_ns: int) -> np.ndarray | None:
        """What water hides in the image with this stamp; it is published before the labels, or never."""
        return self._mono(self._stores[OBSTRUCTION].take(stamp_ns, 0.0))

    def _take(self, topic: Topic, stamp_ns: int, deadline: float) -> Any:
        """The input with this stamp; None where nobody publishes it, or it is not there in time."""
        if topic not in self._subscriptions_by_topic or self.count_senders(topic) == 0:
            return None
        message = self._stores[topic].take(stamp_ns, max(0.0, deadline - time.monotonic()))
        if message is None:
            self.statistics.count(f"missing.{topic.name}")
        return message

    def _mono(self, message: Image | None) -> np.ndarray | None:
        if message is None:
            return None
        return images.to_mono(message, max_pixels=self.parameters.max_pixels)

    def _plane(self, message: Image | None, topic: Topic, shape: tuple[int, ...]) -> np.ndarray:
        """A map of the labels' size: what was lost is 0, and what nobody publishes is full."""
        found = self._mono(message)
        if found is not None and found.shape == shape:
            return found
        lost = found is not None or self.count_senders(topic) > 0
        return np.full(shape, 0 if lost else 255, np.uint8)

    def _in_metres(self, seen: Seen) -> PlannerFrame:
        """The frame with calibration, transforms and cloud of the moment; raises PlannerError."""
        p, info = self.parameters, self._calibrations.of(seen.header)
        expects = p.points_source == "lidar" or (p.points_source == "auto" and len(self._clouds) > 0)
        cloud = self._nearest_cloud(messages.stamp_ns(seen.header))
        if expects and cloud is None:
            self.statistics.count("clouds_missed")
        with self._lock:
            try:
                return self._planner.frame(seen, info, self._frames, p, cloud, expects)
            except (CalibrationError, TransformError):
                raise
            except PlannerError as error:
                if cloud is None:
                    raise
                self._problems["cloud"] = str(error)
                self.warn("cloud", str(error))
                return self._planner.frame(seen, info, self._frames, p, None, expects)

    def _nearest_cloud(self, stamp_ns: int) -> PointCloud2 | None:
        """The cloud whose stamp is nearest; None where none is near enough."""
        offset_ns = lambda cloud: abs(messages.stamp_ns(cloud.header) - stamp_ns)  # noqa: E731
        nearest = min(list(self._clouds), key=offset_ns, default=None)
        if nearest is None or offset_ns(nearest) > 1e6 * self.parameters.cloud_max_offset_ms:
            return None
        return nearest

    # Diagnostics

    def _refuse(self, cause: str, text: str) -> None:
        """A frame of which nothing true can be said."""
        self.dropped("frame", cause)
        self._problems = {cause: text}
        self.warn(cause, f"nothing is published: {text}")

    def _note(self, frame: PlannerFrame) -> None:
        """Say in the log what has changed about calibration and frames, and keep it for the diagnostics."""
        for cause in frame.dropped:
            self.statistics.count(f"detections_dropped.{cause}")
        width, height = frame.camera.width, frame.camera.height
        facts = {
            "camera_frame": frame.placed.source,
            "calibration": f"{width}x{height}"
            + (f", scaled by {frame.scale:.4g}" if frame.scale != 1 else ""),
            "points": "lidar" if frame.expects_cloud else "ground",
        }
        if frame.lidar is not None:
            facts["lidar_frame"] = frame.lidar[1]
        for name, text in facts.items():
            if self._facts.get(name) != text:
                self.get_logger().info(f"{name}: {text}")
        self._facts = facts
        problems = {}
        if frame.placed.assumed:
            problems["pose"] = (
                f"the camera's pose is assumed, by {frame.placed.source}: publish a transform from "
                f"{self.parameters.base_frame or 'the vehicle'} to {frame.seen.header.frame_id}, or set "
                "camera_height"
            )
        if not frame.seen.class_names:
            problems["classes"] = f"nothing on {LABEL_INFO.name}: no label is known to be ground"
        if frame.lidar is not None and not len(frame.lidar[0]):
            problems["cloud"] = "the lidar's cloud is empty"
        elif frame.expects_cloud and frame.lidar is None:
            problems["cloud"] = self._problems.get("cloud", "no cloud of the lidar near the image's stamp")
        for cause in problems.keys() - self._problems.keys():
            self.warn(cause, problems[cause])
        self._problems = problems

    def facts(self) -> dict[str, str]:
        return {"device": "cpu", **self._facts}

    def condition(self) -> Condition:
        """As of any node; and what keeps it from speaking in metres."""
        problems = dict(self._problems)
        if self.active and not len(self._calibrations):
            problems["calibration"] = "no camera_info: nothing is published"
        return replace(
            super().condition(),
            camera_info=self._calibrations.size() or "missing",
            problems=tuple(problems.values()),
        )


def main(argv: list[str] | None = None) -> int:
    """Run planner_node until SIGINT or SIGTERM; a lifecycle manager configures it."""
    return runtime.run(lambda: [PlannerNode()], argv)


if __name__ == "__main__":
    raise SystemExit(main())
