"""Replays one camera of a bag over DDS into a running pipeline, at the bag's own pace.

The images are sent unchanged, with their stamps and a simulated clock; the pipeline is a process of
its own and may drop what it cannot keep up with. What it published is recorded, and then read back
as scenes, which are processed like those of an offline replay.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ros2_derain import environment
from ros2_derain.bags import BagDamaged
from ros2_derain.bags.messages import COMPRESSED, camera_of, raw_stamp_ns
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.engine import NOT_PARSED, Frame, Mode, Perception, RainEstimate, Scene, View
from ros2_derain.messages import frame_values, from_detections, topics
from ros2_derain.messages.images import to_mono, to_rgb
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs, run
from ros2_derain.nodes.outputs import Output
from ros2_derain.replay import ReplayError
from ros2_derain.replay.cameras import CameraTopic
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.output_folder import BAG, OutputFolder
from ros2_derain.replay.session import Session, names
from ros2_derain.reporting.page import Section
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import stages
from ros2_derain.ros_testing import processes
from ros2_derain.ros_testing.camera import Player
from ros2_derain.ros_testing.observer import Observer, Status, account, unknown_stamps

LEAD_S = 1.0
"""The clock runs this long before the first image."""

RECORDED = (*outputs.OUTPUTS, *outputs.IN_METRES, topics.DIAGNOSTICS)


@dataclass(frozen=True)
class LiveSettings:
    """How a bag is played.

    Attributes:
        rate: 1 is the bag's own pace.
        two_processes: the nodes run apart and exchange their priors over topics.
        options: of ``ros2-derain run``, such as ``--params-file``; None: those of the job's engine.
        inputs: of the camera's topics those that are recorded beside the outputs.
    """

    rate: float = 1.0
    two_processes: bool = False
    options: Sequence[str] | None = None
    inputs: Sequence[Topic] = ()


@dataclass(frozen=True)
class SentImage:
    """An image that was sent.

    Attributes:
        stamp_ns: of its header.
        received_ns: when the recorder of the bag received it.
        sent_ns: when it was sent, by the system's clock.
    """

    stamp_ns: int
    received_ns: int
    sent_ns: int


@dataclass
class Played:
    """What was played, and the nodes' own counts at the end.

    Attributes:
        sent: each image whose stamp can be read.
        images: how many were sent.
        status: the last diagnostics of each node.
        exit_status: of each process of the pipeline.
    """

    sent: list[SentImage] = field(default_factory=list)
    images: int = 0
    status: dict[str, Status] = field(default_factory=dict)
    exit_status: dict[str, int] = field(default_factory=dict)


def replay_live(
    job: Job,
    folder: Path,
    settings: LiveSettings,
    required: Sequence[Criterion] = (),
    *,
    force: bool = False,
    beside: Sequence[Section] = (),
) -> dict:
    """Replay a bag live into a folder; returns what ``summary.json`` holds.

    Args:
        job: what is to be done; of one camera.
        folder: of the results.
        settings: how it is played.
        required: criteria of the run.
        force: replace an earlier replay's files.
        beside: further sections of the report.

    Raises:
        ReplayError: it cannot begin, or a process failed; the message shows its log.
    """
    environment.isolate()
    with BagReader(job.bag) as bag, OutputFolder(folder, "all", force) as output:
        session = Session.open(job, bag)
        if len(session.cameras) != 1:
            raise ReplayError(
                f"--live plays one camera: choose it with --topic, one of {names(session.cameras)}"
            )
        output.require_space(session.pixels())
        output.open_records()
        (camera,) = session.cameras
        began = time.monotonic()
        played = _play(session, camera, folder, settings)
        with BagReader(folder / BAG, namespace=camera.namespace) as recording:
            with Progress("measuring", session.frames) as progress:
                session.run(output, progress.step, {camera.topic: RecordedEngine(recording, played.sent)})
            live = {"rate": settings.rate, **_account(session, played, recording)}
        return session.finish(folder, required, time.monotonic() - began, live, beside)


def _play(session: Session, camera: CameraTopic, folder: Path, settings: LiveSettings) -> Played:
    compressed = camera.type == COMPRESSED
    base = camera_of(camera.topic)
    info = camera.camera_info or f"{camera.namespace}/camera_info"
    options = _run_options(session, camera, base, info, settings)
    with (
        processes.start_pipeline(options, folder, settings.two_processes) as pipeline,
        Observer(camera.namespace) as observer,
        Player(f"{base}/compressed" if compressed else base, compressed, info) as player,
        Progress(f"playing {session.job.bag.name}", session.frames) as progress,
    ):
        recorder = observer.record(folder / BAG, (*settings.inputs, *RECORDED))
        processes.await_active(observer, pipeline)
        subscribers = 1 + bool(settings.inputs)  # the pipeline and the recorder
        if not observer.spin_until(lambda: player.subscribers() >= subscribers, processes.DISCOVERY_S):
            raise ReplayError(f"the pipeline did not subscribe to {base} within {processes.DISCOVERY_S:g} s")
        played = _Playback(session, camera, settings.rate, observer, player).run(progress.step)
        processes.await_quiet(observer, recorder)
        played.status = dict(observer.status)
        played.exit_status = {child.name: child.stop() for child in reversed(pipeline)}
        return played


def _run_options(
    session: Session, camera: CameraTopic, base: str, info: str, settings: LiveSettings
) -> list[str]:
    """The options of ``ros2-derain run``."""
    height, width = session.bag.first_image(camera.topic).shape[:2]
    values: dict[str, Any] = {"use_sim_time": True, "warmup_width": width, "warmup_height": height}
    given = ["--image", base, "--camera-info", info]
    if settings.options is None:
        engine = session.job.settings
        given += ["--model", engine.model, "--device", engine.device, "--runtime", engine.runtime]
        values |= {"prior": engine.prior, "iterations": engine.iterations}
    else:
        given += settings.options
    if camera.namespace:
        given += ["--namespace", camera.namespace]
    if camera.type == COMPRESSED:
        given.append("--compressed")
    if session.metres.has(camera):
        given.append("--planner")
    return [*given, "--ros-args", *run.parameter_arguments({**values, **session.job.planner})]


class _Playback:
    """Sends a camera's messages when they are due, under a clock that shows the bag's time."""

    def __init__(
        self, session: Session, camera: CameraTopic, rate: float, observer: Observer, player: Player
    ) -> None:
        self._bag, self._limit = session.bag, session.job.frames
        self._camera, self._rate = camera, rate
        self._observer, self._player = observer, player
        self._pace = rate
        self._since = 0.0
        self._since_ns = session.bag.span_ns[0]

    def run(self, step: Callable[[], None]) -> Played:
        """Play everything, and wait until the nodes have finished it."""
        played = Played()
        first_ns = self._since_ns
        self._since = time.monotonic() + LEAD_S
        try:
            self._play(played, first_ns, step)
        except BagDamaged:  # becomes a problem of the session, which reads the bag again
            pass
        self._finish()
        return played

    def _play(self, played: Played, first_ns: int, step: Callable[[], None]) -> None:
        began = self._since
        info, topic = self._camera.camera_info, self._camera.topic
        for message in self._bag.messages({topic, info} - {""}):
            if played.images == self._limit:
                break
            due_s = began + (message.received_ns - first_ns) / 1e9 / self._rate
            self._player.until(due_s, self._now_ns, self._wait)
            self._player.tick(self._now_ns())
            if message.topic == info:
                self._player.calibrate(message.raw)
                continue
            sent_ns = self._player.send(message.raw)
            played.images += 1
            with suppress(struct.error):  # the pipeline refuses it, and counts that
                played.sent.append(SentImage(raw_stamp_ns(message.raw), message.received_ns, sent_ns))
            step()

    def _finish(self) -> None:
        """Keep the clock going, at real pace, until both nodes have reported that no frame is in progress."""
        self._since_ns, self._since, self._pace = self._now_ns(), time.monotonic(), 1.0
        settled_ns = self._since_ns + int(processes.SETTLE_S * 1e9)
        deadline = time.monotonic() + processes.FINISH_S
        while not processes.is_idle(self._observer, settled_ns):
            if time.monotonic() > deadline:
                raise ReplayError(
                    f"the nodes did not report within {processes.FINISH_S:g} s that they are done: "
                    "see pipeline.log"
                )
            self._player.until(time.monotonic() + 0.1, self._now_ns, self._wait)

    def _now_ns(self) -> int:
        """The bag's time now."""
        return self._since_ns + int((time.monotonic() - self._since) * self._pace * 1e9)

    def _wait(self, seconds: float) -> None:
        self._observer.spin_until(lambda: False, seconds)


def _account(session: Session, played: Played, recording: BagReader) -> dict:
    """What became of every frame, by each node's count, the recording's and ours; adds to the problems."""
    stamps: dict[str, list[int]] = {topic.name: [] for topic in outputs.PER_FRAME}
    for message in recording.messages(stamps):
        if message.stamp_ns is not None:
            stamps[message.topic].append(message.stamp_ns)
    sent = Counter(image.stamp_ns for image in played.sent)
    nodes, frames_in = {}, played.images
    for node, output in zip(processes.NODES, (outputs.CLEAN_IMAGE, outputs.DETECTIONS), strict=True):
        status = played.status[node]
        accounting = account(frames_in, sent, stamps[output.name], status)
        session.problems += [f"{node}: {problem}" for problem in accounting.problems]
        nodes[node] = {**asdict(accounting), "latency_ms": stages(status.numbers("latency_ms."))}
        frames_in = int(status.number("frames_published"))
    for topic, found in stamps.items():
        session.problems += unknown_stamps(topic, found, sent)
    failed = {name: status for name, status in played.exit_status.items() if status}
    session.problems += [f"{name} ended with status {status}, see its log" for name, status in failed.items()]
    return {"nodes": nodes, "topics": {topic.name: topic.messages for topic in recording.topics}}


class RecordedEngine:
    """Takes the place of the engine: gives the scene that the pipeline published for a frame.

    Frames are asked for in the order in which they were sent. Those with one stamp are matched by order.

    Args:
        recording: of the pipeline's topics.
        sent: the images that were sent.
    """

    def __init__(self, recording: BagReader, sent: Sequence[SentImage]) -> None:
        self._recording = recording
        self._sent_ns = {(image.stamp_ns, image.received_ns): image.sent_ns for image in sent}
        self._asked: Counter[int | None] = Counter(dict.fromkeys((image.stamp_ns for image in sent), 0))
        self._cursors = {
            topic: _Cursor(recording.messages([topic.name]), self._asked)
            for topic in (
                outputs.CLEAN_IMAGE, outputs.DERAIN_STATUS, outputs.OBSTRUCTION, outputs.TRUST,
                outputs.LABEL_MAP, outputs.CONFIDENCE, outputs.DETECTIONS, outputs.SEGMENTATION_STATUS,
            )
        }  # fmt: skip

    def warm_up(self, height: int, width: int) -> None:
        """Nothing to warm up."""

    def process(self, frame: Frame) -> Scene | None:
        """The scene of a frame; None where the pipeline dropped it."""
        scene = self._scene(frame)
        self._asked[frame.stamp_ns] += 1
        return scene

    def _scene(self, frame: Frame) -> Scene | None:
        stamp_ns = frame.stamp_ns
        clean = self._take(outputs.CLEAN_IMAGE, stamp_ns)
        if clean is None or frame.received_ns is None:
            return None
        sent_ns = self._sent_ns[stamp_ns, frame.received_ns]
        trust, boxes = self._take(outputs.TRUST, stamp_ns), self._take(outputs.DETECTIONS, stamp_ns)
        obstruction = self._take(outputs.OBSTRUCTION, stamp_ns)
        perception = self._perception(stamp_ns, boxes)
        status = self._status_values(outputs.DERAIN_STATUS, stamp_ns)
        derain_mode = Mode(status.get("mode", Mode.LOOP.value))
        rate, severity = (float(status.get(key, "nan")) for key in ("rain_rate_mm_h", "rain_severity"))
        parser_failed = perception is None and derain_mode not in NOT_PARSED
        return Scene(
            stamp_ns=stamp_ns,
            frame_id=frame.frame_id,
            image=to_rgb(self._recording.decode(clean)).copy(),
            trust=self._map(trust) if trust else np.full(frame.image.shape[:2], 255, np.uint8),
            rain=RainEstimate(rate, severity),
            mode=Mode.DERAIN_ONLY if parser_failed else derain_mode,
            derain_mode=derain_mode,
            iterations=int(status.get("iterations", 0)),
            prior_missed=status.get("prior_missed") == "true",
            perception=perception,
            milliseconds={
                "image": (clean.received_ns - sent_ns) / 1e6,
                "total": ((boxes or clean).received_ns - sent_ns) / 1e6,
            },
            view=_view(status | self._status_values(outputs.SEGMENTATION_STATUS, stamp_ns)),
            obstruction=self._map(obstruction) if obstruction else None,
        )

    def _take(self, topic: Output, stamp_ns: int) -> Message | None:
        return self._cursors[topic].take(stamp_ns)

    def _status_values(self, topic: Output, stamp_ns: int) -> dict[str, str]:
        """What a node reported of a frame; nothing where that was lost."""
        message = self._take(topic, stamp_ns)
        return {} if message is None else frame_values(self._recording.decode(message))

    def _perception(self, stamp_ns: int, boxes: Message | None) -> Perception | None:
        labels, confidence = (self._take(t, stamp_ns) for t in (outputs.LABEL_MAP, outputs.CONFIDENCE))
        if not (labels and confidence and boxes):
            return None
        found = from_detections(self._recording.decode(boxes))
        return Perception(self._map(labels), self._map(confidence), found)

    def _map(self, message: Message) -> np.ndarray:
        return to_mono(self._recording.decode(message)).copy()


def _view(values: Mapping[str, str]) -> View:
    """What the camera could not see, as the nodes reported it."""
    coverage, contrast_loss, dirt = (
        float(values.get(key, "nan")) for key in ("glass_coverage", "contrast_loss", "dirt")
    )
    prefix = "hidden."
    hidden = {key.removeprefix(prefix): float(x) for key, x in values.items() if key.startswith(prefix)}
    return View(coverage, contrast_loss, dirt, hidden)


class _Cursor:
    """The messages of a topic, taken by their stamps in the order in which the frames were sent.

    Args:
        messages: in the order of reception.
        asked: how many frames of each stamp that was sent have been asked for before the current one.
    """

    def __init__(self, messages: Iterator[Message], asked: Counter[int | None]) -> None:
        self._messages, self._asked = messages, asked
        self._seen: Counter[int | None] = Counter()
        self._next = next(messages, None)

    def take(self, stamp_ns: int) -> Message | None:
        """The current frame's message, if there is one; those of earlier frames are skipped."""
        while self._next is not None and self._is_earlier(self._next.stamp_ns):
            self._advance()
        if self._next is None or self._next.stamp_ns != stamp_ns:
            return None
        return self._advance()

    def _is_earlier(self, stamp_ns: int | None) -> bool:
        """Whether the next message, of this stamp, belongs to a frame before the current one, or to none."""
        return stamp_ns not in self._asked or self._seen[stamp_ns] < self._asked[stamp_ns]

    def _advance(self) -> Message | None:
        current = self._next
        if current is not None:
            self._seen[current.stamp_ns] += 1
        self._next = next(self._messages, None)
        return current
