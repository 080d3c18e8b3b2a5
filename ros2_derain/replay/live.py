"""Replays one camera of a bag over DDS into a running pipeline, at the bag's own pace.

The images go out as they are, with their stamps and a simulated clock; the pipeline is a process of
its own and may drop what it cannot keep up with. What it published is recorded, and then read back
by the same code that looks at an offline replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ros2_derain import environment
from ros2_derain.bags import BagDamaged
from ros2_derain.bags.messages import BAD_MESSAGE, COMPRESSED, camera_of, stamp_ns
from ros2_derain.bags.reader import BagReader
from ros2_derain.errors import EvaluationError
from ros2_derain.nodes import outputs, topics
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.offline import conclude
from ros2_derain.replay.output_folder import BAG, Output
from ros2_derain.replay.recorded_pipeline import RecordedEngine
from ros2_derain.replay.session import Course, names
from ros2_derain.replay.sources import Source
from ros2_derain.reporting.progress import Progress
from ros2_derain.ros_testing import pipeline_processes
from ros2_derain.ros_testing.accounting import Accounting, balance
from ros2_derain.ros_testing.observer import Observer, Status
from ros2_derain.ros_testing.player import Player

LEAD_S = 1.0
"""The clock runs for so long before the first image."""


@dataclass
class Played:
    """What was played, and what the nodes said at the end.

    Attributes:
        sent: when each image was sent, in ns of the system's clock, by its stamp.
        images: how many were sent.
        status: each node's last words.
    """

    sent: dict[int, int] = field(default_factory=dict)
    images: int = 0
    status: dict[str, Status] = field(default_factory=dict)


def replay_live(
    job: Job, folder: Path, rate: float, demands: Sequence[Criterion] = (), *, force: bool = False
) -> dict:
    """Replay a bag live into a folder; returns what ``summary.json`` holds.

    Args:
        job: what is to be done; of one camera.
        folder: of the results.
        rate: how fast, 1 is the bag's own pace.
        demands: criteria that the run is held against.
        force: replace an earlier replay's files.

    Raises:
        EvaluationError: it cannot begin, or a process did not do its part; the message shows its log.
    """
    environment.isolate()
    with BagReader(job.bag, recover=True) as bag, Output(folder, "all", force) as output:
        course = Course.begin(job, bag)
        if len(course.found) != 1:
            raise EvaluationError(
                f"--live plays one camera: choose it with --topic, one of {names(course.found)}"
            )
        output.require_space(course.pixels())
        output.open_records()
        (source,) = course.found
        began = time.monotonic()
        played = _play(job, bag, source, folder, rate)
        with BagReader(folder / BAG, namespace=source.namespace) as recording:
            course.follow(output, lambda: None, {source.topic: RecordedEngine(recording, played.sent)})
            books = _books(played, recording)
        course.problems += [f"{node}: {said}" for node, book in books.items() for said in book.problems]
        told = {"rate": rate, "nodes": {node: asdict(book) for node, book in books.items()}}
        return conclude(course, folder, demands, time.monotonic() - began, told)


def _play(job: Job, bag: BagReader, source: Source, folder: Path, rate: float) -> Played:
    compressed = source.type == COMPRESSED
    base = camera_of(source.topic)
    info = source.camera_info or f"{source.namespace}/camera_info"
    with (
        pipeline_processes.Pipeline.start(_options(job, bag, source, base, info), folder) as pipeline,
        Observer(source.namespace) as observer,
        Player(f"{base}/compressed" if compressed else base, compressed, info) as player,
        Progress(f"playing {job.bag.name}", min(source.messages, job.frames or source.messages)) as progress,
    ):
        recorder = observer.record(folder / BAG, (*outputs.OUTPUTS, topics.DIAGNOSTICS), lambda *_: None)
        pipeline_processes.await_active(observer, pipeline)
        if not observer.spin_until(lambda: player.subscribers() > 0, pipeline_processes.DISCOVERY_S):
            raise EvaluationError(
                f"the pipeline did not subscribe to {base} within {pipeline_processes.DISCOVERY_S:g} s"
            )
        played = _Reel(job, bag, source, rate, observer, player).run(progress.step)
        pipeline_processes.await_quiet(observer, recorder)
        played.status = dict(observer.status)
        return played


def _options(job: Job, bag: BagReader, source: Source, base: str, info: str) -> list[str]:
    """Of ``ros2-derain run``."""
    height, width = bag.first_image(source.topic).shape[:2]
    settings = job.settings
    values = {
        "use_sim_time": "true",
        "warmup_width": width,
        "warmup_height": height,
        "prior": settings.prior,
        "iterations": settings.iterations,
    }
    given = ["--image", base, "--camera-info", info, "--model", settings.model, "--device", settings.device]
    if source.namespace:
        given += ["--namespace", source.namespace]
    if source.type == COMPRESSED:
        given.append("--compressed")
    return [
        *given,
        "--ros-args",
        *(part for name, value in values.items() for part in ("-p", f"{name}:={value}")),
    ]


class _Reel:
    """Sends a camera's messages when they are due, under a clock that shows the bag's time."""

    def __init__(
        self, job: Job, bag: BagReader, source: Source, rate: float, observer: Observer, player: Player
    ) -> None:
        self._job, self._bag, self._source, self._rate = job, bag, source, rate
        self._observer, self._player = observer, player
        self._pace = rate
        self._since = 0.0
        self._since_ns = bag.span_ns[0]

    def run(self, step: Callable[[], None]) -> Played:
        """Play everything, and wait until the nodes have done with it."""
        played = Played()
        first_ns = self._since_ns
        self._since = time.monotonic() + LEAD_S
        try:
            self._play(played, first_ns, step)
        except BagDamaged:  # who looks at the frames afterwards says so
            pass
        self._finish()
        return played

    def _play(self, played: Played, first_ns: int, step: Callable[[], None]) -> None:
        began = self._since
        info, topic = self._source.camera_info, self._source.topic
        for message in self._bag.messages({topic, info} - {""}):
            if played.images == self._job.frames:
                break
            due_s = began + (message.received_ns - first_ns) / 1e9 / self._rate
            self._player.until(due_s, self._now_ns, self._wait)
            self._player.tick(self._now_ns())
            if message.topic == info:
                self._player.calibrate(message.raw)
                continue
            sent_ns = self._player.send(message.raw)
            played.images += 1
            try:
                played.sent[stamp_ns(self._bag.decode(message), message.received_ns)] = sent_ns
            except BAD_MESSAGE:  # the pipeline refuses it, and counts that
                pass
            step()

    def _finish(self) -> None:
        """Keep the clock going, at real pace, until both nodes have said that no frame is at hand."""
        self._since_ns, self._since, self._pace = self._now_ns(), time.monotonic(), 1.0
        settled_ns = self._since_ns + int(pipeline_processes.SETTLE_S * 1e9)
        deadline = time.monotonic() + pipeline_processes.FINISH_S
        while not pipeline_processes.is_idle(self._observer, settled_ns):
            if time.monotonic() > deadline:
                raise EvaluationError(
                    f"the nodes did not say within {pipeline_processes.FINISH_S:g} s that they are done: "
                    "see pipeline.log"
                )
            self._player.until(time.monotonic() + 0.1, self._now_ns, self._wait)

    def _now_ns(self) -> int:
        """The bag's time now."""
        return self._since_ns + int((time.monotonic() - self._since) * self._pace * 1e9)

    def _wait(self, seconds: float) -> None:
        self._observer.spin_until(lambda: False, seconds)


def _books(played: Played, recording: BagReader) -> Mapping[str, Accounting]:
    """What became of every frame, by each node's count, the recording's and ours."""
    books = {}
    frames_in = played.images
    for node, topic in zip(pipeline_processes.NODES, (outputs.CLEAN_IMAGE, outputs.DETECTIONS), strict=True):
        recorded = [message.stamp_ns for message in recording.messages([topic.name])]
        books[node] = balance(frames_in, recorded, played.status[node])
        frames_in = int(played.status[node].number("frames_published"))
    return books
