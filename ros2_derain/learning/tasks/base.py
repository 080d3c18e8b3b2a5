"""What all tasks share: the networks of a recipe, the weighted loss, the optimiser and its schedule."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, ClassVar

import lightning
import torch
from torch import Tensor, nn

from ros2_derain.learning import LearningError, losses
from ros2_derain.learning.recipe import Optimiser, Recipe

FLOOR = 0.01
"""The cosine schedule ends at this share of the peak."""

POWER = 0.9
"""Of the poly schedule (DeepLab, Chen et al. 2017, section 4.1)."""


CLASS_WEIGHT_POWER = 0.3
"""Weaker than usual: Lovasz-softmax favours the rare classes too."""


class Task(lightning.LightningModule):
    """A recipe, its networks, and the optimiser that it names.

    Each part of ``NETWORKS`` is an attribute of that name.

    Args:
        recipe: the run.
        class_pixels: number of pixels of each semantic class, for class weights.
    """

    NETWORKS: ClassVar[dict[str, str]] = {}
    """The parts of a model that are trained -> the default network of each."""
    LOSS: ClassVar[dict[str, float]] = {}
    """Default weights of the parts of the loss."""
    OPTIONS: ClassVar[dict[str, float]] = {}
    """Default values of further settings."""
    COMPILED: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Parts that the recipe's ``compile`` compiles -> those of their methods that the task calls."""

    class_weights: Tensor

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__()
        self.recipe = recipe
        weights = losses.class_weights(class_pixels, CLASS_WEIGHT_POWER)
        self.register_buffer("class_weights", weights, persistent=False)
        for part, network in recipe.networks.items():
            created = network.create()
            setattr(self, part, created)
            for method in self.COMPILED.get(part, ()) if recipe.compile else ():
                setattr(created, method, torch.compile(getattr(created, method)))

    def configure_optimizers(self) -> Any:
        return configure_optimiser(self.recipe, self)

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the loss's parts; logs both."""
        total = reduce(torch.add, (self.recipe.loss[name] * value for name, value in parts.items()))
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()})
        self.log("loss", total.detach(), prog_bar=True)
        return total


def add(parts: dict[str, Tensor], name: str, value: Tensor, share: float = 1.0) -> None:
    """``parts[name] += share * value``."""
    parts[name] = parts.get(name, 0.0) + share * value


def hold_statistics(module: nn.Module) -> None:
    """Batch statistics stay as they are. For ``on_train_start``: Lightning never calls ``train``."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def configure_optimiser(recipe: Recipe, task: nn.Module) -> dict[str, Any]:
    """Optimiser and learning rate schedule, as ``LightningModule.configure_optimizers`` returns them.

    Args:
        recipe: its ``optimiser`` and ``steps`` are used.
        task: has the parts as attributes; frozen weights are left out.

    Raises:
        LearningError: ``rates`` names a part that the task does not have.
    """
    settings = recipe.optimiser
    trained = _groups(task, settings)
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer: torch.optim.Optimizer
    if settings.name == "sgd":
        optimizer = torch.optim.SGD(trained, rate, momentum=0.9, nesterov=True, weight_decay=decay)
    else:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.name]
        optimizer = kind(trained, rate, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(settings, recipe.steps, step)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _groups(task: nn.Module, settings: Optimiser) -> list[dict[str, Any]]:
    """The weights in groups of one learning rate each: at the full rate first, at 0 frozen."""
    parts = dict(task.named_children())
    unknown = sorted(set(settings.rates) - set(parts))
    if unknown:
        raise LearningError(
            f"optimiser: rates: no part {', '.join(unknown)} is trained; known: {', '.join(parts)}"
        )
    for name, share in settings.rates.items():
        if not share:
            parts[name].requires_grad_(False)
    groups: list[dict[str, Any]] = [
        {
            "params": [weight for weight in parts[name].parameters() if weight.requires_grad],
            "lr": share * settings.learning_rate,
        }
        for name, share in settings.rates.items()
        if share
    ]
    apart = {weight for group in groups for weight in group["params"]}
    rest = [weight for weight in task.parameters() if weight.requires_grad and weight not in apart]
    return [{"params": rest}, *groups]


def rate_factor(settings: Optimiser, steps: int, step: int) -> float:
    """Share of the peak learning rate at a step, 0..1.

    Args:
        settings: name of the schedule, warm-up, milestones.
        steps: length of the run.
        step: 0-based.
    """
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = min(1.0, (step - settings.warm_up) / max(1, steps - settings.warm_up))
    if settings.schedule == "cosine":
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
    if settings.schedule == "poly":
        return (1 - done) ** POWER
    if settings.schedule == "step":
        return settings.factor ** sum(step >= milestone for milestone in settings.milestones)
    return 1.0
