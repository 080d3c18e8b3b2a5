"""Semantic priors over topics, for a parser in another process.

Priors are matched by stamp. Waiting for one is bounded; the frame then goes on without it. A
prior that does not fit the derainer's model is refused and counted.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Generic, TypeVar

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo

from ros2_derain import messages
from ros2_derain.engine import Frame, fingerprint, to_image
from ros2_derain.image_decoding import ImageError
from ros2_derain.messages import images
from ros2_derain.messages.topics import PROPOSAL, QOS_OVERRIDES
from ros2_derain.nodes.model_node import ModelNode
from ros2_derain.nodes.outputs import LABEL_INFO, SEGMENTATION_STATUS, SEMANTIC_PRIOR
from ros2_derain.nodes.parameters import DerainParameters

KEPT = 8
"""Number of values that wait to be used; the oldest is dropped."""

T = TypeVar("T")


class StampedStore(Generic[T]):
    """The latest values by stamp; one thread puts them in, another waits for them."""

    def __init__(self) -> None:
        self._values: OrderedDict[int, T] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, stamp_ns: int, value: T) -> None:
        """Keep a value, in place of an older one with the same stamp."""
        with self._changed:
            self._values.pop(stamp_ns, None)
            self._values[stamp_ns] = value
            if len(self._values) > KEPT:
                self._values.popitem(last=False)
            self._changed.notify_all()

    def take(self, stamp_ns: int, timeout_s: float) -> T | None:
        """Remove and return the value with this stamp; None when it has not arrived in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or stamp_ns in self._values, timeout_s)
            return self._values.pop(stamp_ns, None)

    def discard(self, stamp_ns: int) -> None:
        """Drop the value with this stamp."""
        with self._changed:
            self._values.pop(stamp_ns, None)

    def close(self) -> None:
        """End all waiting, now and in future."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class TopicPriors:
    """A :class:`~ros2_derain.engine.PriorSource` over topics.

    The previous frame's prior is awaited on ``semantic_prior``. An intermediate image is published
    on ``derain/proposal``; segmentation_node publishes a prior of the same stamp. Once a prior did not
    arrive in time, no other is requested in the same frame: that bounds its delay, and no late prior
    is mistaken for another.

    Args:
        node: the active derain_node.
        parse_failed: called with the reason when the parser failed on a frame.
    """

    def __init__(self, node: ModelNode[DerainParameters], parse_failed: Callable[[str], None]) -> None:
        self._node, self._parse_failed = node, parse_failed
        self._store: StampedStore[torch.Tensor | None] = StampedStore()
        self._classes: str | None = None
        self._shapes: dict[int, tuple[int, int]] = {}
        self._silent_on: Frame | None = None
        self._proposals: Publisher = node.create_publisher(
            PROPOSAL.type,
            PROPOSAL.name,
            PROPOSAL.qos(),
            qos_overriding_options=QOS_OVERRIDES,
        )
        node.subscribe(LABEL_INFO, self._on_label_info)
        node.subscribe(SEMANTIC_PRIOR, self._on_prior)
        node.subscribe(SEGMENTATION_STATUS, self._on_status)

    def interrupt(self) -> None:
        """End all waiting, now and in future."""
        self._store.close()

    def close(self) -> None:
        """End the publication; the node ends the subscriptions."""
        self._node.destroy_publisher(self._proposals)

    def expect(self, frame: Frame) -> None:
        """This frame has been restored: its prior may be needed next."""
        self._shapes = {frame.stamp_ns: _prior_size(frame)}

    def previous(self, stamp_ns: int) -> torch.Tensor | None:
        """The prior of the frame with this stamp, K x h x w uint8; None if not in time."""
        if self._node.count_publishers(SEMANTIC_PRIOR.name) == 0:
            return None
        return self._fitting(self._wait(stamp_ns), self._shapes.get(stamp_ns))

    def parse(self, frame: Frame, clean: torch.Tensor) -> torch.Tensor | None:
        """Have an intermediate image parsed.

        Args:
            frame: the frame it belongs to.
            clean: 1 x 3 x H x W, 0..1.

        Returns:
            Its prior, K x h x w uint8; None if not in time.
        """
        if self._silent_on is frame or self._proposals.get_subscription_count() == 0:
            return None
        self._store.discard(frame.stamp_ns)
        header = messages.to_header(frame.stamp_ns, frame.frame_id)
        self._node.send(self._proposals, images.from_rgb(to_image(clean), header))
        prior = self._wait(frame.stamp_ns)
        if prior is None:
            self._silent_on = frame
        return self._fitting(prior, _prior_size(frame))

    def _wait(self, stamp_ns: int) -> torch.Tensor | None:
        """The prior with this stamp; None if not in time. The executor delivers it: it must be free."""
        self._node.suspend_throttle()
        return self._store.take(stamp_ns, self._node.parameters.prior_timeout_ms / 1e3)

    def _on_label_info(self, info: LabelInfo) -> None:
        self._classes = fingerprint(messages.to_class_names(info))

    def _on_status(self, message: DiagnosticArray) -> None:
        """A parser that failed on a frame has no prior for it, and the ladder steps down."""
        failed = next((s for s in message.status if s.level == messages.ERROR), None)
        if failed is not None:
            stamp = messages.stamp_ns(message.header)
            self._store.put(stamp, None)
            self._parse_failed(f"segmentation_node: {failed.message}")

    def _on_prior(self, message: Image) -> None:
        try:
            prior = torch.from_numpy(images.to_channels(message))
        except ImageError as error:
            self._refuse(error.cause, str(error))
            return
        expected = self._node.identity
        if len(prior) != len(expected.class_names):
            self._refuse(
                "channels",
                f"semantic prior refused: {len(prior)} classes, the model {expected.name} "
                f"has {len(expected.class_names)}; run both nodes with the same classes",
            )
        elif self._classes is None:
            self._refuse("unknown_classes", f"semantic prior refused: nothing on {LABEL_INFO.name}")
        elif self._classes != expected.fingerprint:
            self._refuse(
                "classes",
                f"semantic prior refused: its classes {self._classes} are not those of the model "
                f"{expected.name} ({expected.fingerprint}); run both nodes with the same classes",
            )
        else:
            self._store.put(messages.stamp_ns(message.header), prior)

    def _fitting(self, prior: torch.Tensor | None, size: tuple[int, int] | None) -> torch.Tensor | None:
        """The prior, unless its size is not the frame's."""
        if prior is None or size is None or tuple(prior.shape[1:]) == size:
            return prior
        height, width = prior.shape[1:]
        self._refuse("size", f"semantic prior refused: {width} x {height}, expected {size[1]} x {size[0]}")
        return None

    def _refuse(self, cause: str, text: str) -> None:
        self._node.statistics.count(f"priors_refused.{cause}")
        self._node.warn(f"priors_refused.{cause}", text)


def _prior_size(frame: Frame) -> tuple[int, int]:
    height, width = frame.image.shape[:2]
    return ceil(height / 8), ceil(width / 8)
