"""Weights that a run starts from: parts of a model folder or of another run."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ros2_derain import models

from .checkpoints import BEST, LAST, read
from .errors import LearningError
from .recipe import Recipe
from .run_card import draft


def start_from(modules: nn.Module, recipe: Recipe) -> dict[str, dict]:
    """Load the parts that ``recipe.init`` names into the task's networks.

    Args:
        modules: has each part as an attribute.
        recipe: its ``init`` names a model (name or folder) or a run's folder by part.

    Returns:
        for the journal, by part: a model's name and sha256, or a run as its own journal tells it.

    Raises:
        LearningError: no such model or run, or its tensors are not those of the part.
    """
    origins = {}
    for part, name in recipe.init.items():
        tensors, origins[part] = _tensors(name, part)
        load_part(getattr(modules, part), part, tensors, f"init: {name}")
    return origins


def load_part(module: nn.Module, part: str, tensors: dict[str, Tensor], where: str) -> None:
    """Load tensors that must be exactly the module's.

    Raises:
        LearningError: names or shapes differ; the message lists some.
    """
    expected = module.state_dict()
    shapes = {key for key in expected.keys() & tensors.keys() if expected[key].shape != tensors[key].shape}
    for what, names in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has other tensors:", tensors.keys() - expected.keys()),
        ("has another shape of", shapes),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise LearningError(f"{where}: its {part} {what} {some}; give the {part} the same options")
    module.load_state_dict({key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()})


def best_checkpoint(run: Path) -> Path | None:
    """``best.ckpt`` of a run where there is one, else ``last.ckpt``, else None."""
    return next((run / name for name in (BEST, LAST) if (run / name).is_file()), None)


def part_of(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of a part, without its name in front."""
    prefix = f"{part}."
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _tensors(name: str, part: str) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a part of a run or a model, and what the journal says of it."""
    path = best_checkpoint(Path(name).expanduser())
    if path is not None:
        checkpoint = read(path)
        tensors = part_of(checkpoint["state_dict"], part)
        if not tensors:
            raise LearningError(f"init: run {name} trained no {part}")
        return tensors, draft(checkpoint["recipe"], checkpoint["journal"])
    try:
        card, loaded = models.load(models.find(name), (part,))
    except models.ModelError as error:
        raise LearningError(f"init: {error}") from error
    return loaded[part].state_dict(), {"model": card.name, "sha256": card.sha256}
