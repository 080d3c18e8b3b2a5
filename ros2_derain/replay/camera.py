"""One camera of a replay: its engine, its memory of the frame before, its rain."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ros2_derain.bags.messages import BAD_MESSAGE, decode_image, stamp_ns
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.engine import Engine, EngineSettings, Frame, LoadedModel, Perception, Scene
from ros2_derain.metrics import label_flicker, motion_between
from ros2_derain.nodes import overlay
from ros2_derain.replay import frame_records
from ros2_derain.replay.frame_records import BACKWARD, GAP, REPEATED, RESIZED
from ros2_derain.replay.ground_truth import BOXES, LABELS, Truth
from ros2_derain.replay.injected_rain import InjectedRain
from ros2_derain.replay.sources import Source
from ros2_derain.replay.worst_frames import Shown, Worst, small

FLICKER_WIDTH = 480
"""Pixels; label flicker is measured on pictures no wider than this."""
OPACITY = 0.45


@dataclass(frozen=True)
class Seen:
    """A frame that was processed.

    Attributes:
        record: what is written down of it.
        milliseconds: per stage; not part of the record, as it differs from run to run.
        scene: what came out.
    """

    record: dict
    milliseconds: dict[str, float]
    scene: Scene


class Processor(Protocol):
    """What makes scenes of frames: an engine, or the recording of a pipeline."""

    def warm_up(self, height: int, width: int) -> None:
        """Get ready for frames of this size."""

    def process(self, frame: Frame) -> Scene | None:
        """The scene of a frame; None where it was dropped."""


class Camera:
    """Takes the images of one camera, in order.

    Args:
        source: which topic.
        number: cameras are counted from 0; decides the drops that this one sees.
        model: shared by all cameras.
        settings: of the engine.
        engine: processes the frames; may give none for a frame that was dropped.
        rains: to inject, shared by all cameras, each with an engine for this camera.
        worst: keeps the frames to be shown.
        truth: what is truly known of the camera; None: nothing.
    """

    def __init__(
        self,
        source: Source,
        number: int,
        model: LoadedModel,
        settings: EngineSettings,
        engine: Processor,
        rains: Sequence[tuple[InjectedRain, Engine]],
        worst: Worst,
        truth: Truth | None = None,
    ) -> None:
        self.source = source
        self._number, self._settings, self._worst = number, settings, worst
        self._names = model.identity.class_names
        self._engine, self._rains, self._truth = engine, rains, truth
        self._parser = Engine.of(model, settings)
        self._index = -1
        self._previous: tuple[Frame, Perception | None] | None = None

    def take(self, bag: BagReader, message: Message) -> Seen | dict:
        """Process an image message; the record alone where it cannot be read. Never fails on its account."""
        self._index += 1
        began = time.perf_counter()
        try:
            image = bag.decode(message)
            picture = decode_image(image, message.type)
            frame = Frame(stamp_ns(image, message.received_ns), image.header.frame_id, picture)
        except BAD_MESSAGE as error:
            return frame_records.unread(self.source.topic, self._index, message.received_ns, error)
        decoded_ms = 1e3 * (time.perf_counter() - began)
        notes = self._notes(frame)
        if self._previous is None:
            self._engine.warm_up(*picture.shape[:2])
        scene = self._engine.process(frame)
        if scene is None:
            return frame_records.dropped(self.source.topic, self._index, message.received_ns, frame.stamp_ns)
        record = frame_records.seen(
            self.source.topic, self._index, message.received_ns, scene, self._flicker(frame, scene), notes
        )
        if self._truth is not None:
            record["truth"], unused = self._truth.add(frame, self._index, self._parser, scene)
            notes += unused
        spent = {"decode": decoded_ms, **scene.milliseconds}
        shown = frame, scene
        if self._rains and scene.perception is not None:
            record["injected"] = {}
            for rain, engine in self._rains:
                figures, *shown = rain.add(frame, engine, self._number, scene.perception)
                record["injected"][f"{rain.rate:g}"] = figures
                spent[f"total_{rain.rate:g}_mm_h"] = shown[1].milliseconds["total"]
        self._offer(record, *shown)
        self._previous = frame, scene.perception
        return Seen(record, spent, scene)

    def _notes(self, frame: Frame) -> list[str]:
        """What is odd about a frame, held against the one before."""
        if self._previous is None:
            return []
        before = self._previous[0]
        passed_ns = frame.stamp_ns - before.stamp_ns
        odd = {
            REPEATED: passed_ns == 0,
            BACKWARD: passed_ns < 0,
            GAP: passed_ns > self._settings.reset_gap_s * 1e9,
            RESIZED: frame.image.shape != before.image.shape,
        }
        return [note for note, holds in odd.items() if holds]

    def _flicker(self, frame: Frame, scene: Scene) -> float | None:
        """Share of the pixels whose label changed without a reason in the motion; None: not comparable."""
        if self._previous is None or scene.perception is None or self._previous[1] is None:
            return None
        before, seen_before = self._previous
        if before.image.shape != frame.image.shape or frame_records.GAP in self._notes(frame):
            return None
        motion = motion_between(*(_scaled(image, cv2.INTER_AREA) for image in (before.image, frame.image)))
        labels = (_scaled(seen.labels, cv2.INTER_NEAREST) for seen in (seen_before, scene.perception))
        return label_flicker(*labels, motion)

    def _offer(self, record: dict, frame: Frame, scene: Scene) -> None:
        def show() -> Shown:
            drawn = scene.image
            if scene.perception is not None:
                drawn = overlay.draw(drawn, scene.perception, self._names, OPACITY)
            pictures = (small(picture) for picture in (frame.image, scene.image, drawn))
            return Shown(badness(record), self.source.topic, frame.stamp_ns, record, *pictures)

        self._worst.offer(badness(record), self.source.topic, frame.stamp_ns, show)


def badness(record: dict) -> float:
    """How much a frame is worth looking at, 0..1, by its record.

    With true labels: what is missing from agreement with them; with true boxes only: the share that
    is wrong among the boxes and missed among the true ones. With injected rain: what is missing
    from agreement with the dry run after deraining, in the heaviest rain. Without both: how little
    its outputs are trusted, 1 - trust * confidence.
    """
    if record.get("truth"):
        return _wrong(record["truth"])
    if record.get("injected"):
        heaviest = max(record["injected"].items(), key=lambda item: float(item[0]))[1]
        return 1 - (heaviest["derained"]["miou"] or 0)
    if record["confidence"] is None:
        return 1.0
    return 1 - record["trust"] * record["confidence"]


def _wrong(truth: Mapping) -> float:
    if LABELS in truth:
        return 1 - (truth[LABELS]["output"]["miou"] or 0)
    boxes = truth[BOXES]["output"]
    wrong = boxes["false_alarms"] + boxes["misses"]
    return wrong / (wrong + 2 * boxes["hits"]) if wrong else 0.0  # 1 - F1


def _scaled(plane: np.ndarray, way: int) -> np.ndarray:
    height, width = plane.shape[:2]
    if width <= FLICKER_WIDTH:
        return plane
    size = FLICKER_WIDTH, max(1, round(height * FLICKER_WIDTH / width))
    return cv2.resize(plane, size, interpolation=way)
