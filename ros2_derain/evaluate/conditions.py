"""The conditions of a perception evaluation: rain, seed and parser input; measuring them, and their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ros2_derain.engine import Engine, Interpreter, Perception
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.gate import GateReadings, summarise
from ros2_derain.evaluate.labelled_clip import LabelledClip, Motions, Sample
from ros2_derain.evaluate.scores import ImageScore, ParserScore, recovery
from ros2_derain.metrics import Boxes, Motion
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import statistics
from ros2_derain.reporting.progress import Progress

OWN = "own"
"""Name of the model's own parser among all parsers."""


@dataclass(frozen=True)
class ParserInput:
    """The image that the parser gets: the camera's, or the one that the loop restored.

    Attributes:
        prior: of the loop; None: no loop, the parser gets the camera's image.
        iterations: of the closed loop.
    """

    prior: str | None
    iterations: int = 1

    @property
    def name(self) -> str:
        """``rain``, ``temporal``, ``none`` or ``closed_loop x3``."""
        if self.prior == "closed_loop":
            return f"closed_loop x{self.iterations}"
        return self.prior or "rain"


CAMERA_IMAGE = ParserInput(None)


def restored_inputs(priors: Sequence[str], iterations: Sequence[int]) -> list[ParserInput]:
    """One for each prior; ``closed_loop`` with each number of iterations."""
    return [
        ParserInput(prior, count)
        for prior in priors
        for count in (iterations if prior == "closed_loop" else (1,))
    ]


@dataclass(frozen=True)
class Condition:
    """One pass over the clip.

    Attributes:
        rate: of the rendered rain in mm/h.
        seed: of the rain.
        input: of the parser.
    """

    rate: float
    seed: int
    input: ParserInput

    @property
    def key(self) -> str:
        """Identifies the condition in a cache."""
        return f"{self.rate:g} mm/h, seed {self.seed}, {self.input.name}"


@dataclass(frozen=True)
class PerceptionSetup:
    """A model, further parsers, and the labelled clip they are scored on.

    Attributes:
        engine: of the model.
        parsers: further parsers by name, of the same classes.
        clip: images and label maps.
        boxes: of each image; None: boxes are not scored.
        motions: of the clip.
    """

    engine: Engine
    parsers: Mapping[str, Interpreter]
    clip: LabelledClip
    boxes: Sequence[Boxes] | None = None
    motions: Motions = field(default_factory=Motions)

    def use(self, parser_input: ParserInput) -> None:
        """Run the loop with this prior and number of iterations from now on."""
        restorer = self.engine.restorer
        prior = parser_input.prior or "none"
        restorer.settings = replace(restorer.settings, prior=prior, iterations=parser_input.iterations)


def measure(setup: PerceptionSetup, condition: Condition, step: Callable[[], None] = lambda: None) -> dict:
    """The figures of one condition, JSON-ready.

    Further parsers get the camera's image, and the one restored without a prior.

    Args:
        setup: model and clip.
        condition: rain and parser input.
        step: called after each frame.

    Returns:
        ``image``: figures of the parser input, none of stills without rendered rain; ``parsers``: the
        figures of each parser; ``gauge``: the :class:`GateReadings` of the loop, None without a loop;
        ``groups``: the same of each group of frames, where there are groups.
    """
    engine, loop = setup.engine, condition.input.prior is not None
    parsers = setup.parsers if condition.input.prior in (None, "none") else {}
    clip, rendered = setup.clip, condition.rate > 0
    whole = FrameScores(setup, parsers, range(len(clip)), rendered)
    by_group = {
        group: FrameScores(setup, parsers, [k for k, one in enumerate(clip.groups) if one == group], rendered)
        for group in dict.fromkeys(clip.groups)
        if group
    }
    engine.reset()
    if loop:
        setup.use(condition.input)
    rain, previous = RainOverlay.of_rate(condition.rate, condition.seed), None
    for group, sample in zip(clip.groups, clip, strict=True):
        image = rainy = rain.render(sample.image, sample.time_s)
        motion = None if clip.stills else setup.motions.between(previous, sample)
        scene = None
        if loop:
            time_s = None if clip.stills else sample.time_s
            scene, perception = evaluation.process(engine, rainy, sample.path, time_s)
            image = scene.image
        else:
            perception = engine.interpreter.interpret(rainy).perception
        perceptions = {OWN: perception}
        perceptions |= {name: parser.interpret(image).perception for name, parser in parsers.items()}
        for scores in (whole, *(by_group[one] for one in (group,) if one)):
            scores.add(sample, image, perceptions, motion)
            if scene is not None:
                scores.readings.add(rainy, scene, engine.restorer.settings)
        previous = sample
        step()
    groups = {group: scores.figures() for group, scores in by_group.items()}
    return whole.figures() | ({"groups": groups} if groups else {})


class FrameScores:
    """Scores of some frames of a clip: the images, each parser's labels and boxes, and the gate's readings.

    Args:
        setup: model and clip.
        parsers: names of further parsers.
        frames: indices of the frames, in the order in which they are added.
        rendered: the rain was rendered, so that the frames without it are known.
    """

    def __init__(
        self, setup: PerceptionSetup, parsers: Iterable[str], frames: Sequence[int], rendered: bool
    ) -> None:
        identity, boxes, self._clip = setup.engine.identity, setup.boxes, setup.clip
        truth = None if boxes is None else [boxes[index] for index in frames]
        names = setup.clip.classes, identity.object_names
        self._parsers = {name: ParserScore(*names, truth) for name in (OWN, *parsers)}
        self._quality = ImageScore() if rendered or not setup.clip.stills else None
        self.readings = GateReadings()

    def add(
        self, sample: Sample, image: np.ndarray, perceptions: Mapping[str, Perception], motion: Motion | None
    ) -> None:
        """Add the next frame: its truth, the parser's input, and what each parser found in it."""
        for name, score in self._parsers.items():
            score.add(self._clip.in_classes(perceptions[name]), sample.labels, motion)
        if self._quality:
            self._quality.add(image, sample.image, motion)

    def figures(self) -> dict:
        """As :func:`measure` returns them."""
        unknown = {"flicker", "warp_error"} if self._clip.stills else set()
        if self._clip.stills and not self._clip.has_labels:
            unknown |= {"miou", "pixel_accuracy", "mean_accuracy", "iou", "accuracy"}

        def known(figures: dict) -> dict:
            return {key: value for key, value in figures.items() if key not in unknown}

        return {
            "image": known(self._quality.figures()) if self._quality else {},
            "parsers": {name: known(score.figures()) for name, score in self._parsers.items()},
            "gauge": self.readings.as_dict(),
        }


@dataclass(frozen=True)
class ConditionGrid:
    """All conditions of an evaluation, and the rows of their measurements.

    Attributes:
        rates: mm/h. The dry clip is always parsed: the other rows are compared with it.
        seeds: of the rain; the dry clip has only the first one.
        inputs: that the loop restores; the camera's image is always one more.
    """

    rates: Sequence[float]
    seeds: Sequence[int]
    inputs: Sequence[ParserInput]

    def __iter__(self) -> Iterator[Condition]:
        if 0 not in self.rates:
            yield Condition(0.0, self.seeds[0], CAMERA_IMAGE)
        for rate in self.rates:
            for seed in self._seeds(rate):
                yield from (Condition(rate, seed, each) for each in (CAMERA_IMAGE, *self.inputs))

    def _seeds(self, rate: float) -> Sequence[int]:
        return self.seeds if rate else self.seeds[:1]

    def rows(self, measured: Mapping[Condition, dict]) -> list[dict]:
        """A row for each rate, input and parser: the mean over the seeds, with its ``spread`` if several.

        With boxes, the rows in rain have their ``recovery``, for each class too.
        """
        cases = dict.fromkeys((condition.rate, condition.input) for condition in measured)
        rows = []
        for rate, parser_input in cases:
            each_seed = [measured[Condition(rate, seed, parser_input)] for seed in self._seeds(rate)]
            for parser in each_seed[0]["parsers"]:
                figures = [_figures(one, parser) for one in each_seed]
                label = _label(rate, parser_input, parser)
                row = {"rate_mm_h": rate, "input": label, **statistics.mean_row(figures)}
                spread = statistics.deviations(figures)
                rows.append(row | ({"spread": spread} if spread else {}))
        _add_recovery(rows)
        return rows

    def gauge(self, measured: Mapping[Condition, dict]) -> dict:
        """Fractions and means of the gate readings for each rate, and Spearman's correlation of the gauge."""
        first = self.inputs[0]
        readings = {
            (rate, seed): measured[Condition(rate, seed, first)]["gauge"]
            for rate in self.rates
            for seed in self._seeds(rate)
        }
        rows, spearman = summarise(readings)
        return {"way": first.name, "rates": rows, "spearman": spearman}


def _figures(one: Mapping, parser: str) -> dict:
    readings = one["gauge"] or {}
    means = {key: sum(readings[key]) / len(readings[key]) for key in ("read_mm_h", "gate_open") if readings}
    return {**means, **one["image"], **one["parsers"][parser]}


def _label(rate: float, parser_input: ParserInput, parser: str) -> str:
    own = parser_input.name if parser_input.prior or rate else "dry"
    if parser == OWN:
        return own
    return f"{parser}: {'derained' if parser_input.prior else own}"


def _add_recovery(rows: list[dict]) -> None:
    """``(AP - AP in rain) / (AP dry - AP in rain)``; None where rain cost nothing."""
    by_name = {(row["rate_mm_h"], row["input"]): row for row in rows}
    dry = by_name[0.0, "dry"]
    for row in rows:
        rain = by_name.get((row["rate_mm_h"], "rain"))
        if "boxes" not in row or rain is None or row is rain or ":" in row["input"]:
            continue
        row["recovery"] = recovery(row["ap50"], rain["ap50"], dry["ap50"])
        for name, figures in row["boxes"].items():
            others = [other["boxes"][name]["ap50"] for other in (rain, dry)]
            figures["recovery"] = recovery(figures["ap50"], *others)


def box_rows(rows: Sequence[Mapping]) -> list[dict]:
    """AP and recovery of each row and class, a row each."""
    return [
        {"rate_mm_h": row["rate_mm_h"], "input": row["input"], "class": name, **figures}
        for row in rows
        for name, figures in row.get("boxes", {}).items()
    ]


def measure_grid(setup: PerceptionSetup, grid: ConditionGrid, cache: ResultCache) -> dict[Condition, dict]:
    """The figures of every condition, as :func:`measure` returns them; shows the progress."""
    cases, length = list(grid), len(setup.clip)
    measured = {}
    with Progress("frames", len(cases) * length) as progress:
        for case in cases:
            if case.key in cache:
                progress.step(length)
            measured[case] = cache.get(case.key, partial(measure, setup, case, progress.step))
    return measured


@dataclass(frozen=True)
class GridEvaluation(Evaluation):
    """A model under the conditions of a grid.

    Attributes:
        setup: model and images.
        grid: the conditions.
    """

    setup: PerceptionSetup
    grid: ConditionGrid

    def card_rows(self, result: Mapping) -> list[dict]:
        """See :meth:`Evaluation.card_rows`: without the figures of each class and the spread."""
        left_out = ("iou", "accuracy", "spread")
        return [{key: value for key, value in row.items() if key not in left_out} for row in result["rows"]]
