"""``ros2-derain ablate``: the papers' claims about their parts, tried again on our data.

Variants of one recipe are trained from several seeds, and compared pair by pair.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ros2_derain import resources
from ros2_derain.data import CAMVID_CLASSES
from ros2_derain.reporting import files, page, tables
from ros2_derain.validation import STRICT, read_yaml, refuse_unknown, validated

from ..options import positive
from . import LearningError, recipe, recipe_files, sources, trainer
from .checkpoints import LAST, read
from .recipe import Recipe
from .tasks import TASKS
from .tasks.papers import PaperTask

RESULT = "result.json"

EPILOG = """examples:
  ros2-derain ablate --data ~/data --only danet                 # one paper, into runs/ablate
  ros2-derain ablate --data ~/data --seeds 3 --steps 1000       # all of them
  ros2-derain ablate my.yaml --data ~/data --out /tmp/mine

Stopped by Ctrl-C, the same command resumes where it was: every variant and seed is a run of its own under
--out, with its result. The table is printed, and written as ablations.json, ablations.html and ablations.md.

The runs are short and our data is not the papers': a claim is about a direction, and the printed figures
stand beside ours for that, not for comparison. Runs of one seed see the same clips, so that a claim is
judged by the differences within each seed; behind ± is a standard deviation over the seeds.
"""

TEXTS = {"psnr_y_db": "PSNR-Y dB", "ssim_y": "SSIM-Y", "miou": "mIoU %"}
HEADINGS = ("paper", "claim", "printed", "ours", "difference (by seed)", "verdict")
COLUMNS = [tables.Column(heading, heading, str) for heading in HEADINGS]


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
    path = recipe_files.find(group.recipe)
    given = merged(read_yaml(path, "recipe", LearningError), group.variants[name])
    given = merged(given, {"seed": seed, **({"steps": steps} if steps else {})})
    return recipe_files.parse(given, f"{group.recipe}, variant {name}")


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
        if not recipe.changes(recipe_files.parse(stored["recipe"], str(result)), chosen):
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Try the papers' claims about their parts again, in a reduced setting."
    parser.epilog = EPILOG
    parser.add_argument("ablations", nargs="?", type=Path, help="YAML file (default: config/ablations.yaml)")
    parser.add_argument("--data", type=Path, help="data folder (default: the environment's ROS2_DERAIN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"), help="folder (default: runs/ablate)")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="these groups alone")
    parser.add_argument("--seeds", type=positive(int), default=2, help="runs of every variant (default: 2)")
    parser.add_argument("--steps", type=positive(int), default=600, help="length of every run (default: 600)")
    parser.add_argument("--workers", type=positive(int), help="processes that make clips (default: by cores)")


def main(args: argparse.Namespace) -> int:
    """Train what is missing, print and write the table; returns the exit status."""
    path = args.ablations or resources.path("config/ablations.yaml")
    groups = load(path)
    unknown = sorted(set(args.only or ()) - set(groups))
    if unknown:
        raise LearningError(f"--only: no group {', '.join(unknown)} in {path}; known: {', '.join(groups)}")
    folder = sources.folder(args.data)
    rows = []
    for name in args.only or groups:
        group = groups[name]
        found = _figures(group, folder, args.out / name, args)
        if found is None:
            return 130
        for claim in group.claims:
            figures = ([each[claim.figure] for each in found[variant]] for variant in claim.pair)
            rows.append({"paper": name, **verdict(claim, *figures)})
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {"steps": args.steps, "seeds": args.seeds}
    cells = [dict(zip(HEADINGS, _cells(row), strict=True)) for row in rows]
    files.write_json(args.out / "ablations.json", {"settings": settings, "rows": rows})
    page.write(report(cells, settings), args.out / "ablations.html")
    files.write_text(args.out / "ablations.md", tables.markdown(cells, COLUMNS) + "\n")
    print(tables.table(cells, COLUMNS))
    return 0


def _figures(group: Group, folder: Path, out: Path, args: argparse.Namespace) -> dict | None:
    """Variant -> figures of every seed; None when a signal ended it."""
    recipes = {
        name: [variant(group, name, seed, args.steps) for seed in range(1, args.seeds + 1)]
        for name in group.variants
    }
    for claim in group.claims:
        for name in claim.pair:
            check_measurable(claim, name, recipes[name][0])
    found: dict[str, list[dict]] = {name: [] for name in recipes}
    for index in range(args.seeds):
        for name, seeds in recipes.items():
            run = out / f"{name}-{index + 1}"
            figures = measured(seeds[index], folder, run, args.workers)
            if figures is None:
                return None
            found[name].append(figures)
    return found


def _cells(row: dict) -> tuple[str, ...]:
    """A row as text, in the order of :data:`HEADINGS`."""
    digits = 4 if row["figure"] == "ssim_y" else 2

    def figure(value: float, deviation: float | None, sign: str = "") -> str:
        spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
        return f"{value:{sign}.{digits}f}{spread}"

    differences = ", ".join(f"{value:+.{digits}f}" for value in row["differences"])
    return (
        row["paper"],
        f"{row['says']} ({TEXTS[row['figure']]}; {row['where']})",
        " / ".join(f"{value:g}" for value in row["printed"]),
        " / ".join(map(figure, row["ours"], row["deviations"])),
        f"{figure(row['difference'], row['spread'], '+')} ({differences})",
        row["verdict"],
    )


def report(cells: list[dict[str, str]], settings: dict[str, int]) -> page.Report:
    """The table as a page.

    Args:
        cells: of every row, by heading.
        settings: ``steps`` and ``seeds`` of the runs.
    """
    text = (
        "Pairs of figures are better / worse by the claim; the papers' are on their data, by their protocol."
    )
    return page.Report(
        title="Ablations",
        subtitle=f"{settings['seeds']} seeds of {settings['steps']} steps each",
        verdict="Claims of the papers, tried again.",
        sections=[page.Table("Claims", text, *tables.cells(cells, COLUMNS))],
    )
