"""What a recording shows: latencies, image quality, rain rates. One pass over the bag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ros2_derain.bags.reader import BagReader
from ros2_derain.metrics.image import psnr
from ros2_derain.nodes.images import to_mono, to_rgb

IMAGE, CLEAN, OVERLAY, LABELS = "image", "derain/image", "segmentation/overlay", "segmentation/label_map"
RAIN_RATE, DETECTIONS, LABEL_INFO = "derain/rain_rate", "detections", "segmentation/label_info"

NOT_OF_A_FRAME = {LABEL_INFO, "vision_info", "diagnostics"}
"""Their headers say when it was said, not of which frame."""


@dataclass
class Moment:
    """Pictures of one frame, kept to be shown: H x W x 3 uint8 RGB; None where there is none."""

    rainy: np.ndarray | None = None
    clean: np.ndarray | None = None
    overlay: np.ndarray | None = None
    classes: set[int] = field(default_factory=set)


@dataclass
class Measured:
    """What one pass over a bag finds.

    Attributes:
        stamps: stamps in ns of every message with a frame's header, by topic.
        delays_ms: from stamp to reception, of the same messages.
        psnr: in dB by stamp, of the clean output against the dry clip.
        psnr_rain: the same of the rainy input.
        rain_rates: mm/h in the order of publication.
        boxes: number of detections by stamp.
        moments: pictures of the chosen frames by stamp.
        class_names: of the label map, by id.
        types: message type of each topic.
    """

    stamps: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    delays_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    psnr: dict[int, float] = field(default_factory=dict)
    psnr_rain: dict[int, float] = field(default_factory=dict)
    rain_rates: list[float] = field(default_factory=list)
    boxes: dict[int, int] = field(default_factory=dict)
    moments: dict[int, Moment] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)


def measure(
    recording: BagReader,
    reference: Callable[[int], np.ndarray | None],
    shown: Iterable[int] = (),
    progress: Callable[[], None] = lambda: None,
) -> Measured:
    """Read a recording once.

    Args:
        recording: an open bag.
        reference: gives the dry picture (H x W x 3 uint8 RGB) of a stamp; None where unknown.
        shown: stamps whose pictures are kept.
        progress: called after each message of the clean output.
    """
    types = {topic.name: topic.type for topic in recording.topics}
    found = Measured(moments={stamp: Moment() for stamp in shown}, types=types)
    for message in recording.messages():
        if message.stamp_ns is not None and message.topic not in NOT_OF_A_FRAME:
            found.stamps[message.topic].append(message.stamp_ns)
            found.delays_ms[message.topic].append((message.received_ns - message.stamp_ns) / 1e6)
        read = _READERS.get(message.topic)
        if read:
            read(found, message.stamp_ns, recording.decode(message), reference)
        if message.topic == CLEAN:
            progress()
    return found


def _rainy(found: Measured, stamp: int, message, reference) -> None:
    dry, rainy = reference(stamp), to_rgb(message)
    if dry is not None:
        found.psnr_rain[stamp] = psnr(rainy, dry)
    if stamp in found.moments:
        found.moments[stamp].rainy = rainy


def _clean(found: Measured, stamp: int, message, reference) -> None:
    dry, clean = reference(stamp), to_rgb(message)
    if dry is not None:
        found.psnr[stamp] = psnr(clean, dry)
    if stamp in found.moments:
        found.moments[stamp].clean = clean


def _overlay(found: Measured, stamp: int, message, reference) -> None:
    if stamp in found.moments:
        found.moments[stamp].overlay = to_rgb(message)


def _labels(found: Measured, stamp: int, message, reference) -> None:
    if stamp in found.moments:
        ids, counts = np.unique(to_mono(message), return_counts=True)
        found.moments[stamp].classes = {int(i) for i, n in zip(ids, counts, strict=True) if n > 50}


def _rate(found: Measured, stamp: None, message, reference) -> None:
    found.rain_rates.append(float(message.data))


def _detections(found: Measured, stamp: int, message, reference) -> None:
    found.boxes[stamp] = len(message.detections)


def _label_info(found: Measured, stamp: int, message, reference) -> None:
    known = sorted(message.class_map, key=lambda entry: entry.class_id)
    found.class_names = tuple(entry.class_name for entry in known)


_READERS = {
    IMAGE: _rainy,
    CLEAN: _clean,
    OVERLAY: _overlay,
    LABELS: _labels,
    RAIN_RATE: _rate,
    DETECTIONS: _detections,
    LABEL_INFO: _label_info,
}
