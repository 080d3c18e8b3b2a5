"""``ros2-derain train``: runs one recipe, or a queue of recipes each from the weights of the one before."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from ros2_derain.data.images import DataError
from ros2_derain.reporting import files
from ros2_derain.validation import read_yaml

from ..options import positive
from . import LearningError, recipe_files, sources, trainer
from .checkpoints import LAST, read
from .recipe import Recipe

PROGRESS = "progress.json"

EPILOG = """examples:
  ros2-derain train loopnet --data ~/data                     # the shipped recipe, into runs/loopnet
  ros2-derain train loopnet --data ~/data --resume            # on from its last checkpoint
  ros2-derain train loopnet --data ~/data --minutes 8         # a session; then the same with --resume
  ros2-derain train my.yaml --data ~/data --steps 1 --out /tmp/one-step
  ros2-derain train --queue queue.yaml --data ~/data          # recipes one after another, into runs/queue
  torchrun --nproc-per-node 4 -m ros2_derain.cli train loopnet --data ~/data    # four GPUs

The run's folder holds last.ckpt (all there is to resume, on any machine: copy it to move the run),
best.ckpt (where the recipe validates), run.yaml (draft of the model card) and metrics.csv.
TensorBoard's logs are written too where it is installed: pip install tensorboard.
Ctrl-C and SIGTERM finish the step and write a checkpoint. `ros2-derain export` makes a model of runs.

A queue is a YAML list of recipes, [derain, my.yaml]: each starts from the parts that those before it
trained. Its folder has a run's folder for each and progress.json. The same command resumes it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Train a model by a recipe; stop and resume anywhere."
    parser.epilog = EPILOG
    parser.add_argument("recipe", nargs="?", help="YAML file, or the name of one in config/recipes")
    parser.add_argument("--queue", type=Path, metavar="FILE", help="run the recipes of this list in turn")
    parser.add_argument("--data", type=Path, help="data folder (default: the environment's ROS2_DERAIN_DATA)")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="resume from the run's last checkpoint")
    parser.add_argument("--steps", type=positive(int), help="stop after this many steps; --resume continues")
    parser.add_argument("--minutes", type=positive(float), help="stop after this time; --resume continues")
    parser.add_argument("--workers", type=positive(int), help="processes that make clips (default: by cores)")


def main(args: argparse.Namespace) -> int:
    """Train a recipe or a queue of them; returns the exit status."""
    start = time.monotonic()
    if (args.recipe is None) == (args.queue is None):
        raise LearningError("No recipe: give the name of one, or a list of them with --queue.")
    if args.queue and (args.steps or args.resume):
        raise LearningError("--queue resumes by itself and takes no --steps: leave out --steps and --resume.")
    if args.queue:
        recipes, out = load_queue(args.queue), args.out or Path("runs") / args.queue.stem
        stopped = run_queue(recipes, sources.folder(args.data), out, args.minutes, args.workers, start)
    else:
        chosen = recipe_files.load(recipe_files.find(args.recipe))
        out, resume = args.out or Path("runs") / chosen.name, args.resume
        data, slice_ = sources.folder(args.data), {"steps": args.steps, "minutes": args.minutes}
        stopped = trainer.run(chosen, data, out, resume, workers=args.workers, start=start, **slice_)
    return 128 + stopped if stopped else 0


def load_queue(path: Path) -> list[Recipe]:
    """The recipes of a YAML list: names of shipped ones, or files, sought beside the list too.

    Raises:
        LearningError: the list or one of its recipes cannot be used.
    """
    names = read_yaml(path, "queue", LearningError)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise LearningError(f"{path}: expected a list of recipes, such as [derain, my.yaml]")
    beside = [path.parent / name for name in names]
    found = [str(file) if file.is_file() else name for file, name in zip(beside, names, strict=True)]
    return [recipe_files.load(recipe_files.find(name)) for name in found]


def run_queue(
    recipes: list[Recipe], data: Path, out: Path, minutes: float | None, workers: int | None, start: float
) -> int | None:
    """Train what is left of a queue; ``progress.json`` is written around every run.

    Args:
        recipes: in the order in which they are trained; each of its parts starts from the last run before
            it that trained this part, whatever its own ``init`` says of it.
        data: the data folder.
        out: each run has a folder in it, ``1-<name of the recipe>`` and so on.
        minutes: length of this session, all runs together; None: to the end.
        workers: processes that make clips; None: by this machine's cores.
        start: ``time.monotonic()`` when the session began.

    Returns:
        the signal that stopped it, or None.

    Raises:
        LearningError: as :func:`trainer.run`; images, labels or boxes of any recipe are missing.
    """
    runs = [out / f"{number}-{chosen.name}" for number, chosen in enumerate(recipes, 1)]
    _check_sources([r for r, run in zip(recipes, runs, strict=True) if _steps(run) < r.steps], data)
    former: dict[str, str] = {}
    for chosen, run in zip(recipes, runs, strict=True):
        chosen = replace(chosen, init=chosen.init | {p: former[p] for p in chosen.networks if p in former})
        _write_progress(out, recipes, runs)
        resume = (run / LAST).exists()
        stopped = trainer.run(chosen, data, run, resume, minutes=minutes, workers=workers, start=start)
        _write_progress(out, recipes, runs)
        over = minutes is not None and time.monotonic() >= start + 60 * minutes
        if stopped or over or _steps(run) < chosen.steps:
            return stopped
        former |= dict.fromkeys(chosen.networks, str(run))
    return None


def _check_sources(recipes: list[Recipe], data: Path) -> None:
    """Open the images of every recipe, so that what is missing is named before hours of training."""
    for chosen in recipes:
        try:
            sources.sources(chosen.sources, chosen.datasets, data)
        except DataError as error:
            message = f"recipe {chosen.name}: {error}; docs/training.md says what the recipes need"
            raise LearningError(message) from error


def _write_progress(out: Path, recipes: list[Recipe], runs: list[Path]) -> None:
    rows = [
        {"recipe": chosen.name, "run": run.name, "steps": _steps(run), "of": chosen.steps}
        for chosen, run in zip(recipes, runs, strict=True)
    ]
    files.write_json(out / PROGRESS, {"runs": rows})


def _steps(run: Path) -> int:
    """Steps that a run has done."""
    return int(read(run / LAST)["global_step"]) if (run / LAST).exists() else 0
