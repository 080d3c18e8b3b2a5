"""A recipe: everything that a run depends on, read from YAML, checked by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from torch import nn

from ros2_derain import networks, resources

from .clips import ClipSettings
from .data import SOURCES, OwnSource
from .errors import LearningError
from .fields import build, flat, limited, refuse_unknown

if TYPE_CHECKING:
    from .tasks import Task

MAY_CHANGE = ("checkpoint_every", "checkpoint_minutes", "validate_every", "log_every", "max_skipped")
"""Keys that don't touch the weights: a run may go on with other values of them."""


@dataclass(frozen=True)
class Optimiser:
    """How weights follow gradients (see :mod:`optim`).

    Attributes:
        name: adamw, adam or sgd (with Nesterov momentum 0.9).
        learning_rate: its peak.
        rates: share of the learning rate by part of the task, such as ``{parser: 0.1}``; all of it elsewhere.
        weight_decay: decoupled for adamw, an L2 penalty for the others.
        schedule: cosine (down to 1 %), poly (power 0.9), step or constant, over the run's steps.
        warm_up: steps in which the rate grows linearly to its peak, before the schedule.
        milestones, factor: at these steps ``step`` multiplies the rate by this factor.
        clip: largest L2 norm of the gradient of all weights; larger ones are scaled down to it.
    """

    name: str = limited("adamw", choices=("adamw", "adam", "sgd"))
    learning_rate: float = limited(1e-3, low=1e-8, high=10)
    rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = limited(1e-4, low=0, high=1)
    schedule: str = limited("cosine", choices=("cosine", "poly", "step", "constant"))
    warm_up: int = limited(200, low=0)
    milestones: tuple[int, ...] = ()
    factor: float = limited(0.1, low=0, high=1)
    clip: float = limited(1.0, low=1e-6)

    def __post_init__(self) -> None:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("milestones belong to schedule: step, which needs at least one")
        if any(b <= a for a, b in zip((0, *self.milestones), self.milestones, strict=False)):
            raise ValueError(f"milestones must grow from 1, got {list(self.milestones)}")
        for part, share in self.rates.items():
            if not 0 < share <= 1:
                raise ValueError(f"rates: {part} is {share:g}, it must be above 0 and at most 1")


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        name: of the run.
        task: what is trained, one of ``tasks.TASKS``.
        seed: of everything random.
        steps: length of the run.
        batch: clips per step, over all devices together.
        precision: bf16 (mixed) or fp32.
        optimiser: and the schedule of its rate.
        averaging: decay of the exponential moving average of the weights, which is what is exported.
        networks: the parts that the task trains; those left out are the task's own choice.
        init: where parts start from, by part: a model's name or folder, or a run's folder. One name
            for all of them: ``init: loopnet``.
        sources: weight of each source of clips (``data.SOURCES``, ``datasets``).
        datasets: sources of the recipe's own, by name.
        streaks: folders of rain/clean pairs whose streaks fall on other photographs -> every how
            many-th pair is held out (``data.streaks``).
        clips: how clips are cut and rained on.
        loss: weights of the parts of the task's loss; those left out are the task's own choice.
        options: further settings of the task, likewise.
        checkpoint_every, checkpoint_minutes: a checkpoint after so many steps or minutes, whichever is first.
        validate_every: steps between validations of the averaged weights; 0 = none.
        log_every: steps between two rows of metrics.csv.
        max_skipped: the run ends when this many steps in a row had a loss or gradient that is not finite.
    """

    name: str
    task: str = "loop"
    seed: int = limited(1, low=0, high=2**31 - 1)
    steps: int = limited(5000, low=1)
    batch: int = limited(4, low=1)
    precision: str = limited("bf16", choices=("bf16", "fp32"))
    optimiser: Optimiser = field(default_factory=Optimiser)
    averaging: float = limited(0.998, low=0, below=1)
    networks: dict[str, Network] = field(default_factory=dict)
    init: dict[str, str] = field(default_factory=dict)
    sources: dict[str, float] = field(default_factory=lambda: {"camvid": 1.0})
    datasets: dict[str, OwnSource] = field(default_factory=dict)
    streaks: dict[str, int] = field(default_factory=dict)
    clips: ClipSettings = field(default_factory=ClipSettings)
    loss: dict[str, float] = field(default_factory=dict)
    options: dict[str, float] = field(default_factory=dict)
    checkpoint_every: int = limited(500, low=1)
    checkpoint_minutes: float = limited(5.0, low=0)
    validate_every: int = limited(0, low=0)
    log_every: int = limited(25, low=1)
    max_skipped: int = limited(10, low=1)

    def as_dict(self) -> dict:
        """Plain data, for the checkpoint and the model card."""
        return json.loads(json.dumps(asdict(self)))  # lists, not tuples: as it reads back


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of one that ships in config/recipes.

    Raises:
        LearningError: there is none; the message lists the shipped ones.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(resources.path("config/recipes").glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    raise LearningError(f"recipe {name} is missing: give a YAML file, or one of {', '.join(shipped)}")


def load(path: Path, tasks: Mapping[str, type[Task]]) -> Recipe:
    """A recipe from a YAML file, completed with the task's own choices.

    Args:
        path: see :func:`find`.
        tasks: by name; a task's ``NETWORKS``, ``LOSS`` and ``OPTIONS`` say what a recipe may set.

    Raises:
        LearningError: the file cannot be read, or holds a key, type or value that no recipe has.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LearningError(f"recipe {path} cannot be read: {' '.join(str(error).split())}") from error
    return parse(data, tasks, str(path))


def parse(data: Any, tasks: Mapping[str, type[Task]], where: str) -> Recipe:
    """As :func:`load`, from what YAML gave; ``where`` is named in the messages."""
    if isinstance(data, dict):
        data = {"name": Path(where).stem} | _spelt_out(data)
    recipe = build(Recipe, data, where)
    if recipe.task not in tasks:
        raise LearningError(f"{where}: unknown task {recipe.task}; known: {', '.join(tasks)}")
    task = tasks[recipe.task]
    if recipe.validate_every and not hasattr(task, "validate"):
        raise LearningError(
            f"{where}: validate_every is {recipe.validate_every}, but task {recipe.task} has none"
        )
    refuse_unknown(recipe.networks, task.NETWORKS, f"{where}: networks")
    refuse_unknown(recipe.loss, task.LOSS, f"{where}: loss")
    refuse_unknown(recipe.options, task.OPTIONS, f"{where}: options")
    refuse_unknown(recipe.sources, [*SOURCES, *recipe.datasets], f"{where}: sources")
    if min(recipe.sources.values(), default=-1) < 0 or not sum(recipe.sources.values()) > 0:
        raise LearningError(f"{where}: sources need weights of at least 0, not all of them 0")
    parts = {part: Network(network) for part, network in task.NETWORKS.items()} | recipe.networks
    init = dict.fromkeys(parts, recipe.init["*"]) if "*" in recipe.init else recipe.init
    refuse_unknown(init, parts, f"{where}: init")
    return replace(
        recipe,
        networks=parts,
        init=init,
        loss=task.LOSS | recipe.loss,
        options=task.OPTIONS | recipe.options,
    )


def changes(before: dict, now: dict) -> list[str]:
    """What differs between two recipes as plain data and touches the weights: ``key: before -> now``."""
    old, new = flat(before), flat(now)
    names = sorted({*old, *new} - set(MAY_CHANGE))
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _spelt_out(data: dict) -> dict:
    """The short forms ``networks: {gauge: rain_gauge}`` and ``init: NAME`` in full."""
    full = dict(data)
    if isinstance(full.get("networks"), dict):
        full["networks"] = {
            part: {"network": given} if isinstance(given, str) else given
            for part, given in full["networks"].items()
        }
    if isinstance(full.get("init"), str):
        full["init"] = {"*": full["init"]}
    return full
