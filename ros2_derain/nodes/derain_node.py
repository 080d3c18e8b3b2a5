"""derain_node: camera images in, clean images out.

The way of a frame reads from :meth:`DerainNode._on_image` down to :meth:`DerainNode._process`:
the worker decodes it, the engine restores it, its outputs are published; in the composed
pipeline segmentation_node then interprets it with the same engine.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ros2_derain import messages
from ros2_derain.engine import (
    Engine,
    EngineError,
    Frame,
    LoadedModel,
    Mode,
    PriorSource,
    Restored,
    Restorer,
    Scene,
    SharedModel,
    View,
    passed_through,
    scene_of,
)
from ros2_derain.engine.control import STEPS
from ros2_derain.messages import images
from ros2_derain.messages.topics import CAMERA_INFO, CAMERA_INFO_LATCHED, IMAGE, IMAGE_COMPRESSED, Topic
from ros2_derain.nodes import outputs, runtime
from ros2_derain.nodes.diagnostics import Condition
from ros2_derain.nodes.managed_node import Handler
from ros2_derain.nodes.model_node import ModelNode
from ros2_derain.nodes.outputs import CLEAN_IMAGE, DERAIN_STATUS, MODE, OBSTRUCTION
from ros2_derain.nodes.parameters import DerainParameters
from ros2_derain.nodes.prior_exchange import TopicPriors

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

    from ros2_derain.nodes.planner_node import PlannerNode
    from ros2_derain.nodes.segmentation_node import SegmentationNode

WITH_IMAGE = (DERAIN_STATUS, OBSTRUCTION, CLEAN_IMAGE)
"""What is published first, and in this order: who has the image can have what is said of it."""
BESIDE_IMAGE = tuple(
    output for output in outputs.PER_FRAME if output.node == outputs.DERAIN and output not in WITH_IMAGE
)
"""What is published after the clean image."""


class DerainNode(ModelNode[DerainParameters]):
    """Restores every frame of one camera.

    Args:
        models: the model; by default one of its own.
        segmentation: the node of the same process that interprets every restored frame; None: it
            runs in another process, and semantic priors come over topics.
        planner: the node of the same process that takes every interpreted scene; None: there is none.
        options: further arguments of the base class.
    """

    events = ("passed_by", "priors_missed", "identical_images", "stamp_jumps")

    def __init__(
        self,
        models: SharedModel | None = None,
        segmentation: SegmentationNode | None = None,
        planner: PlannerNode | None = None,
        **options: Any,
    ) -> None:
        own = models or SharedModel(("derainer", "gauge"))
        super().__init__("derain_node", DerainParameters, own, **options)
        self._segmentation, self._planner = segmentation, planner
        self._engine: Engine | None = None
        self._priors: TopicPriors | None = None
        self._publication = threading.Lock()
        """Held while an image is published, so that none follows a later one."""
        self._reset_frames()

    def _reset_frames(self) -> None:
        """Drop what earlier frames left: at construction and at every activation."""
        self._calibrations = messages.Calibrations()
        self._last_frame: Frame | None = None
        self._last_number: int | None = None
        self._senders, self._senders_counted = 0, -math.inf
        self._identical_images = self._unusable_stamps = 0
        self._was_passed_by = False
        self._rain_mm_h: float | None = None
        self._view: View | None = None
        self._mode = Mode.LOOP
        self._fault = ""

    # Lifecycle

    @property
    def engine(self) -> Engine:
        """The loop; only while configured."""
        if self._engine is None:
            raise EngineError("derain_node has no model: configure it first")
        return self._engine

    def use(self, model: LoadedModel) -> None:
        self._engine = Engine(Restorer(model, self.settings))
        self.engine.warm_up(self.parameters.warmup_height, self.parameters.warmup_width)

    def unload(self) -> None:
        self._engine = None
        super().unload()

    def handlers(self) -> Mapping[str, Handler]:
        return {"parse_failed": self._on_parse_failed, "image": self._process}

    def start(self) -> None:
        self._reset_frames()
        self.publish(MODE, MODE.type(data=self._mode.value))
        if self._planner is not None:
            self._planner.feed(True)
        if self._segmentation is not None:
            self._segmentation.feed(True)
        else:
            self._priors = TopicPriors(self, self._report_parse_failure)
        self.subscribe(CAMERA_INFO, self._on_camera_info)
        self.subscribe(CAMERA_INFO_LATCHED, self._on_camera_info, report_incompatible=False)
        self._input = self._choose_input()
        self.subscribe(self._input, runtime.with_info(self._on_image))

    def _choose_input(self) -> Topic:
        """The topic of the camera's images, raw or compressed."""
        if self.parameters.input_transport == "compressed":
            return IMAGE_COMPRESSED
        if not self.resolve_topic_name(IMAGE.name).endswith("/compressed"):
            return IMAGE
        self.get_logger().info(f"{self.resolve_topic_name(IMAGE.name)} is taken as compressed images")
        return replace(IMAGE, type=CompressedImage)

    def interrupt(self) -> None:
        if self._priors is not None:
            self._priors.interrupt()

    def stop(self) -> None:
        if self._planner is not None:
            self._planner.feed(False)
        if self._segmentation is not None:
            self._segmentation.feed(False)
        elif self._priors is not None:
            self._priors.close()
        self._priors = None

    def reset(self) -> None:
        self.engine.reset()

    # The way of a frame

    def _on_image(self, message: Image | CompressedImage, info: MessageInfo) -> None:
        """Called by the executor."""
        self._count_overwritten(info.get("publication_sequence_number"))
        self.statistics.received()
        if 0 < self.parameters.stall_ms < 1e3 * self.busy_s:
            self._guarded("image", self._pass_by)(message)
        else:
            self.offer("image", (message, time.perf_counter()))

    def _process(self, item: tuple[Image | CompressedImage, float]) -> None:
        """Called by the worker: everything that is done with a frame."""
        message, arrived = item
        self._was_passed_by = False
        began = time.perf_counter()
        header, frame = self._frame(message, arrived)
        decoded = time.perf_counter()
        restored = self._restore(frame)
        if not self._publish_image(header, restored):
            return
        stages = {
            **restored.milliseconds,
            "wait": 1e3 * (began - arrived),
            "decode": 1e3 * (decoded - began),
            "total": 1e3 * (time.perf_counter() - arrived),
        }
        age = self.age_ms(frame.stamp_ns)
        self._publish_rest(header, restored)
        self.statistics.published(stages, age)
        if self._segmentation is not None:
            scene = self._segmentation.interpret(self.engine, restored)
            if scene.fault and not restored.fault:
                self._announce(scene)
            if self._planner is not None and scene.perception is not None:
                self._planner.take(scene)
        if self._was_passed_by:
            self.engine.restorer.fault()

    def _frame(self, message: Image | CompressedImage, arrived: float) -> tuple[Header, Frame]:
        """The header and the frame of an image message that arrived then; raises ImageError."""
        convert = images.to_rgb if isinstance(message, Image) else images.compressed_to_rgb
        image = convert(message, max_pixels=self.parameters.max_pixels, mono16_max=self.parameters.mono16_max)
        if self._last_frame is None and isinstance(message, CompressedImage):
            if note := images.note(message):
                self.get_logger().info(f"images are read although unusual: {note}")
        header = message.header
        frame = Frame(messages.stamp_ns(header), header.frame_id, image, int(1e9 * arrived))
        self._compare(frame)
        return message.header, frame

    def _restore(self, frame: Frame) -> Restored:
        """The first step of the engine, with the settings and priors of the moment."""
        engine = self.engine
        engine.restorer.settings = self.settings
        if self._segmentation is not None:
            engine.use_interpreter(self._segmentation.active_interpreter)
        priors: PriorSource | None = self._priors
        restored = engine.restore(frame, priors)
        if self._priors is not None:
            self._priors.expect(frame)
        if restored.prior_missed:
            self.statistics.count("priors_missed")
        return restored

    def _publish_image(self, header: Header, restored: Restored) -> bool:
        """Publish mode, status and clean image; False where later images were published meanwhile."""
        with self._publication:
            if self._was_passed_by:
                self.engine.restorer.fault()
                self.dropped("image", "overtaken")
                return False
            self._publish_degraded_first(header, restored)
        return True

    def _publish_degraded_first(self, header: Header, restored: Restored) -> None:
        """The mode and the status before the image, so that a degraded one is not taken for clean."""
        scene = scene_of(restored)
        self._rain_mm_h, self._view = scene.rain.rate, scene.view
        self._announce(scene)
        self.publish_scene(WITH_IMAGE, scene, self.message_context(header))

    def _publish_rest(self, header: Header, restored: Restored) -> None:
        """Publish everything beside the clean image."""
        context = self.message_context(header, camera_info=self._calibrations.of(header))
        self.publish_scene(BESIDE_IMAGE, scene_of(restored), context)

    def _pass_by(self, message: Image | CompressedImage) -> None:
        """Publish an image as it arrived, in the executor's thread: the worker is stuck."""
        arrived = time.perf_counter()
        header, frame = self._frame(message, arrived)
        with self._publication:
            self._was_passed_by = True
            self.statistics.count("passed_by")
            restored = passed_through(frame, f"a frame has been processed for {self.busy_s:.1f} s")
            self._publish_degraded_first(header, restored)
        self._publish_rest(header, restored)
        total = 1e3 * (time.perf_counter() - arrived)
        self.statistics.published({"total": total}, self.age_ms(frame.stamp_ns))

    # Mode

    def _report_parse_failure(self, fault: str) -> None:
        """A parser in another process failed on a frame; taken up before the next frame."""
        self.offer("parse_failed", fault)

    def _on_parse_failed(self, fault: str) -> None:
        self.engine.parse_failed()
        if self._mode is not Mode.DRY:
            self._change_mode(Mode.DERAIN_ONLY, fault)

    def _announce(self, scene: Scene) -> None:
        """Publish a change of mode."""
        self._fault = "" if scene.mode in (Mode.LOOP, Mode.DRY) else scene.fault or self._fault
        self._change_mode(scene.mode, self._fault, _weather(scene))

    def _change_mode(self, mode: Mode, fault: str, weather: str = "") -> None:
        before, self._mode, self._fault = self._mode, mode, fault
        if mode is before:
            return
        self.publish(MODE, MODE.type(data=mode.value))
        reason = fault or self._reason(before, mode, weather)
        text = f"mode: {before.value} -> {mode.value}: {reason}"
        if mode in (Mode.LOOP, Mode.DRY):
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)

    def _reason(self, before: Mode, mode: Mode, weather: str) -> str:
        """Why the mode changes where nothing failed."""
        if Mode.DRY in (before, mode):
            return weather
        if STEPS.index(mode) < STEPS.index(before):
            return f"no fault and no delay for {self.settings.recover_after_s:g} s"
        return f"frames took longer than {self.settings.max_latency_ms:g} ms"

    # Camera

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._calibrations.add(info)

    def _count_overwritten(self, number: int | None) -> None:
        """Count frames that only a gap in the publisher's numbers shows; not every RMW has numbers."""
        last, self._last_number = self._last_number, number
        if last is None or number is None or number <= last + 1:
            return
        if self._has_one_sender():
            self.statistics.overwritten(number - last - 1)

    def _has_one_sender(self) -> bool:
        """Whether one camera publishes, as of the last second: each of several has its own numbers."""
        now = time.monotonic()
        if now - self._senders_counted > 1.0:
            self._senders, self._senders_counted = self.count_senders(self._input), now
        return self._senders == 1

    def _compare(self, frame: Frame) -> None:
        """Count what a frame shows of the camera's health, compared with the previous one."""
        last, self._last_frame = self._last_frame, frame
        if last is None:
            return
        if frame.stamp_ns <= last.stamp_ns:
            self.statistics.count("stamp_jumps")
        self._unusable_stamps = self._unusable_stamps + 1 if frame.stamp_ns in (0, last.stamp_ns) else 0
        if np.array_equal(frame.image, last.image):
            self.statistics.count("identical_images")
            self._identical_images += 1
        else:
            self._identical_images = 0

    def condition(self) -> Condition:
        """As of any node; and mode, time budget, camera and rain."""
        last = self._last_frame
        return replace(
            super().condition(),
            mode=self._mode,
            fault=self._fault,
            budget_ms=self.parameters.max_latency_ms,
            identical_images=self._identical_images,
            unusable_stamps=self._unusable_stamps,
            camera_info=self._calibrations.size() or "missing",
            calibration=self._calibrations.mismatch(last.image.shape[:2]) if last else "",
            ahead_s=-self.age_ms(last.stamp_ns) / 1e3 if last else 0.0,
            rain_mm_h=self._rain_mm_h,
            view=self._view,
            view_limits=self.parameters.view_limits(),
        )


def _weather(scene: Scene) -> str:
    """What the gate has gone by."""
    text = f"rain rate {scene.rain.rate:.1f} mm/h"
    measures = (("water on the glass", scene.view.coverage), ("contrast loss", scene.view.contrast_loss))
    return ", ".join([text, *(f"{name} {100 * x:.0f} %" for name, x in measures if not math.isnan(x))])


def main(argv: list[str] | None = None) -> int:
    """Run derain_node until SIGINT or SIGTERM; a lifecycle manager configures it."""
    return runtime.run(lambda: [DerainNode()], argv)


if __name__ == "__main__":
    raise SystemExit(main())
