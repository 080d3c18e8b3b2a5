"""The optimiser and the schedule of its learning rate, from a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .errors import LearningError
from .recipe import Optimiser, Recipe

FLOOR = 0.01
"""The cosine ends at this share of the peak."""

POWER = 0.9
"""Of the poly schedule (DeepLab, Chen et al. 2017, section 4.1)."""


def configure(recipe: Recipe, task: nn.Module) -> dict[str, Any]:
    """What ``LightningModule.configure_optimizers`` returns.

    Args:
        recipe: its ``optimiser`` and ``steps`` count.
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
    """The weights in groups of one learning rate each: first those that have all of it."""
    parts = dict(task.named_children())
    unknown = sorted(set(settings.rates) - set(parts))
    if unknown:
        raise LearningError(
            f"optimiser: rates: no part {', '.join(unknown)} is trained; known: {', '.join(parts)}"
        )
    groups = [
        {
            "params": [weight for weight in parts[name].parameters() if weight.requires_grad],
            "lr": share * settings.learning_rate,
        }
        for name, share in settings.rates.items()
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
