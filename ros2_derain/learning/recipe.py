"""A recipe: everything that a run depends on, read from YAML, checked by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from .clips import ClipSettings
from .errors import LearningError


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        name: of the run.
        task: ``loop`` (derainer and parser together) or ``gauge``.
        derainer, parser, gauge: options of the networks (see ros2_derain.networks).
        sources: weight of each source of clips: camvid, photographs, fog, coco.
        clips: how clips are cut and rained on.
        batch: clips per step.
        steps: length of the run; the learning rate follows a cosine down to 1 % over it.
        learning_rate, warm_up: peak of AdamW's rate, steps to reach it.
        coarse, semantic, objects: weights of the losses beside the restoration's.
        again: share of steps with a second refinement.
        without_prior: share of clips whose refinement sees no prior.
        decay: of the exponential moving average of the weights.
        seed: of everything random.
    """

    name: str = "loopnet"
    task: str = "loop"
    derainer: dict = field(default_factory=dict)
    parser: dict = field(default_factory=dict)
    gauge: dict = field(default_factory=dict)
    sources: dict = field(
        default_factory=lambda: {"camvid": 0.6, "photographs": 0.22, "fog": 0.13, "coco": 0.05}
    )
    clips: ClipSettings = field(default_factory=ClipSettings)
    batch: int = 4
    steps: int = 5000
    learning_rate: float = 1e-3
    warm_up: int = 200
    coarse: float = 0.5
    semantic: float = 0.1
    objects: float = 0.05
    again: float = 0.25
    without_prior: float = 0.2
    decay: float = 0.998
    seed: int = 1

    def as_dict(self) -> dict:
        """Plain data, for the model card."""
        return asdict(self)


def load(path: Path) -> Recipe:
    """A recipe from a YAML file.

    Raises:
        LearningError: the file is missing, no mapping, or holds a key that no recipe has.
    """
    if not path.exists():
        raise LearningError(f"recipe {path} is missing")
    data = yaml.safe_load(path.read_text())
    if not isinstance(data, dict):
        raise LearningError(f"recipe {path} is not a mapping of keys to values")
    clips = _checked(ClipSettings, data.pop("clips", {}), f"{path}: clips")
    return Recipe(**_checked(Recipe, data, str(path)).__dict__ | {"clips": clips})


def _checked(kind: type, data: dict, where: str):
    known = [item.name for item in fields(kind)]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise LearningError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(known)}")
    return kind(**data)
