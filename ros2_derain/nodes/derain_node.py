"""derain_node: camera images in, clean images out.

Wiring only: a frame is taken from the topic, given to the engine's restorer, and
what comes back is published under the frame's own header.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, Header, String

from ros2_derain.engine import Frame, Mode, ModelIdentity, Restored, Restorer
from ros2_derain.engine.ladder import STEPS
from ros2_derain.nodes import images, messages, runtime
from ros2_derain.nodes.diagnostics import Condition
from ros2_derain.nodes.exchange import TopicExchange
from ros2_derain.nodes.managed import Handler, ManagedNode
from ros2_derain.nodes.parameters import DerainParameters
from ros2_derain.nodes.topics import (
    CAMERA_INFO,
    CLEAN_CAMERA_INFO,
    CLEAN_COMPRESSED,
    CLEAN_IMAGE,
    IMAGE,
    IMAGE_COMPRESSED,
    MODE,
    RAIN_RATE,
    TRUST,
)

CALIBRATIONS = 8
"""How many of the latest camera_info messages are searched for a frame's stamp."""


class DerainNode(ManagedNode[DerainParameters]):
    """Restores every frame of one camera; priors come over topics."""

    outputs = (CLEAN_IMAGE, CLEAN_COMPRESSED, CLEAN_CAMERA_INFO, TRUST, RAIN_RATE, MODE)
    events = ("priors_missed", "stamp_jumps")

    def __init__(self, **options: Any) -> None:
        super().__init__("derain_node", DerainParameters, **options)
        self.restorer: Restorer | None = None
        self._exchange: TopicExchange | None = None
        self._calibrations: deque[CameraInfo] = deque(maxlen=CALIBRATIONS)
        self._last_stamp: int | None = None
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
        self._mode, self._fault, self._last, self._last_stamp = Mode.LOOP, "", None, None
        self._calibrations.clear()
        self.publish(MODE, String(data=self._mode.value))
        self.open_exchange()
        self.subscribe(CAMERA_INFO, self._on_camera_info)
        if self.parameters.input_transport == "compressed":
            self.subscribe(IMAGE_COMPRESSED, self._on_image)
        else:
            self.subscribe(IMAGE, self._on_image)

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
        self._calibrations.append(info)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.statistics.received()
        self.offer("image", (message, time.perf_counter()))

    def _process(self, item: tuple[Image | CompressedImage, float]) -> None:
        """The whole way of one frame, in the worker's thread."""
        message, arrived = item
        began = time.perf_counter()
        header, frame = self._frame(message)
        if self.restorer.settings is not self.settings:
            self.restorer.settings = self.settings
        decoded = time.perf_counter()
        restored = self._last = self.restore(frame)
        if restored.prior_missed:
            self.statistics.count("priors_missed")
        self._announce(restored)
        self.supply(CLEAN_IMAGE, lambda: images.from_rgb(restored.image, header))
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

    def _frame(self, message: Image | CompressedImage) -> tuple[Header, Frame]:
        """The header and the frame of an image message; raises ImageError."""
        limit = self.parameters.max_pixels
        convert = images.to_rgb if isinstance(message, Image) else images.compressed_to_rgb
        picture = convert(message, max_pixels=limit)
        stamp = messages.stamp_ns(message.header)
        if self._last_stamp is not None and stamp <= self._last_stamp:
            self.statistics.count("stamp_jumps")
        self._last_stamp = stamp
        return message.header, Frame(stamp, message.header.frame_id, picture)

    def _publish_rest(self, header: Header, restored: Restored) -> None:
        """What goes with the clean image."""
        self.supply(TRUST, lambda: images.from_mono(restored.trust, header))
        self.supply(RAIN_RATE, lambda: Float32(data=restored.rain.rate))
        info = self._calibration(header)
        if info is not None:
            self.supply(CLEAN_CAMERA_INFO, lambda: messages.to_camera_info(info, header))
        quality = self.parameters.jpeg_quality
        self.supply(CLEAN_COMPRESSED, lambda: images.compress_rgb(restored.image, header, quality))

    def _calibration(self, header: Header) -> CameraInfo | None:
        """The camera_info of the frame, else the latest."""
        known = list(self._calibrations)
        same = [info for info in known if info.header.stamp == header.stamp]
        return (same or known or [None])[-1]

    def _announce(self, restored: Restored) -> None:
        """Tell of a change of mode before the first image in it."""
        before, self._mode = self._mode, restored.mode
        is_well = restored.mode in (Mode.LOOP, Mode.DRY)
        self._fault = "" if is_well else restored.fault or self._fault
        if restored.mode is before:
            return
        log = self.get_logger().info if is_well else self.get_logger().warning
        log(f"mode: {before.value} -> {restored.mode.value}: {self._reason(before, restored)}")
        self.publish(MODE, String(data=restored.mode.value))

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
