"""Ablations: variants of one recipe, trained from several seeds, compared pair by pair."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ros2_derain.data import CAMVID_CLASSES
from ros2_derain.reporting import files
from ros2_derain.validation import STRICT, read_yaml, refuse_unknown, validated

from . import LearningError, recipe, trainer
from .checkpoints import LAST, read
from .recipe import Recipe
from .tasks import TASKS
from .tasks.papers import PaperTask

RESULT = "result.json"


@dataclass(frozen=True, config=STRICT)
class Claim:
    """A paper's claim: one variant is better than another.

    Attributes:
        says: in words.
        where: table, dataset and protocol of the printed figures.
        figure: what is measured of a variant: ``psnr_y_db`` and ``ssim_y`` on held-out rain/clean pairs,
            ``miou`` (per cent) on rainy road scenes.
        better, worse: names of variants.
        printed: the paper's figures of both.
    """

    says: str
    where: str
    figure: Literal["psnr_y_db", "ssim_y", "miou"]
    better: str
    worse: str
    printed: tuple[float, float]

    @property
    def pair(self) -> tuple[str, str]:
        """The two variants."""
        return self.better, self.worse


@dataclass(frozen=True, config=STRICT)
class Group:
    """The claims of one paper: a recipe, what the variants change in it, what is claimed of them."""

    recipe: str
    variants: dict[str, dict[str, Any]]
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        for claim in self.claims:
            refuse_unknown(claim.pair, self.variants, f"claim {claim.says!r}", ValueError)


def load(path: Path) -> dict[str, Group]:
    """The groups of a YAML file, by name.

    Raises:
        LearningError: the file cannot be read, or holds a key, type or name that is not known.
    """
    given = read_yaml(path, "ablations", LearningError)
    if not isinstance(given, dict):
        raise LearningError(f"{path}: expected groups by name")
    checked = {name: (group, f"{path}: {name}") for name, group in given.items()}
    return {name: validated(Group, *each, LearningError) for name, each in checked.items()}


def variant(group: Group, name: str, seed: int, steps: int | None) -> Recipe:
    """The recipe of a variant; ``steps`` replaces the length of the run.

    Raises:
        LearningError: the recipe does not allow the change.
    """
    path = recipe.find(group.recipe)
    given = merged(read_yaml(path, "recipe", LearningError), group.variants[name])
    given = merged(given, {"seed": seed, **({"steps": steps} if steps else {})})
    return recipe.parse(given, TASKS, f"{group.recipe}, variant {name}")


def check_measurable(claim: Claim, name: str, chosen: Recipe) -> None:
    """
    Raises:
        LearningError: the claim's figure cannot be measured of the recipe of its variant ``name``.
    """
    needs = ""
    if not issubclass(TASKS[chosen.task], PaperTask):
        needs = "task restore or ubcn"
    elif claim.figure == "miou" and "parser" not in chosen.networks:
        needs = "a task with a parser"
    elif claim.figure != "miou" and not any(any(style.pairs.values()) for style in chosen.streaks.values()):
        needs = "held-out streaks in the recipe"
    if needs:
        raise LearningError(f"claim {claim.says!r}: {claim.figure} of {name} needs {needs}")


def merged(base: dict, changes: dict) -> dict:
    """``changes`` over ``base``, mapping by mapping; ``networks: {part: NAME}`` is written out first."""
    result = dict(base)
    for key, value in changes.items():
        former = result.get(key)
        if isinstance(value, dict):
            former = {"network": former} if isinstance(former, str) else former or {}
            result[key] = merged(former, value)
        else:
            result[key] = value
    return result


def measured(chosen: Recipe, folder: Path, out: Path, workers: int | None = None) -> dict[str, float] | None:
    """Train a variant where it is not trained yet, score it where it is not scored yet.

    Returns:
        its figures; None when a signal stopped the training, which is resumed the next time.
    """
    result = out / RESULT
    if result.is_file():
        stored = json.loads(result.read_text())
        if not recipe.changes(recipe.parse(stored["recipe"], TASKS, str(result)), chosen):
            return stored["figures"]
        raise LearningError(f"{out} holds another recipe's result: remove it, or choose another --out")
    if trainer.run(chosen, folder, out, resume=(out / LAST).exists(), workers=workers):
        return None
    task = TASKS[chosen.task](chosen, [1] * len(CAMVID_CLASSES))
    task.load_state_dict(read(out / LAST)["state_dict"])
    assert isinstance(task, PaperTask), "see check_measurable"
    figures = task.eval().score(folder)
    files.write_json(result, {"recipe": chosen.as_dict(), "figures": figures})
    return figures


def verdict(claim: Claim, better: list[float], worse: list[float]) -> dict:
    """Whether our figures agree with a claim.

    Args:
        claim: of the paper.
        better, worse: the figure of the two variants for every seed, in one order.

    Returns:
        the claim's fields with ``ours`` (both means), ``deviations`` (over the seeds, of both),
        ``differences`` (better - worse of every seed: the two runs see the same clips), ``difference``
        and ``spread`` (their mean and standard deviation), and ``verdict``: ``agrees`` or ``disagrees`` by
        the sign, followed by ``, within the spread`` where that is at least as large. Deviations of one
        seed are None.
    """
    differences = [a - b for a, b in zip(better, worse, strict=True)]
    difference = statistics.fmean(differences)
    spread = _deviation(differences)
    words = "agrees" if difference > 0 else "disagrees"
    if spread is not None and abs(difference) <= spread:
        words += ", within the spread"
    return {
        "says": claim.says,
        "where": claim.where,
        "figure": claim.figure,
        "printed": list(claim.printed),
        "ours": [statistics.fmean(better), statistics.fmean(worse)],
        "deviations": [_deviation(better), _deviation(worse)],
        "differences": differences,
        "difference": difference,
        "spread": spread,
        "seeds": len(better),
        "verdict": words,
    }


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
