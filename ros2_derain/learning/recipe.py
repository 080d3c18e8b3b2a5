"""A recipe: everything that a training run depends on. Its files: :mod:`.recipe_files`."""

from __future__ import annotations

import json
from dataclasses import asdict, field
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from ros2_derain import networks
from ros2_derain.validation import STRICT

from . import LearningError
from .clips import ClipSettings
from .random_rain import StreakStyle
from .sources import OwnSource

MAY_CHANGE = (
    "checkpoint_every",
    "checkpoint_minutes",
    "compile",
    "log_every",
    "max_skipped",
    "validate_every",
)
"""Keys that do not change what is learned: a run may be resumed with other values of them."""


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """The optimiser and its learning rate schedule (see ``tasks.base``).

    Attributes:
        name: adamw, adam or sgd (with Nesterov momentum 0.9).
        learning_rate: the peak.
        rates: share of the learning rate by part of the task, such as ``{parser: 0.1}``; 1 elsewhere. A
            part at 0 stays as it is.
        weight_decay: decoupled for adamw, an L2 penalty for the others.
        schedule: cosine (down to 1 %), poly (power 0.9), step or constant, over the run's steps.
        warm_up: steps in which the rate grows linearly to its peak, before the schedule.
        milestones, factor: at these steps ``step`` multiplies the rate by this factor.
        clip: largest L2 norm of the gradient of all weights; larger ones are scaled down to it.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, ge=1e-8, le=10)
    rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    schedule: Literal["cosine", "poly", "step", "constant"] = "cosine"
    warm_up: int = Field(default=200, ge=0)
    milestones: tuple[int, ...] = ()
    factor: float = Field(default=0.1, ge=0, le=1)
    clip: float = Field(default=1.0, ge=1e-6)

    def __post_init__(self) -> None:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("milestones belong to schedule: step, which needs at least one")
        if any(b <= a for a, b in zip((0, *self.milestones), self.milestones, strict=False)):
            raise ValueError(f"milestones must grow from 1, got {list(self.milestones)}")
        for part, share in self.rates.items():
            if not 0 <= share <= 1:
                raise ValueError(f"rates: {part} is {share:g}: must be at least 0 and at most 1")


@dataclass(frozen=True, config=STRICT)
class Network:
    """One part of a model: a network of :mod:`ros2_derain.networks` and its options, as in a model card."""

    network: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.network not in networks.names():
            raise ValueError(f"unknown network {self.network}; known: {', '.join(networks.names())}")

    def create(self) -> nn.Module:
        """The network, with fresh weights.

        Raises:
            LearningError: an option that the network does not have, or one that it refuses.
        """
        try:
            return networks.create(self.network, **self.options)
        except (TypeError, ValueError) as error:
            raise LearningError(f"network {self.network} with options {self.options}: {error}") from error


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """A training run.

    Attributes:
        name: of the run.
        task: what is trained, one of ``tasks.TASKS``.
        seed: of everything random.
        steps: length of the run.
        batch: clips per step, over all devices together.
        precision: bf16 (mixed), fp32, or auto: bf16 where the device computes in it.
        compile: whether the task's networks run through ``torch.compile``: faster after a slow first step.
        optimiser: and its learning rate schedule.
        averaging: decay of the exponential moving average of the weights, which is what is exported.
        networks: the parts that the task trains; the task has a default for those left out.
        init: where parts start from, by part: a model's name or folder, or a run's folder. One name
            for all of them: ``init: loopnet``.
        sources: weight of each source of clips (``sources.SOURCES``, ``datasets``).
        datasets: sources of the recipe's own, by name.
        streaks: styles of streak layers, by name, to be added to other photographs. Short form for one
            style of several folders of pairs: ``streaks: {rain100l_dev: 3, rain100h_dev: 3}``.
        clips: how clips are cut and rained on.
        loss: weights of the parts of the task's loss; the task has a default for those left out.
        options: further settings of the task, likewise.
        checkpoint_every, checkpoint_minutes: a checkpoint is due after this many steps or minutes,
            whichever comes first.
        validate_every: steps between validations of the averaged weights; 0 = none.
        log_every: steps between two rows of metrics.csv.
        max_skipped: the run ends when this many steps in a row had a loss or gradient that is not finite.
    """

    name: str
    task: str = "loop"
    seed: int = Field(default=1, ge=0, lt=2**31)
    steps: int = Field(default=5000, ge=1)
    batch: int = Field(default=4, ge=1)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    optimiser: Optimiser = field(default_factory=lambda: Optimiser())
    averaging: float = Field(default=0.998, ge=0, lt=1)
    networks: dict[str, Network] = field(default_factory=dict)
    init: dict[str, str] = field(default_factory=dict)
    sources: dict[str, float] = field(default_factory=lambda: {"camvid": 1.0})
    datasets: dict[str, OwnSource] = field(default_factory=dict)
    streaks: dict[str, StreakStyle] = field(default_factory=dict)
    clips: ClipSettings = field(default_factory=ClipSettings)
    loss: dict[str, float] = field(default_factory=dict)
    options: dict[str, float] = field(default_factory=dict)
    checkpoint_every: int = Field(default=500, ge=1)
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    validate_every: int = Field(default=0, ge=0)
    log_every: int = Field(default=25, ge=1)
    max_skipped: int = Field(default=10, ge=1)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the checkpoint and the model card: :func:`.recipe_files.parse` reads it back."""
        return json.loads(json.dumps(asdict(self)))


def changes(before: Recipe, now: Recipe) -> list[str]:
    """What differs between two recipes and changes what is learned: ``key: before -> now``."""
    old, new = _flat(before.as_dict()), _flat(now.as_dict())
    names = sorted({*old, *new} - set(MAY_CHANGE))
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by dots."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        result |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return result
