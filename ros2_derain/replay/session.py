"""A replay of one bag: its cameras and model, the results of every frame, and the summary at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ros2_derain import machine
from ros2_derain.bags import BagDamaged, BagError
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.engine import Engine, LoadedModel
from ros2_derain.evaluate.evaluation import origin
from ros2_derain.replay import ReplayError, criteria, ground_truth, injected_rain, report
from ros2_derain.replay.aggregate import BY_GLASS, BY_RAIN, Aggregate, BandAggregate
from ros2_derain.replay.cameras import CameraReplay, CameraTopic, FrameResult, Processor, find_cameras
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.frame_charts import FramePoint
from ros2_derain.replay.frame_metrics import REPEATED, UNSTAMPED, values_of
from ros2_derain.replay.ground_truth import GroundTruth
from ros2_derain.replay.in_metres import InMetres
from ros2_derain.replay.injected_rain import InjectedRain
from ros2_derain.replay.job import Job
from ros2_derain.replay.output_folder import REPORT, SUMMARY, DiskFull, OutputFolder
from ros2_derain.replay.worst_frames import WorstFrames
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import Section, write
from ros2_derain.reporting.progress import Progress

BY = "ros2-derain replay"
COVERED_SHOWN = 3
"""Frames that the report shows of those that water covers most."""


def replay(
    job: Job, folder: Path, required: Sequence[Criterion] = (), *, force: bool = False, quiet: bool = False
) -> dict:
    """Replay a bag offline, every frame in order and as fast as it goes; returns what ``summary.json`` holds.

    Args:
        job: what is to be done.
        folder: of the results.
        required: criteria of the run.
        force: replace an earlier replay's files.
        quiet: show no progress.

    Raises:
        ReplayError: it cannot begin: the bag has no camera, or does not fit on the disk. What goes wrong
            later is in the summary's ``problems``.
        BagError: the bag cannot be read.
    """
    with BagReader(job.bag) as bag, OutputFolder(folder, job.record, force) as output:
        session = Session.open(job, bag)
        output.require_space(session.pixels())
        output.open(session.cameras, session.model, session.metres.has)
        began = time.monotonic()
        with Progress(f"replaying {job.bag.name}", 0 if quiet else max(session.frames, 1)) as progress:
            session.run(output, progress.step)
        return session.finish(folder, required, time.monotonic() - began)


@dataclass
class Session:
    """A replay in progress.

    Attributes:
        job: what is to be done.
        bag: open.
        cameras: of the bag.
        notes: why topics were ignored.
        model: shared by all cameras.
        rains: to inject.
        metres: what the planner says.
        truth: ground truth; None: there is none.
        problems: failures of the replay as a whole, a sentence each.
        fingerprint: identity of the inputs, from before anything is read.
        total, bands, coverage_bands, by_camera: figures of all frames, by rain, by water on the glass, by
            camera.
        points: of the curves.
        worst, covered: frames for the report: those to trust least, those that water covers most.
    """

    job: Job
    bag: BagReader
    cameras: list[CameraTopic]
    notes: list[str]
    model: LoadedModel
    rains: list[InjectedRain]
    metres: InMetres
    truth: GroundTruth | None
    problems: list[str]
    fingerprint: str
    total: Aggregate = field(default_factory=Aggregate)
    bands: BandAggregate = field(default_factory=lambda: BandAggregate(BY_RAIN))
    coverage_bands: BandAggregate = field(default_factory=lambda: BandAggregate(BY_GLASS))
    by_camera: dict[str, Aggregate] = field(default_factory=dict)
    points: list[FramePoint] = field(default_factory=list)
    worst: WorstFrames = field(default_factory=WorstFrames)
    covered: WorstFrames = field(default_factory=lambda: WorstFrames(COVERED_SHOWN))

    @classmethod
    def open(cls, job: Job, bag: BagReader) -> Session:
        """Find the cameras of an open bag, and load the model.

        Raises:
            ReplayError: there is no camera, or no such truth.
            EngineError: the device is not there.
            ModelError: the model does not load.
        """
        fingerprint = job.fingerprint()
        cameras, notes = find_cameras(bag, job.topics, (job.truth, job.references))
        options = {"--truth": job.truth, "--truth-boxes": job.truth_boxes, "--references": job.references}
        given = [option for option, source in options.items() if source]
        if given and len(cameras) > 1:
            raise ReplayError(f"{given[0]} is of one camera: choose it with --topic, one of {names(cameras)}")
        model = LoadedModel.load(job.settings)
        rains = [InjectedRain(rate, job.seed, model) for rate in job.rates]
        rains += [InjectedRain(0.0, job.seed, model, glass) for glass in job.glasses]
        truth = ground_truth.find(bag, job, cameras[0].messages, model)
        metres = InMetres(bag, cameras, job.planner, model.identity)
        return cls(job, bag, cameras, notes, model, rains, metres, truth, list(bag.cuts), fingerprint)

    @property
    def frames(self) -> int:
        """How many are to be processed, by the bag's own count."""
        return sum(self._frames_of(camera) for camera in self.cameras)

    def pixels(self) -> int:
        """Of all frames, by each camera's first image that can be read."""
        total = 0
        for camera in self.cameras:
            try:
                height, width = self.bag.first_image(camera.topic).shape[:2]
            except BagError:  # each frame is counted as unread later
                continue
            total += height * width * self._frames_of(camera)
        return total

    def run(
        self, output: OutputFolder, step: Callable[[], None], engines: Mapping[str, Processor] | None = None
    ) -> None:
        """Process every frame; end early, with a problem, where the bag breaks off or the disk is full.

        Args:
            output: where the results are written.
            step: called after each frame.
            engines: by topic, what makes the scenes; None: the model, an engine for each camera.
        """
        settings = self.job.settings
        replays = {
            camera.topic: CameraReplay(
                camera.topic,
                number,
                self.model,
                settings,
                engines[camera.topic] if engines else Engine.of(self.model, settings),
                [(rain, Engine.of(self.model, settings)) for rain in self.rains],
                self.worst,
                self.covered,
                self.truth,
            )
            for number, camera in enumerate(self.cameras)
        }
        try:
            for camera, message in self._images(output):
                result = replays[camera.topic].take(self.bag, message)
                metres = self.metres.frame(camera, result.scene)
                output.write(camera, result, message.received_ns, settings.confidence_threshold, metres)
                self._add(result)
                step()
        except (BagDamaged, DiskFull) as error:
            self.problems.append(str(error))

    def finish(
        self,
        folder: Path,
        required: Sequence[Criterion],
        seconds: float,
        live: dict | None = None,
        beside: Sequence[Section] = (),
    ) -> dict:
        """Write summary and report; returns what ``summary.json`` holds.

        Args:
            folder: of the results.
            required: criteria of the run.
            seconds: how long it took.
            live: of a live replay, what the nodes counted.
            beside: further sections of the report.
        """
        summary = self._summary(seconds, live)
        summary["criteria"] = criteria.judge(required, summary)
        summary["passed"] = _passed(summary)
        write_json(folder / SUMMARY, summary)
        page = report.build(
            summary, self.job, self.points, list(self.worst), list(self.covered), self.metres.images, beside
        )
        write(page, folder / REPORT)
        return summary

    def _add(self, result: FrameResult) -> None:
        record, milliseconds = result.record, result.milliseconds
        camera = self.by_camera.setdefault(record["camera"], Aggregate())
        for figures in (self.total, self.bands, self.coverage_bands, camera):
            figures.add(record, milliseconds)
        values = values_of(record, milliseconds) | injected_rain.frame_values(record)
        self.points.append(FramePoint(record["camera"], record["received_ns"], values))

    def _frames_of(self, camera: CameraTopic) -> int:
        return min(camera.messages, self.job.frames or camera.messages)

    def _images(self, output: OutputFolder) -> Iterator[tuple[CameraTopic, Message]]:
        """The images in the order of reception; calibrations go to the output on the way."""
        by_topic = {camera.topic: camera for camera in self.cameras}
        calibrated: dict[str, list[CameraTopic]] = {}
        for camera in self.cameras:
            calibrated.setdefault(camera.camera_info, []).append(camera)
        for camera in self.cameras:  # an image may come before its own calibration
            for message in islice(self.bag.messages({camera.camera_info}), 1):
                output.calibrate(camera, message.raw)
                self.metres.calibrate(camera, message.raw)
        left = {camera.topic: self.job.frames or math.inf for camera in self.cameras}
        for message in self.bag.messages({*by_topic, *calibrated, *self.metres.topics} - {""}):
            if message.topic in self.metres.topics:
                self.metres.take(message)
            elif message.topic in by_topic:
                if left[message.topic] > 0:
                    left[message.topic] -= 1
                    yield by_topic[message.topic], message
                elif not any(left.values()):
                    return
            for camera in calibrated.get(message.topic, ()):
                output.calibrate(camera, message.raw)
                self.metres.calibrate(camera, message.raw)

    def _summary(self, seconds: float, live: dict | None) -> dict:
        """The figures, JSON-ready; a run of which nothing could be read is a problem."""
        counted = self.total.summary()
        if not counted["frames"]["read"]:
            reasons = "; ".join(counted["frames"]["unread_first_reason"].values()) or "there is none"
            self.problems.append(f"no image could be read: {reasons}")
        elif self.truth:
            self.problems += self.truth.problems()
        truth_notes = self.truth.notes() if self.truth else []
        return {
            **origin(BY, self.model.identity),
            "classes": list(self.model.identity.class_names),
            "colours": self.model.identity.colours,
            "bag": self._bag_summary(),
            "settings": self.job.figure_settings(),
            "problems": self.problems,
            "notes": [
                *self.notes,
                *self._stamp_notes(),
                *truth_notes,
                *self._doubts(counted),
                *self.metres.notes(),
            ],
            **counted,
            "seconds": round(seconds, 3),
            "frames_per_second": round(counted["frames"]["in"] / seconds, 3) if seconds else None,
            "bands": self.bands.rows(),
            "coverage_bands": self.coverage_bands.rows(),
            "injected": {rain.name: rain.figures() for rain in self.rains},
            "truth": self.truth.figures() if self.truth else None,
            "planner": self.metres.figures(),
            "live": live,
            "versions": machine.versions(),
        }

    def _bag_summary(self) -> dict:
        first, last = self.bag.span_ns
        cameras = {}
        for camera in self.cameras:
            described = {"type": camera.type, "messages": camera.messages, "namespace": camera.namespace}
            counted = self.by_camera.get(camera.topic)
            cameras[camera.topic] = described | (counted.summary() if counted else {})
        return {
            "name": self.bag.path.name,
            "storage": self.bag.storage,
            "bytes": self.job.bytes(),
            "fingerprint": self.fingerprint,
            "seconds": (last - first) / 1e9,
            "messages": sum(topic.messages for topic in self.bag.topics),
            "cameras": cameras,
        }

    def _stamp_notes(self) -> list[str]:
        """A sentence for each camera whose stamps cannot be used."""
        notes = []
        for topic, counted in self.by_camera.items():
            unusable = counted.noted(UNSTAMPED) + counted.noted(REPEATED)
            if unusable:
                notes.append(
                    f"{topic}: {unusable} frames have a stamp that is 0 or repeats the one before: their "
                    "time is that of reception; the outputs keep the stamp"
                )
        return notes

    def _doubts(self, counted: dict) -> list[str]:
        """Why the figures of injected rain may mean less than they seem to."""
        raining = counted["rain"]["raining"]
        if not self.rains or not raining:
            return []
        return [
            f"the rain gate was open on {raining:.0%} of the frames before rain was injected: the bag is not "
            "dry, and the dry run that the injected rain is compared with was derained itself"
        ]


def _passed(summary: dict) -> bool | None:
    """None where nothing was required and nothing went wrong."""
    if summary["problems"] or any(judged["met"] is False for judged in summary["criteria"]):
        return False
    return True if summary["criteria"] else None


def names(cameras: Sequence[CameraTopic]) -> str:
    """The cameras' topics, for a message."""
    return ", ".join(camera.topic for camera in cameras)
