"""Recipe files: found by name, read from YAML, validated, completed with the defaults of their task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ros2_derain import resources
from ros2_derain.validation import read_yaml, refuse_unknown, validated

from . import LearningError
from .recipe import Network, Recipe
from .sources import SOURCES
from .tasks import TASKS

FORMER_KEYS = {"clips": {"storms": "rains"}, "options": {"teach_parser": "train_parser"}}
"""By section, keys of recipes in older checkpoints -> their present names."""


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of one in config/recipes.

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


def load(path: Path) -> Recipe:
    """A recipe from a YAML file, completed with the defaults of its task.

    The task's ``NETWORKS``, ``LOSS`` and ``OPTIONS`` say what a recipe may set.

    Raises:
        LearningError: the file cannot be read, or holds a key, type or value that no recipe has.
    """
    return parse(read_yaml(path, "recipe", LearningError), str(path))


def parse(data: Any, where: str) -> Recipe:
    """As :func:`load`, from plain data; ``where`` is named in the messages."""
    if isinstance(data, dict):
        data = {"name": Path(where).stem} | _full_form(data)
    recipe = validated(Recipe, data, where, LearningError)
    if recipe.task not in TASKS:
        raise LearningError(f"{where}: unknown task {recipe.task}; known: {', '.join(TASKS)}")
    task = TASKS[recipe.task]
    if recipe.validate_every and not hasattr(task, "validate"):
        raise LearningError(
            f"{where}: validate_every is {recipe.validate_every}, but task {recipe.task} has no validation"
        )
    if recipe.compile and not task.COMPILED:
        raise LearningError(f"{where}: compile is true, but task {recipe.task} has no network to compile")
    parts = {part: Network(network) for part, network in task.NETWORKS.items()} | recipe.networks
    init = dict.fromkeys(parts, recipe.init["*"]) if "*" in recipe.init else recipe.init
    for key, given, known in (
        ("networks", recipe.networks, task.NETWORKS),
        ("loss", recipe.loss, task.LOSS),
        ("options", recipe.options, task.OPTIONS),
        ("sources", recipe.sources, [*SOURCES, *recipe.datasets]),
        ("init", init, parts),
    ):
        refuse_unknown(given, known, f"{where}: {key}", LearningError)
    if min(recipe.sources.values(), default=-1) < 0 or not sum(recipe.sources.values()) > 0:
        raise LearningError(f"{where}: sources need weights of at least 0, not all of them 0")
    loss, options = task.LOSS | recipe.loss, task.OPTIONS | recipe.options
    return replace(recipe, networks=parts, init=init, loss=loss, options=options)


def _full_form(data: dict[str, Any]) -> dict[str, Any]:
    """The short forms of ``networks``, ``init`` and ``streaks`` written out, and former keys renamed."""
    full = dict(data)
    if isinstance(full.get("networks"), dict):
        full["networks"] = {
            part: {"network": given} if isinstance(given, str) else given
            for part, given in full["networks"].items()
        }
    if isinstance(full.get("init"), str):
        full["init"] = {"*": full["init"]}
    streaks = full.get("streaks")
    if isinstance(streaks, dict) and streaks and all(isinstance(every, int) for every in streaks.values()):
        full["streaks"] = {"pairs": {"pairs": streaks}}
    for section, names in FORMER_KEYS.items():
        if isinstance(full.get(section), dict):
            full[section] = {names.get(key, key): value for key, value in full[section].items()}
    return full
