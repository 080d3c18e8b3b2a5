"""The course of a replay: its bag, cameras and model, and what was found of every frame so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from ros2_derain.bags import BagDamaged, BagError
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.engine import Engine, LoadedModel
from ros2_derain.errors import EvaluationError
from ros2_derain.replay import charts, ground_truth, sources
from ros2_derain.replay.aggregate import BandTally, Tally
from ros2_derain.replay.camera import Camera, Processor, Seen
from ros2_derain.replay.ground_truth import Truth
from ros2_derain.replay.injected_rain import InjectedRain
from ros2_derain.replay.job import Job
from ros2_derain.replay.output_folder import DiskFull, Output
from ros2_derain.replay.sources import Source
from ros2_derain.replay.worst_frames import Worst


@dataclass
class Course:
    """A replay under way.

    Attributes:
        job: what is to be done.
        bag: open.
        found: its cameras.
        notes: why topics were left aside.
        model: shared by all cameras.
        rains: to inject.
        truth: of labels and boxes; None: nothing is known.
        problems: what went wrong with the whole of it, a sentence each.
        tally, bands, cameras: figures of all frames, by rain, by camera.
        points: of the curves.
        worst: frames to be shown.
    """

    job: Job
    bag: BagReader
    found: list[Source]
    notes: list[str]
    model: LoadedModel
    rains: list[InjectedRain]
    truth: Truth | None
    problems: list[str]
    tally: Tally = field(default_factory=Tally)
    bands: BandTally = field(default_factory=BandTally)
    cameras: dict[str, Tally] = field(default_factory=dict)
    points: list[dict] = field(default_factory=list)
    worst: Worst = field(default_factory=Worst)

    @classmethod
    def begin(cls, job: Job, bag: BagReader) -> Course:
        """Find the cameras of an open bag, and load the model.

        Raises:
            EvaluationError: there is no camera, or no such truth.
            EngineError: the device is not there.
            ModelError: the model does not load.
        """
        found, notes = sources.find(bag, job.topics, job.truth)
        if (job.truth or job.truth_boxes) and len(found) > 1:
            option = "--truth" if job.truth else "--truth-boxes"
            raise EvaluationError(f"{option} is of one camera: choose it with --topic, one of {names(found)}")
        model = LoadedModel.load(job.settings)
        rains = [InjectedRain(rate, job.seed, model) for rate in job.rates]
        known = ground_truth.find(bag, job, found[0].messages, model)
        return cls(job, bag, found, notes, model, rains, known, list(bag.cuts))

    @property
    def frames(self) -> int:
        """How many are to be looked at, by what the bag says of itself."""
        return sum(self._frames_of(source) for source in self.found)

    def pixels(self) -> int:
        """Of all frames, by each camera's first picture that can be read."""
        total = 0
        for source in self.found:
            try:
                height, width = self.bag.first_image(source.topic).shape[:2]
            except BagError:  # reported for every frame
                continue
            total += height * width * self._frames_of(source)
        return total

    def follow(
        self, output: Output, step: Callable[[], None], engines: Mapping[str, Processor] | None = None
    ) -> None:
        """Look at every frame; end early, with a problem, where the bag breaks off or the disk is full.

        Args:
            output: where it is written down.
            step: called after each frame.
            engines: by topic, what makes the scenes; None: the model, an engine for each camera.
        """
        settings = self.job.settings
        looking = {
            source.topic: Camera(
                source,
                number,
                self.model,
                settings,
                engines[source.topic] if engines else Engine.of(self.model, settings),
                [(rain, Engine.of(self.model, settings)) for rain in self.rains],
                self.worst,
                self.truth,
            )
            for number, source in enumerate(self.found)
        }
        try:
            for source, message in self._images(output):
                taken = looking[source.topic].take(self.bag, message)
                output.write(source, taken, message.received_ns, settings.confidence_threshold)
                self._add(taken)
                step()
        except (BagDamaged, DiskFull) as error:
            self.problems.append(str(error))

    def _add(self, taken: Seen | dict) -> None:
        record, spent = (taken.record, taken.milliseconds) if isinstance(taken, Seen) else (taken, None)
        camera = self.cameras.setdefault(record["camera"], Tally())
        for tally in (self.tally, self.bands, camera):
            tally.add(record, spent)
        self.points.append(charts.point(record, spent))

    def _frames_of(self, source: Source) -> int:
        return min(source.messages, self.job.frames or source.messages)

    def _images(self, output: Output) -> Iterator[tuple[Source, Message]]:
        """The images in the order of reception; calibrations go to the output on the way."""
        by_topic = {source.topic: source for source in self.found}
        calibrated: dict[str, list[Source]] = {}
        for source in self.found:
            calibrated.setdefault(source.camera_info, []).append(source)
        for source in self.found:  # an image may come before its own calibration
            for message in islice(self.bag.messages({source.camera_info}), 1):
                output.calibrate(source, message.raw)
        left = {source.topic: self.job.frames or math.inf for source in self.found}
        for message in self.bag.messages({*by_topic, *calibrated} - {""}):
            if message.topic in by_topic:
                if left[message.topic] > 0:
                    left[message.topic] -= 1
                    yield by_topic[message.topic], message
                elif not any(left.values()):
                    return
            for source in calibrated.get(message.topic, ()):
                output.calibrate(source, message.raw)


def names(found: list[Source]) -> str:
    """The cameras' topics, for a message."""
    return ", ".join(source.topic for source in found)
