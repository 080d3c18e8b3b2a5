"""The cameras of a bag: which topics they are, and the replay of each, frame by frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ros2_derain import overlay
from ros2_derain.bags.messages import BAD_MESSAGE, IMAGE, camera_of, cause, decode_image, raw_stamp_ns, reason
from ros2_derain.bags.reader import BagReader, Message, Topic
from ros2_derain.engine import Engine, EngineSettings, Frame, LoadedModel, Perception, Scene
from ros2_derain.engine.control import FrameClock
from ros2_derain.messages import topics
from ros2_derain.nodes import outputs
from ros2_derain.replay import ReplayError, frame_metrics
from ros2_derain.replay.aggregate import COVERED
from ros2_derain.replay.frame_metrics import BACKWARD, GAP, REPEATED, RESIZED, UNSTAMPED, FrameSample
from ros2_derain.replay.ground_truth import GroundTruth
from ros2_derain.replay.injected_rain import InjectedRain
from ros2_derain.replay.worst_frames import WorstFrame, WorstFrames, scaled_down, severity_of

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
NO_CAMERA = ("encoding", "format", "range")
"""What is wrong with a topic's first image where the topic is no camera: depth, masks, video."""
OPACITY = 0.45
"""Of classes over the image, in the report."""

_PIPELINE_TOPICS = tuple(f"/{topic.name}" for topic in (*outputs.OUTPUTS, topics.PROPOSAL))


@dataclass(frozen=True)
class CameraTopic:
    """A camera of a bag.

    Attributes:
        topic, type: of its images.
        messages: how many images.
        namespace: of its outputs: what the image topic stands in, such as ``/front`` for
            ``/front/image_raw`` and ``''`` for ``/image``.
        camera_info: the topic of its calibration; '' if there is none.
    """

    topic: str
    type: str
    messages: int
    namespace: str
    camera_info: str = ""


def find_cameras(
    bag: BagReader, chosen: Sequence[str] = (), excluded: Collection[str] = ()
) -> tuple[list[CameraTopic], list[str]]:
    """The cameras of a bag: the chosen image topics, or all that hold camera images.

    Where a camera has raw images, its ``/compressed`` ones are ignored; so are the
    pipeline's own outputs, depth images and other images that are not a camera's, and the topics
    ``excluded``.

    Returns:
        the cameras by topic, and why topics were ignored, a sentence each.

    Raises:
        BagError: not each of the chosen is there.
        ReplayError: there is no camera.
    """
    found, notes = bag.image_topics(chosen), list[str]()
    if not chosen:
        found, notes = _camera_topics(bag, [topic for topic in found if topic.name not in excluded])
        if not found:
            raise ReplayError(f"{bag.path} has no camera images: {'; '.join(notes)}")
    return _with_namespaces(bag, found), notes


def _camera_topics(bag: BagReader, found: list[Topic]) -> tuple[list[Topic], list[str]]:
    raw = {topic.name for topic in found if topic.type == IMAGE}
    kept, notes = [], []
    for topic in found:
        if topic.name.endswith(_PIPELINE_TOPICS):
            notes.append(f"{topic.name} is left aside: an output of the pipeline")
        elif topic.name not in raw and camera_of(topic.name) in raw:
            notes.append(f"{topic.name} is left aside: {camera_of(topic.name)} holds the same images")
        elif why := _why_no_camera(bag, topic):
            notes.append(f"{topic.name} is left aside: {why}")
        else:
            kept.append(topic)
    return kept, notes


def _why_no_camera(bag: BagReader, topic: Topic) -> str:
    """Why the topic's first image is no camera's; '' where it is, or is merely damaged."""
    for message in bag.messages([topic.name]):
        try:
            decode_image(bag.decode(message), message.type)
        except BAD_MESSAGE as error:
            return reason(error) if cause(error) in NO_CAMERA else ""
        return ""
    return "it holds no message"


def _with_namespaces(bag: BagReader, found: list[Topic]) -> list[CameraTopic]:
    """Each under the shortest namespace that no other of them could have too."""
    infos = {topic.name for topic in bag.topics if topic.type == CAMERA_INFO}
    candidates = [(_parent(topic.name), camera_of(topic.name), topic.name) for topic in found]
    uses = Counter(name for names in candidates for name in set(names))
    cameras = []
    for topic, names in zip(found, candidates, strict=True):
        namespace = next((name for name in names if uses[name] == 1), topic.name)
        info = next((name for name in (f"{name}/camera_info" for name in names) if name in infos), "")
        cameras.append(CameraTopic(topic.name, topic.type, topic.messages, namespace, info))
    return cameras


def _parent(topic: str) -> str:
    return camera_of(topic).rpartition("/")[0]


@dataclass(frozen=True)
class FrameResult:
    """The result of an image message.

    Attributes:
        record: its line of ``frames.jsonl``.
        milliseconds: per stage; not part of the record, as it differs from run to run.
        scene: output of the engine; None for an image that was not read, or was dropped.
    """

    record: dict
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    scene: Scene | None = None


class Processor(Protocol):
    """What makes scenes of frames: an engine, or the recording of a pipeline."""

    def warm_up(self, height: int, width: int) -> None:
        """Get ready for frames of this size."""

    def process(self, frame: Frame) -> Scene | None:
        """The scene of a frame; None where it was dropped."""


class CameraReplay:
    """Takes the images of one camera, in order.

    Args:
        topic: of the images.
        number: cameras are counted from 0; selects the raindrops of this camera.
        model: shared by all cameras.
        settings: of the engine.
        engine: processes the frames; may give none for a frame that was dropped.
        rains: to inject, shared by all cameras, each with its engine for this camera.
        worst: collects the frames for the report that are to be trusted least,
        covered: and those that water on the glass covers most.
        truth: ground truth of the camera; None: there is none.
    """

    def __init__(
        self,
        topic: str,
        number: int,
        model: LoadedModel,
        settings: EngineSettings,
        engine: Processor,
        rains: Sequence[tuple[InjectedRain, Engine]],
        worst: WorstFrames,
        covered: WorstFrames,
        truth: GroundTruth | None = None,
    ) -> None:
        self._topic, self._number, self._settings = topic, number, settings
        self._worst, self._covered = worst, covered
        self._colours = model.identity.colours
        self._engine, self._rains, self._truth = engine, rains, truth
        self._parser = Engine.of(model, settings)
        self._clock = FrameClock()
        self._index = -1
        self._previous: tuple[Frame, Perception | None] | None = None

    def take(self, bag: BagReader, message: Message) -> FrameResult:
        """Process an image message; one that cannot be read is recorded, and never an error."""
        self._index += 1
        place = self._topic, self._index, message.received_ns
        began = time.perf_counter()
        try:
            decoded = bag.decode(message)
            image = decode_image(decoded, message.type)
            stamp_ns = raw_stamp_ns(message.raw)
            frame = Frame(stamp_ns, decoded.header.frame_id, image, message.received_ns)
        except BAD_MESSAGE as error:
            return FrameResult(frame_metrics.unread_record(*place, error))
        decoded_ms = 1e3 * (time.perf_counter() - began)
        if self._previous is None:
            self._engine.warm_up(*image.shape[:2])
        scene = self._engine.process(frame)
        if scene is None:
            return FrameResult(frame_metrics.dropped_record(*place, frame.stamp_ns))
        sample = FrameSample(frame, scene, self._previous, self._notes(frame))
        unusable = {UNSTAMPED, REPEATED} & set(sample.notes)
        time_ns = message.received_ns if unusable else stamp_ns
        record = frame_metrics.record_of(*place, sample)
        if self._truth is not None:
            record["truth"], unused = self._truth.add(frame, self._index, self._parser, scene)
            record["notes"] += unused
        milliseconds = {"decode": decoded_ms, **scene.milliseconds}
        shown: Sequence = (frame, scene)
        if self._rains and scene.perception is not None:
            record["injected"] = {}
            for rain, engine in self._rains:
                figures, *shown = rain.add(frame, time_ns, engine, self._number, scene.perception)
                record["injected"][rain.name] = figures
                unit = "" if rain.overlay.glass else "_mm_h"
                milliseconds[f"total_{rain.name}{unit}"] = shown[1].milliseconds["total"]
        self._offer(record, time_ns, *shown)
        self._offer_covered(record, time_ns, frame, scene)
        self._previous = frame, scene.perception
        return FrameResult(record, milliseconds, scene)

    def _notes(self, frame: Frame) -> list[str]:
        """Anomalies of a frame, compared with the previous one."""
        gap_s = self._clock.advance(frame)
        before = self._previous[0] if self._previous else frame
        odd = {
            UNSTAMPED: frame.stamp_ns == 0,
            REPEATED: frame.stamp_ns == before.stamp_ns != 0 and gap_s is not None,
            BACKWARD: gap_s is not None and gap_s < 0,
            GAP: gap_s is not None and gap_s > self._settings.reset_gap_s,
            RESIZED: frame.image.shape != before.image.shape,
        }
        return [note for note, holds in odd.items() if holds]

    def _offer(self, record: dict, time_ns: int, frame: Frame, scene: Scene) -> None:
        severity = severity_of(record)

        def make() -> WorstFrame:
            drawn = scene.image
            if scene.perception is not None:
                drawn = overlay.draw(drawn, scene.perception, self._colours, OPACITY)
            images = (scaled_down(image) for image in (frame.image, scene.image, drawn))
            return WorstFrame(severity, self._topic, time_ns, record, *images)

        self._worst.offer(severity, self._topic, time_ns, make)

    def _offer_covered(self, record: dict, time_ns: int, frame: Frame, scene: Scene) -> None:
        coverage, obstruction = scene.view.coverage, scene.obstruction
        if obstruction is None or coverage < COVERED:
            return

        def make() -> WorstFrame:
            drawn = overlay.mark_hidden(frame.image, obstruction)
            images = (scaled_down(image) for image in (frame.image, scene.image, drawn))
            return WorstFrame(coverage, self._topic, time_ns, record, *images)

        self._covered.offer(coverage, self._topic, time_ns, make)
