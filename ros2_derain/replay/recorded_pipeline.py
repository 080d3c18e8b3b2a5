"""What a running pipeline said of each frame, read back from its recording as scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ros2_derain.bags.messages import detections
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.engine import Frame, Mode, Perception, RainEstimate, Scene
from ros2_derain.nodes import outputs
from ros2_derain.nodes.images import to_mono, to_rgb


class RecordedEngine:
    """Stands for the engine: gives the scene that the pipeline published of a frame.

    Frames are asked for in the order in which they were sent.

    Args:
        recording: of the pipeline's topics.
        sent: when each frame was sent, in ns of the system's clock, by its stamp.
    """

    def __init__(self, recording: BagReader, sent: Mapping[int, int]) -> None:
        self._recording, self._sent = recording, sent
        self._clean, self._trust, self._labels, self._confidence, self._boxes = (
            _Cursor(recording.messages([topic.name]))
            for topic in (
                outputs.CLEAN_IMAGE, outputs.TRUST, outputs.LABEL_MAP, outputs.CONFIDENCE, outputs.DETECTIONS
            )
        )  # fmt: skip
        self._rates = recording.messages([outputs.RAIN_RATE.name])
        self._modes = [
            (message.received_ns, recording.decode(message).data)
            for message in recording.messages([outputs.MODE.name])
        ]

    def warm_up(self, height: int, width: int) -> None:
        """There is nothing to be warmed up."""

    def process(self, frame: Frame) -> Scene | None:
        """The scene of a frame; None where the pipeline dropped it."""
        stamp_ns = frame.stamp_ns
        clean = self._clean.take(stamp_ns)
        if clean is None:
            return None
        sent_ns = self._sent[stamp_ns]
        trust, boxes = self._trust.take(stamp_ns), self._boxes.take(stamp_ns)
        rate = next(self._rates, None)
        mm_h = self._recording.decode(rate).data if rate else float("nan")
        milliseconds = {"image": (clean.received_ns - sent_ns) / 1e6}
        milliseconds["total"] = ((boxes or clean).received_ns - sent_ns) / 1e6
        return Scene(
            stamp_ns=stamp_ns,
            frame_id=frame.frame_id,
            image=to_rgb(self._recording.decode(clean)).copy(),
            trust=self._map(trust) if trust else np.full(frame.image.shape[:2], 255, np.uint8),
            rain=RainEstimate(mm_h, float("nan")),
            mode=self._mode_at(clean.received_ns),
            derain_mode=self._mode_at(clean.received_ns),
            iterations=0,
            prior_missed=False,
            perception=self._perception(stamp_ns, boxes),
            milliseconds=milliseconds,
        )

    def _perception(self, stamp_ns: int, boxes: Message | None) -> Perception | None:
        labels, confidence = self._labels.take(stamp_ns), self._confidence.take(stamp_ns)
        if not (labels and confidence and boxes):
            return None
        found = detections(self._recording.decode(boxes))
        return Perception(self._map(labels), self._map(confidence), found)

    def _map(self, message: Message) -> np.ndarray:
        return to_mono(self._recording.decode(message)).copy()

    def _mode_at(self, received_ns: int) -> Mode:
        said = [mode for time_ns, mode in self._modes if time_ns <= received_ns]
        return Mode(said[-1]) if said else Mode.LOOP


class _Cursor:
    """The messages of a topic, taken by their stamps in the order in which they came."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages
        self._next = next(messages, None)

    def take(self, stamp_ns: int) -> Message | None:
        """The next message, if it has this stamp."""
        if self._next is None or self._next.stamp_ns != stamp_ns:
            return None
        taken, self._next = self._next, next(self._messages, None)
        return taken
