"""What the tasks share."""

from __future__ import annotations

import lightning
from torch import Tensor, nn

from ros2_derain.learning import optim
from ros2_derain.learning.recipe import Recipe


class Task(lightning.LightningModule):
    """A recipe, its networks, and the optimiser that it names.

    Each part of ``NETWORKS`` is an attribute of that name.

    Args:
        recipe: the run.
        class_pixels: how often each semantic class occurs, for class weights.
    """

    NETWORKS: dict[str, str] = {}
    """The parts of a model that are trained -> the network of each, unless the recipe says otherwise."""
    LOSS: dict[str, float] = {}
    """Weights of the parts of the loss, unless the recipe says otherwise."""
    OPTIONS: dict[str, float] = {}
    """Further settings, likewise."""

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__()
        self.recipe = recipe
        for part, network in recipe.networks.items():
            setattr(self, part, network.create())

    def configure_optimizers(self):
        return optim.configure(self.recipe, self)

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the loss's parts; logs them and it."""
        total = sum(self.recipe.loss[name] * value for name, value in parts.items())
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
