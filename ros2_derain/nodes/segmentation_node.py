"""segmentation_node: clean images in; label maps, detections and semantic priors out.

Wiring only: an image is given to the engine's interpreter, and what comes back is
published under the image's own header. Any image publisher will do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros2_derain.engine import UNPARSED, Interpretation, Interpreter, ModelIdentity, Perception, Restored
from ros2_derain.nodes import images, messages, overlay, runtime
from ros2_derain.nodes.diagnostics import Condition
from ros2_derain.nodes.managed_node import Handler, ManagedNode
from ros2_derain.nodes.outputs import (
    CLEAN_IMAGE,
    CONFIDENCE,
    DETECTIONS,
    LABEL_INFO,
    LABEL_MAP,
    OVERLAY,
    SEMANTIC_PRIOR,
    VISION_INFO,
)
from ros2_derain.nodes.parameters import SegmentationParameters
from ros2_derain.nodes.topics import PROPOSAL


class SegmentationNode(ManagedNode[SegmentationParameters]):
    """Parses every image it is given, from ``derain/image`` or from the same process."""

    outputs = (LABEL_MAP, CONFIDENCE, LABEL_INFO, OVERLAY, SEMANTIC_PRIOR, DETECTIONS, VISION_INFO)

    def __init__(self, **options: Any) -> None:
        super().__init__("segmentation_node", SegmentationParameters, **options)
        self.interpreter: Interpreter | None = None
        self._at_work = threading.Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self.interpreter.identity

    def load(self) -> None:
        self.interpreter = self.load_interpreter()
        self.interpreter.warm_up(self.parameters.warmup_height, self.parameters.warmup_width)

    def load_interpreter(self) -> Interpreter:
        """The interpreter that the parameters name; raises ModelError or EngineError."""
        return Interpreter.load(self.settings)

    def unload(self) -> None:
        self.interpreter = None

    def lanes(self) -> Mapping[str, Handler]:
        return {"proposal": self._answer, "image": self._process}

    def start(self) -> None:
        self.on_parameters_changed()
        info = messages.to_vision_info(
            self.identity, self.resolve_topic_name(LABEL_INFO.name), self._header_now()
        )
        self.publish(VISION_INFO, info)
        self.listen()

    def stop(self) -> None:
        """Wait for a frame that another thread has handed over."""
        with self._at_work:
            pass

    def forget(self) -> None:
        """Nothing is kept from one image to the next."""

    def condition(self) -> Condition:
        return Condition(books=self.statistics.snapshot(), active=self.active, health=self.health())

    def lost(self, lane: str, cause: str) -> None:
        if lane == "image":
            super().lost(lane, cause)
        else:
            self.statistics.count(f"proposals_lost.{cause}")

    def on_parameters_changed(self) -> None:
        """Say what the label map's ids mean, and from which confidence on."""
        threshold = self.settings.confidence_threshold
        names = self.identity.class_names
        self.publish(LABEL_INFO, messages.to_label_info(names, threshold, self._header_now()))

    def listen(self) -> None:
        """Take images from ``derain/image``, and what a derain_node elsewhere wants parsed."""
        self.subscribe(CLEAN_IMAGE, self._on_image)
        self.subscribe(PROPOSAL, lambda message: self.offer("proposal", message))

    def take(self, restored: Restored) -> Interpretation | None:
        """Parse and publish a frame that was restored in this process.

        For the thread that restored it. Frames that come while the node is not
        active are ignored.

        Returns:
            what the parser said; None if it said nothing.

        Raises:
            RuntimeError: the parser failed; the frame is counted as dropped.
        """
        with self._at_work:
            if not self.active:
                return None
            arrived = time.perf_counter()
            self.statistics.received()
            if restored.tensor is None or restored.mode in UNPARSED:
                self.statistics.dropped(f"mode.{restored.mode.value}")
                return None
            header = messages.to_header(restored.frame.stamp_ns, restored.frame.frame_id)
            try:
                return self._interpret(header, restored.image, restored.tensor, arrived)
            except Exception:
                self.statistics.dropped("error")
                raise

    def _on_image(self, message: Image) -> None:
        self.statistics.received()
        self.offer("image", (message, time.perf_counter()))

    def _process(self, item: tuple[Image, float]) -> None:
        message, arrived = item
        picture = images.to_rgb(message, max_pixels=self.parameters.max_pixels)
        with self._at_work:
            self._interpret(message.header, picture, picture, arrived)

    def _answer(self, message: Image) -> None:
        """Give derain_node the prior of an intermediate image, and nothing else."""
        picture = images.to_rgb(message, max_pixels=self.parameters.max_pixels)
        with self._at_work:
            prior = self.interpreter.prior(self.interpreter.runtime.tensor(picture))
        self._publish_prior(prior, message.header)
        self.statistics.count("proposals_answered")

    def _interpret(
        self, header: Header, picture: np.ndarray, source: np.ndarray | torch.Tensor, arrived: float
    ) -> Interpretation:
        """Parse and publish one image.

        Args:
            header: of the image.
            picture: H x W x 3 uint8 RGB, what the overlay is drawn on.
            source: the same for the interpreter: the picture, or a tensor on the device.
            arrived: when the image came, by ``time.perf_counter``.
        """
        if self.interpreter.settings is not self.settings:
            self.interpreter.settings = self.settings
        found = self.interpreter.interpret(source)
        seen = found.perception
        self._publish_prior(found.prior, header)
        self.supply(LABEL_MAP, lambda: images.from_mono(seen.labels, header))
        self.supply(DETECTIONS, lambda: messages.to_detections(seen.detections, header))
        self.supply(CONFIDENCE, lambda: images.from_mono(seen.confidence, header))
        total = 1e3 * (time.perf_counter() - arrived)
        age = self.age_ms(messages.stamp_ns(header))
        self.supply(OVERLAY, lambda: images.from_rgb(self._drawn(picture, seen), header))
        self.statistics.published({**found.milliseconds, "total": total}, age)
        return found

    def _publish_prior(self, prior: torch.Tensor, header: Header) -> None:
        self.supply(SEMANTIC_PRIOR, lambda: images.from_channels(prior.cpu().numpy(), header))

    def _drawn(self, picture: np.ndarray, seen: Perception) -> np.ndarray:
        return overlay.draw(picture, seen, self.identity.class_names, self.parameters.overlay_opacity)

    def _header_now(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg())


def main(argv: list[str] | None = None) -> int:
    """Run segmentation_node until SIGINT or SIGTERM; a lifecycle manager configures it."""
    return runtime.run(lambda: [SegmentationNode()], argv)


if __name__ == "__main__":
    raise SystemExit(main())
