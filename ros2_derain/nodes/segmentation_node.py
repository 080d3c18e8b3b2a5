"""segmentation_node: clean images in; label maps, detections and semantic priors out.

Any publisher of clean images serves. Where derain_node publishes them, its ``derain/status``
names the frames that must not be parsed, and its ``derain/obstruction`` the pixels that water or dirt
hides, as in the composed pipeline: both are published just before the image, and awaited for a short time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros2_derain import messages
from ros2_derain.engine import (
    NOT_PARSED,
    REGIONS,
    Engine,
    EngineError,
    Frame,
    Interpreter,
    LoadedModel,
    Mode,
    RainEstimate,
    Restored,
    Scene,
    SharedModel,
    interpreted,
    scene_of,
)
from ros2_derain.image_decoding import ImageError
from ros2_derain.messages import images
from ros2_derain.messages.topics import PROPOSAL
from ros2_derain.nodes import outputs, runtime
from ros2_derain.nodes.diagnostics import Condition
from ros2_derain.nodes.managed_node import Handler
from ros2_derain.nodes.model_node import ModelNode
from ros2_derain.nodes.outputs import (
    CLEAN_IMAGE,
    DERAIN_STATUS,
    OBSTRUCTION,
    OVERLAY,
    SEGMENTATION_STATUS,
    SEMANTIC_PRIOR,
)
from ros2_derain.nodes.parameters import SegmentationParameters
from ros2_derain.nodes.prior_exchange import StampedStore

STATUS_TIMEOUT_S = 0.05
"""Longest wait for the status of an image, and for its obstruction; without, the frame goes on."""

NO_PROCESSING = RainEstimate(float("nan"), float("nan"))

FOR_PEOPLE = (OVERLAY, *outputs.ANNOTATED)
FOR_PROGRAMS = tuple(
    output for output in outputs.PER_FRAME if output.node == outputs.SEGMENTATION and output not in FOR_PEOPLE
)
"""What is published first."""


class SegmentationNode(ModelNode[SegmentationParameters]):
    """Parses every image that it gets, from ``derain/image`` or from the same process.

    Args:
        models: the model; by default one of its own.
        options: further arguments of the base class.
    """

    def __init__(self, models: SharedModel | None = None, **options: Any) -> None:
        own = models or SharedModel(("parser",))
        super().__init__("segmentation_node", SegmentationParameters, own, **options)
        self._interpreter: Interpreter | None = None
        self._is_fed = False
        self._forget_frames()
        self._processing = threading.Lock()

    # Lifecycle

    @property
    def interpreter(self) -> Interpreter:
        """The second half of the loop; only while configured."""
        if self._interpreter is None:
            raise EngineError("segmentation_node has no model: configure it first")
        return self._interpreter

    def use(self, model: LoadedModel) -> None:
        self._interpreter = Interpreter(model, self.settings)
        self.interpreter.warm_up(self.parameters.warmup_height, self.parameters.warmup_width)

    @property
    def active_interpreter(self) -> Interpreter | None:
        """The interpreter, while the node is active."""
        return self._interpreter if self.active else None

    def unload(self) -> None:
        self._interpreter = None
        super().unload()

    def handlers(self) -> Mapping[str, Handler]:
        return {"proposal": self._on_proposal, "image": self._process}

    def start(self) -> None:
        self._forget_frames()
        self._subscribe_inputs()

    def _forget_frames(self) -> None:
        """At construction and at every activation."""
        self._statuses: StampedStore[dict[str, str]] = StampedStore()
        self._obstructions: StampedStore[Image] = StampedStore()
        self._hidden: dict[str, float] = {}

    def interrupt(self) -> None:
        self._statuses.close()
        self._obstructions.close()

    def stop(self) -> None:
        """Wait for a frame that another thread has handed over."""
        with self._processing:
            pass

    def reset(self) -> None:
        self.interpreter.tracks.reset()

    def feed(self, is_fed: bool) -> None:
        """Whether derain_node of the same process hands frames over; otherwise they arrive by topic."""
        self._is_fed = is_fed
        for topic in (CLEAN_IMAGE, DERAIN_STATUS, OBSTRUCTION, PROPOSAL):
            self.unsubscribe(topic)
        if self.active:
            self._subscribe_inputs()

    def _subscribe_inputs(self) -> None:
        """Take images, their status, and the proposals of a derain_node in another process."""
        if not self._is_fed:
            self.subscribe(DERAIN_STATUS, self._on_derain_status)
            self.subscribe(OBSTRUCTION, self._on_obstruction)
            self.subscribe(CLEAN_IMAGE, self._on_image)
            self.subscribe(PROPOSAL, lambda message: self.offer("proposal", message))

    def dropped(self, queue: str, cause: str) -> None:
        if queue == "image":
            super().dropped(queue, cause)
        else:
            self.statistics.count(f"proposals_lost.{cause}")

    # Frames of the same process

    def interpret(self, engine: Engine, restored: Restored) -> Scene:
        """Interpret and publish a frame that was restored in this process.

        For the thread that restored it. Frames that arrive while the node is not active are
        not interpreted.
        """
        with self._processing:
            if not self.active:
                return scene_of(restored)
            arrived = time.perf_counter()
            self.statistics.received()
            self.interpreter.settings = self.settings
            scene = engine.interpret(restored)
            header = messages.to_header(restored.frame.stamp_ns, restored.frame.frame_id)
            self._publish(header, scene, restored.mode, arrived)
            return scene

    # Frames by topic

    def _on_derain_status(self, message: DiagnosticArray) -> None:
        self._statuses.put(messages.stamp_ns(message.header), messages.frame_values(message))

    def _on_obstruction(self, message: Image) -> None:
        self._obstructions.put(messages.stamp_ns(message.header), message)

    def _on_image(self, message: Image) -> None:
        self.statistics.received()
        self.offer("image", (message, time.perf_counter()))

    def _process(self, item: tuple[Image, float]) -> None:
        message, arrived = item
        image = images.to_rgb(message, max_pixels=self.parameters.max_pixels)
        frame = Frame(messages.stamp_ns(message.header), message.header.frame_id, image)
        mode, obstruction = self._told_of(frame)
        with self._processing:
            self.interpreter.settings = self.settings
            restored = self._received(frame, mode, obstruction)
            scene, _ = interpreted(self.interpreter, restored)
            self._publish(message.header, scene, mode, arrived)

    def _told_of(self, frame: Frame) -> tuple[Mode, np.ndarray | None]:
        """How derain_node processed the frame, ``loop`` where unknown; and its obstruction, if any."""
        if self.count_publishers(self.resolve_topic_name(DERAIN_STATUS.name)) == 0:
            return Mode.LOOP, None
        self.suspend_throttle()
        values = self._statuses.take(frame.stamp_ns, STATUS_TIMEOUT_S) or {}
        mode = Mode(values["mode"]) if values.get("mode") in set(Mode) else Mode.LOOP
        if f"hidden.{REGIONS[0]}" not in values:
            return mode, None
        message = self._obstructions.take(frame.stamp_ns, STATUS_TIMEOUT_S)
        return mode, None if message is None else self._obstruction(message, frame)

    def _obstruction(self, message: Image, frame: Frame) -> np.ndarray | None:
        """The obstruction of a message; None where it is not the frame's."""
        try:
            obstruction = images.to_mono(message, max_pixels=self.parameters.max_pixels)
        except ImageError as error:
            self.warn("obstruction", f"{OBSTRUCTION.name}: {error}")
            return None
        return obstruction if obstruction.shape == frame.image.shape[:2] else None

    def _received(self, frame: Frame, mode: Mode, obstruction: np.ndarray | None) -> Restored:
        """An image that another process restored, as the engine's second step takes it."""
        image = frame.image
        tensor = None if mode in NOT_PARSED else self.interpreter.placement.tensor(image)
        trust = np.empty((0, 0), np.uint8)
        return Restored(frame, image, tensor, trust, NO_PROCESSING, mode, obstruction=obstruction)

    def _on_proposal(self, message: Image) -> None:
        """Publish the prior of an intermediate image, and nothing else."""
        image = images.to_rgb(message, max_pixels=self.parameters.max_pixels)
        with self._processing:
            prior = self.interpreter.prior(self.interpreter.placement.tensor(image))
        if self.has_subscriber(SEMANTIC_PRIOR):
            self.publish(SEMANTIC_PRIOR, images.from_channels(prior.cpu().numpy(), message.header))
        self.statistics.count("proposals_answered")

    # Publication

    def _publish(self, header: Header, scene: Scene, mode: Mode, arrived: float) -> None:
        """Publish a scene and count the frame.

        Args:
            header: of the image.
            scene: interpreted.
            mode: how the image was restored.
            arrived: when it arrived, by ``time.perf_counter``.
        """
        context = self.message_context(header)
        self._hidden = outputs.hidden_classes(scene)
        if scene.perception is None:
            self.publish_scene((SEGMENTATION_STATUS, *outputs.ANNOTATED), scene, context)
            self.dropped("image", f"mode.{mode.value}" if mode in NOT_PARSED else "error")
            if scene.fault and mode not in NOT_PARSED:
                self.warn("parser", f"segmentation_node failed: {scene.fault}")
            return
        self.publish_scene(FOR_PROGRAMS, scene, context)
        total = 1e3 * (time.perf_counter() - arrived)
        age = self.age_ms(messages.stamp_ns(header))
        self.publish_scene(FOR_PEOPLE, scene, context)
        parse_ms = scene.milliseconds.get("parse", total)
        self.statistics.published({"parse": parse_ms, "total": total}, age)

    def condition(self) -> Condition:
        """As of any node; and where the camera is blind."""
        return replace(super().condition(), hidden=self._hidden)


def main(argv: list[str] | None = None) -> int:
    """Run segmentation_node until SIGINT or SIGTERM; a lifecycle manager configures it."""
    return runtime.run(lambda: [SegmentationNode()], argv)


if __name__ == "__main__":
    raise SystemExit(main())
