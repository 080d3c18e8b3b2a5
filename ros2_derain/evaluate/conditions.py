"""One pass of a labelled clip: rain of one rate and seed, seen in one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ros2_derain.engine import Engine, Interpreter, Mode
from ros2_derain.evaluate import running
from ros2_derain.evaluate.labelled_clip import LabelledClip
from ros2_derain.evaluate.scores import ImageScore, Motions, ParserScore
from ros2_derain.metrics import Boxes
from ros2_derain.rain_media.rendering import RainOverlay

OWN = "own"
"""The model's own parser among all parsers."""


@dataclass(frozen=True)
class Way:
    """How the parser comes to its picture.

    Attributes:
        prior: of the loop; None: no loop, the parser is fed what the camera saw.
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


def ways(priors: Sequence[str], iterations: Sequence[int]) -> list[Way]:
    """Each way to run the loop: ``closed_loop`` with each number of iterations."""
    return [
        Way(prior, count) for prior in priors for count in (iterations if prior == "closed_loop" else (1,))
    ]


@dataclass(frozen=True)
class Subject:
    """What is scored, and against what.

    Attributes:
        engine: the model.
        others: further parsers by name, of the same classes.
        clip: pictures and labels.
        boxes: of each picture; None: boxes are not scored.
        motions: of the clip.
    """

    engine: Engine
    others: Mapping[str, Interpreter]
    clip: LabelledClip
    boxes: Sequence[Boxes] | None = None
    motions: Motions = field(default_factory=Motions)

    def parsers(self, way: Way) -> tuple[str, ...]:
        """Who looks at the pictures of a way: the others at the rain, and at what no prior restored."""
        return (OWN, *self.others) if way.prior in (None, "none") else (OWN,)


def measure(
    subject: Subject, rate: float, seed: int, way: Way, step: Callable[[], None] = lambda: None
) -> dict:
    """Everything about one pass, JSON-ready.

    Args:
        rate: of the rendered rain in mm/h.
        seed: of the rain.
        way: how the parser comes to its picture.
        step: called after each frame.

    Returns:
        ``image``: figures of what the parser is fed; ``parsers``: the figures of each parser;
        ``gauge`` of a loop: for each frame the rate that was read, whether the gate was open,
        whether the picture was left untouched.
    """
    engine = subject.engine
    identity = engine.identity
    scores = {
        name: ParserScore(identity.class_names, identity.object_names, subject.boxes)
        for name in subject.parsers(way)
    }
    gauge: dict[str, list] = {"read_mm_h": [], "gate_open": [], "untouched": []}
    quality = ImageScore()
    engine.reset()
    if way.prior:
        engine.restorer.settings = replace(
            engine.restorer.settings, prior=way.prior, iterations=way.iterations
        )
    overlay, previous = RainOverlay.of_rate(rate, seed), None
    for sample in subject.clip:
        image = rainy = overlay.render(sample.image, sample.time_s)
        motion = subject.motions.between(previous, sample)
        if way.prior:
            restored = running.restore(engine, rainy, sample.path, sample.time_s)
            scene = running.interpret(engine, restored, sample.path)
            image = scene.image
            scores[OWN].add(scene.perception, sample, motion)
            gauge["read_mm_h"].append(scene.rain.rate)
            gauge["gate_open"].append(scene.mode is not Mode.DRY)
            gauge["untouched"].append(bool(np.array_equal(image, rainy)))
        else:
            scores[OWN].add(engine.interpreter.interpret(rainy).perception, sample, motion)
        for name in scores.keys() - {OWN}:
            scores[name].add(subject.others[name].interpret(image).perception, sample, motion)
        quality.add(image, sample.image, motion)
        previous = sample
        step()
    return {
        "image": quality.figures(),
        "parsers": {name: score.figures() for name, score in scores.items()},
        "gauge": gauge if way.prior else None,
    }
