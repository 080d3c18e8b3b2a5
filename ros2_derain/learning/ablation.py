"""Ablations: variants of one recipe, trained from several seeds, compared pair by pair."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ros2_derain import metrics
from ros2_derain.data import CAMVID_CLASSES, CamVid
from ros2_derain.data.pairs import Pair, RainPairs
from ros2_derain.rain import RainRenderer
from ros2_derain.reporting import files

from . import recipe, train
from .checkpoints import LAST, read
from .errors import LearningError
from .fields import build, refuse_unknown
from .random_rain import storm
from .recipe import Recipe
from .tasks import TASKS, Task

FIGURES = ("psnr_y_db", "ssim_y", "miou")
"""What is measured of a variant: on held-out rain/clean pairs, and (mIoU, per cent) on rainy road scenes."""

RESULT = "result.json"
ROAD_SCENES = 10
"""Pictures of camvid/val for the mIoU, evenly spaced."""


@dataclass(frozen=True)
class Claim:
    """A paper's claim: one variant is better than another.

    Attributes:
        says: in words.
        where: table, data set and protocol of the printed figures.
        figure: one of :data:`FIGURES`.
        better, worse: names of variants.
        printed: the paper's figures of both.
    """

    says: str
    where: str
    figure: str
    better: str
    worse: str
    printed: tuple[float, float]

    @property
    def pair(self) -> tuple[str, str]:
        """The two variants."""
        return self.better, self.worse


@dataclass(frozen=True)
class Group:
    """The claims of one paper: a recipe, what the variants change in it, what is claimed of them."""

    recipe: str
    variants: dict[str, dict]
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        for claim in self.claims:
            refuse_unknown(claim.pair, self.variants, f"claim {claim.says!r}")
            refuse_unknown((claim.figure,), FIGURES, f"claim {claim.says!r}: figure")


def load(path: Path) -> dict[str, Group]:
    """The groups of a YAML file, by name.

    Raises:
        LearningError: the file cannot be read, or something in it is not known.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LearningError(f"ablations {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise LearningError(f"{path}: expected groups by name")
    return {name: _group(group, f"{path}: {name}") for name, group in given.items()}


def _group(given: Any, where: str) -> Group:
    if isinstance(given, dict) and isinstance(given.get("claims"), list):
        claims = [build(Claim, claim, f"{where}: claims") for claim in given["claims"]]
        given = {**given, "claims": ()}
        group = build(Group, given, where)
        try:
            return Group(group.recipe, group.variants, tuple(claims))
        except LearningError as error:
            raise LearningError(f"{where}: {error}") from error
    raise LearningError(f"{where}: recipe, variants and a list of claims are wanted")


def variant(group: Group, name: str, seed: int, steps: int | None) -> Recipe:
    """The recipe of a variant; ``steps`` replaces the length of the run.

    Raises:
        LearningError: the recipe does not allow the change.
    """
    path = recipe.find(group.recipe)
    given = merged(yaml.safe_load(path.read_text(encoding="utf-8")), group.variants[name])
    given = merged(given, {"seed": seed, **({"steps": steps} if steps else {})})
    return recipe.parse(given, TASKS, f"{group.recipe}, variant {name}")


def check_measurable(claim: Claim, name: str, chosen: Recipe) -> None:
    """
    Raises:
        LearningError: the claim's figure cannot be measured of the recipe of its variant ``name``.
    """
    if claim.figure == "miou":
        needs = "" if "parser" in chosen.networks else "a task with a parser"
    else:
        needs = "" if any(chosen.streaks.values()) else "held-out streaks in the recipe"
    if needs:
        raise LearningError(f"claim {claim.says!r}: {claim.figure} of {name} needs {needs}")


def merged(base: dict, changes: dict) -> dict:
    """``changes`` over ``base``, mapping by mapping; ``networks: {part: NAME}`` is spelt out first."""
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
        its figures; None when a signal stopped the training, which goes on the next time.
    """
    result = out / RESULT
    if result.is_file():
        stored = json.loads(result.read_text())
        if stored["recipe"] == chosen.as_dict():
            return stored["figures"]
        raise LearningError(f"{out} holds another recipe's result: remove it, or choose another --out")
    if train.run(chosen, folder, out, resume=(out / LAST).exists(), workers=workers):
        return None
    figures = score(_trained(chosen, out), chosen, folder)
    files.write_bytes(result, json.dumps({"recipe": chosen.as_dict(), "figures": figures}).encode())
    return figures


def _trained(chosen: Recipe, out: Path) -> Task:
    task = TASKS[chosen.task](chosen, [1] * len(CAMVID_CLASSES))
    task.load_state_dict(read(out / LAST)["state_dict"])
    return task.eval()


@torch.no_grad()
def score(task: Task, chosen: Recipe, folder: Path) -> dict[str, float]:
    """The figures of a task's weights: over the recipe's held-out pairs, and of the labels if it has any."""
    restored = [
        (_image(task.restore(_tensor(pair.rain))[0]), pair.clean)
        for name, every in chosen.streaks.items()
        if every
        for pair in _held_out(RainPairs(folder / "rain_pairs" / name), every)
    ]
    figures = {}
    if restored:
        figures["psnr_y_db"] = statistics.fmean(metrics.psnr_y(*images) for images in restored)
        figures["ssim_y"] = statistics.fmean(metrics.ssim_y(*images) for images in restored)
    if hasattr(task, "parser"):
        figures["miou"] = 100 * _road_miou(task, CamVid(folder / "camvid" / "val"))
    return figures


def _held_out(pairs: RainPairs, every: int) -> Iterator[Pair]:
    """Those whose streaks the recipe leaves out (see :func:`data.streaks`)."""
    return (pairs[index] for index in range(0, len(pairs), every))


def _road_miou(task: Task, scenes: CamVid) -> float:
    """Of the labels of rainy road scenes; the rain is the same for every variant and seed."""
    total = np.zeros((len(CAMVID_CLASSES), len(CAMVID_CLASSES) + 1), np.int64)
    for number, index in enumerate(np.linspace(0, len(scenes) - 1, min(ROAD_SCENES, len(scenes)), dtype=int)):
        sample = scenes[index]
        height, width = sample.image.shape[:2]
        rain = RainRenderer(storm(0, number, True).rain, height, width, seed=number).render(sample.image)
        logits = task.restore(_tensor(rain))[1]
        logits = torch.nn.functional.interpolate(logits, size=(height, width), mode="bilinear")
        labels = logits[0].argmax(0).to(torch.uint8).numpy()
        total += metrics.confusion(labels, sample.labels, len(CAMVID_CLASSES))
    return metrics.mean_iou(total)


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def _image(tensor: torch.Tensor) -> np.ndarray:
    return tensor[0].clamp(0, 1).mul(255).add(0.5).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def verdict(claim: Claim, better: list[float], worse: list[float]) -> dict:
    """What our figures say of a claim.

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
