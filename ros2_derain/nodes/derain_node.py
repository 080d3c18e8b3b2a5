"""derain_node: camera images in, clean images out.

Wiring only: a frame is taken from the topic, given to the engine's restorer, and
what comes back is published under the frame's own header.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.subscription import MessageInfo
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, Header, String

from ros2_derain.engine import Frame, Mode, ModelIdentity, Restored, Restorer, passed_through
from ros2_derain.engine.ladder import STEPS
from ros2_derain.nodes import images, messages, runtime
from ros2_derain.nodes.calibrations import Calibrations
from ros2_derain.nodes.diagnostics import Condition, Health
from ros2_derain.nodes.managed_node import Handler, ManagedNode
from ros2_derain.nodes.outputs import CLEAN_CAMERA_INFO, CLEAN_COMPRESSED, CLEAN_IMAGE, MODE, RAIN_RATE, TRUST
from ros2_derain.nodes.parameters import DerainParameters
from ros2_derain.nodes.prior_exchange import TopicExchange
from ros2_derain.nodes.topics import CAMERA_INFO, IMAGE, IMAGE_COMPRESSED


class DerainNode(ManagedNode[DerainParameters]):
    """Restores every frame of one camera; priors come over topics."""

    outputs = (CLEAN_IMAGE, CLEAN_COMPRESSED, CLEAN_CAMERA_INFO, TRUST, RAIN_RATE, MODE)
    events = ("passed_by", "priors_missed", "same_pictures", "stamp_jumps")

    def __init__(self, **options: Any) -> None:
        super().__init__("derain_node", DerainParameters, **options)
        self.restorer: Restorer | None = None
        self._exchange: TopicExchange | None = None
        self._calibrations = Calibrations()
        self._last_frame: Frame | None = None
        self._last_number: int | None = None
        self._senders, self._senders_counted = 0, -math.inf
        self._same_pictures = 0
        self._was_passed_by = False
        self._outlet = threading.Lock()
        """Held by who publishes an image, so that none comes out after a later one."""
        self._last: Restored | None = None
        self._mode = Mode.LOOP
        self._fault = ""

    @property
    def identity(self) -> ModelIdentity:
        return self.restorer.identity

    def load(self) -> None:
        self.restorer = self.load_restorer()
        self.restorer.warm_up(self.parameters.warmup_height, self.parameters.warmup_width)

    def load_restorer(self) -> Restorer:
        """The restorer that the parameters name; raises ModelError or EngineError."""
        return Restorer.load(self.settings)

    def unload(self) -> None:
        self.restorer = None

    def lanes(self) -> Mapping[str, Handler]:
        return {"image": self._process}

    def start(self) -> None:
        self._mode, self._fault, self._last, self._last_frame = Mode.LOOP, "", None, None
        self._same_pictures, self._last_number = 0, None
        self._calibrations = Calibrations()
        self.publish(MODE, String(data=self._mode.value))
        self.open_exchange()
        self.subscribe(CAMERA_INFO, self._on_camera_info)
        self._input = IMAGE_COMPRESSED if self.parameters.input_transport == "compressed" else IMAGE
        self.subscribe(self._input, runtime.WithInfo(self._on_image))

    def interrupt(self) -> None:
        if self._exchange is not None:
            self._exchange.interrupt()

    def stop(self) -> None:
        self.close_exchange()

    def open_exchange(self) -> None:
        """Connect to the parser."""
        self._exchange = TopicExchange(self)

    def close_exchange(self) -> None:
        """Disconnect from the parser."""
        if self._exchange is not None:
            self._exchange.close()
        self._exchange = None

    def forget(self) -> None:
        self.restorer.reset()

    def condition(self) -> Condition:
        return Condition(
            books=self.statistics.snapshot(),
            active=self.active,
            mode=self._mode,
            fault=self._fault,
            budget_ms=self.parameters.max_latency_ms,
            health=self.health(),
        )

    def health(self) -> Health:
        """As of any node, and what is known of camera and weather."""
        last = self._last_frame
        return replace(
            super().health(),
            same_pictures=self._same_pictures,
            ahead_s=-self.age_ms(last.stamp_ns) / 1e3 if last else 0.0,
            rain_mm_h=self._last.rain.rate if self._last else math.nan,
        )

    def facts(self) -> dict[str, str]:
        if self._last is None:
            return {}
        return {"rain_rate_mm_h": f"{self._last.rain.rate:.2f}"}

    def restore(self, frame: Frame) -> Restored:
        """Give a frame to the engine."""
        restored = self.restorer.restore(frame, self._exchange)
        self._exchange.expect(frame)
        return restored

    def follow(self, restored: Restored) -> None:
        """The clean image is out: here nothing else is done with it."""

    def explain(self, fault: str) -> None:
        """Why the next frame's mode will be a lower one."""
        self._fault = fault

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._calibrations.add(info)

    def _on_image(self, message: Image | CompressedImage, info: MessageInfo) -> None:
        self._count_overwritten(info.get("publication_sequence_number"))
        self.statistics.received()
        if self._is_stuck():
            self._guarded("image", self._pass_by)(message)
        else:
            self.offer("image", (message, time.perf_counter()))

    def _count_overwritten(self, number: int | None) -> None:
        """Frames of which only the gap in the publisher's numbers tells; not every RMW has numbers."""
        last, self._last_number = self._last_number, number
        if None in (last, number) or number <= last + 1:
            return
        if self._lone_sender():
            self.statistics.overwritten(number - last - 1)

    def _lone_sender(self) -> bool:
        """Whether one camera publishes, as of the last second: each of several has numbers of its own."""
        now = time.monotonic()
        if now - self._senders_counted > 1.0:
            self._senders, self._senders_counted = self.count_senders(self._input), now
        return self._senders == 1

    def _is_stuck(self) -> bool:
        """Whether the worker has been at its frame for longer than ``stall_ms``."""
        return 0 < self.parameters.stall_ms < 1e3 * self.busy_s

    def _pass_by(self, message: Image | CompressedImage) -> None:
        """Publish an image as it came: the worker is stuck, and nobody shall be left without."""
        arrived = time.perf_counter()
        header, frame = self._frame(message)
        with self._outlet:
            self._was_passed_by = True
            self.statistics.count("passed_by")
            restored = passed_through(frame, f"a frame has been worked on for {self.busy_s:.1f} s")
            self._announce(restored)
            self.supply(CLEAN_IMAGE, lambda: images.from_rgb(restored.image, header))
        self._publish_rest(header, restored)
        total = 1e3 * (time.perf_counter() - arrived)
        self.statistics.published({"total": total}, self.age_ms(frame.stamp_ns))

    def _process(self, item: tuple[Image | CompressedImage, float]) -> None:
        """The whole way of one frame, in the worker's thread."""
        message, arrived = item
        self._was_passed_by = False
        began = time.perf_counter()
        header, frame = self._frame(message)
        if self.restorer.settings is not self.settings:
            self.restorer.settings = self.settings
        decoded = time.perf_counter()
        restored = self.restore(frame)
        with self._outlet:
            if self._was_passed_by:  # it comes too late: later images are out
                self.restorer.fault(frame.stamp_ns)
                self.lost("image", "overtaken")
                return
            self._last = restored
            self._announce(restored)
            self.supply(CLEAN_IMAGE, lambda: images.from_rgb(restored.image, header))
        if restored.prior_missed:
            self.statistics.count("priors_missed")
        age = self.age_ms(frame.stamp_ns)
        stages = {
            **restored.milliseconds,
            "wait": 1e3 * (began - arrived),
            "decode": 1e3 * (decoded - began),
            "total": 1e3 * (time.perf_counter() - arrived),
        }
        self._publish_rest(header, restored)
        self.statistics.published(stages, age)
        self.follow(restored)
        if self._was_passed_by:
            self.restorer.fault(frame.stamp_ns)

    def _frame(self, message: Image | CompressedImage) -> tuple[Header, Frame]:
        """The header and the frame of an image message; raises ImageError."""
        limit = self.parameters.max_pixels
        convert = images.to_rgb if isinstance(message, Image) else images.compressed_to_rgb
        picture = convert(message, max_pixels=limit)
        frame = Frame(messages.stamp_ns(message.header), message.header.frame_id, picture)
        self._compare(frame)
        return message.header, frame

    def _compare(self, frame: Frame) -> None:
        """Note what a frame tells of the camera's health, compared with the one before."""
        last, self._last_frame = self._last_frame, frame
        if last is None:
            return
        if frame.stamp_ns <= last.stamp_ns:
            self.statistics.count("stamp_jumps")
        if np.array_equal(frame.image, last.image):
            self.statistics.count("same_pictures")
            self._same_pictures += 1
        else:
            self._same_pictures = 0

    def _publish_rest(self, header: Header, restored: Restored) -> None:
        """What goes with the clean image."""
        self.supply(TRUST, lambda: images.from_mono(restored.trust, header))
        self.supply(RAIN_RATE, lambda: Float32(data=restored.rain.rate))
        info = self._calibrations.of(header)
        if info is not None:
            self.supply(CLEAN_CAMERA_INFO, lambda: messages.to_camera_info(info, header))
        quality = self.parameters.jpeg_quality
        self.supply(CLEAN_COMPRESSED, lambda: images.compress_rgb(restored.image, header, quality))

    def _announce(self, restored: Restored) -> None:
        """Tell of a change of mode before the first image in it."""
        before, self._mode = self._mode, restored.mode
        is_well = restored.mode in (Mode.LOOP, Mode.DRY)
        self._fault = "" if is_well else restored.fault or self._fault
        if restored.mode is before:
            return
        self.publish(MODE, String(data=restored.mode.value))
        text = f"mode: {before.value} -> {restored.mode.value}: {self._reason(before, restored)}"
        if is_well:
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)

    def _reason(self, before: Mode, restored: Restored) -> str:
        """Why the mode is another than before."""
        if self._fault:
            return self._fault
        if Mode.DRY in (before, restored.mode):
            return f"rain rate {restored.rain.rate:.1f} mm/h"
        if STEPS.index(restored.mode) < STEPS.index(before):
            return f"no fault and no delay for {self.settings.recover_after_s:g} s"
        return f"frames took longer than {self.settings.max_latency_ms:g} ms"


def main(argv: list[str] | None = None) -> int:
    """Run derain_node until SIGINT or SIGTERM; a lifecycle manager configures it."""
    return runtime.run(lambda: [DerainNode()], argv)


if __name__ == "__main__":
    raise SystemExit(main())
