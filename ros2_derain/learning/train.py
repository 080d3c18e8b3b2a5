"""``ros2-derain train RECIPE``: runs a recipe, resumes it, keeps its checkpoints."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from ros2_derain.data.images import DataError

from ..options import positive
from . import data, recipe
from .callbacks import Averaging, Guard, Progress, Seeds, Slice
from .checkpoints import LAST, Checkpoints, WholeFiles, read
from .clips import Clips
from .errors import LearningError
from .history import History
from .initial import start_from
from .recipe import Recipe
from .run_card import Journal
from .sampler import Batches, default_workers, loader
from .tasks import TASKS

EPILOG = """examples:
  ros2-derain train loopnet --data ~/data                     # the shipped recipe, into runs/loopnet
  ros2-derain train loopnet --data ~/data --resume            # on from its last checkpoint
  ros2-derain train loopnet --data ~/data --minutes 8         # a slice; then the same with --resume
  ros2-derain train my.yaml --data ~/data --steps 1 --out /tmp/one-step
  torchrun --nproc-per-node 4 -m ros2_derain.cli train loopnet --data ~/data    # four GPUs

The run's folder holds last.ckpt (all there is to resume, on any machine: copy it to move the run),
best.ckpt (where the recipe validates), run.yaml (draft of the model card) and metrics.csv.
TensorBoard's logs are written too where it is installed: pip install tensorboard.
Ctrl-C and SIGTERM finish the step and write a checkpoint. `ros2-derain export` makes a model of runs.
"""

_CHATTER = (
    "You're resuming from a checkpoint that ended before",  # the sampler resumes exactly
    "The 'train_dataloader' does not have many workers",
    ".*LeafSpec",  # Lightning calls what torch has renamed
    ".*GPU available but not used",
    ".*no CUDA-capable device.*",
    "Found .* in eval mode at the start of training",  # frozen features, and batch statistics
    "It is recommended to use .*sync_dist=True",  # each process logs its own share
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train a model by a recipe; stop and go on anywhere."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", help="YAML file, or the name of one in config/recipes")
    parser.add_argument("--data", type=Path, help="data folder (default: the environment's ROS2_DERAIN_DATA)")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name of the recipe>)")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument("--steps", type=positive(int), help="stop after so many steps; --resume goes on")
    parser.add_argument("--minutes", type=positive(float), help="stop after this time; --resume goes on")
    parser.add_argument("--workers", type=positive(int), help="processes that make clips (default: by cores)")


def main(args: argparse.Namespace) -> int:
    start = time.monotonic()
    chosen = recipe.load(recipe.find(args.recipe), TASKS)
    out = args.out or Path("runs") / chosen.name
    stopped = run(
        chosen,
        data.folder(args.data),
        out,
        resume=args.resume,
        steps=args.steps,
        minutes=args.minutes,
        workers=args.workers,
        start=start,
    )
    return 128 + stopped if stopped else 0


def run(
    chosen: Recipe,
    folder: Path,
    out: Path,
    resume: bool = False,
    steps: int | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    start: float | None = None,
) -> int | None:
    """Train, or go on training; leaves its files in ``out`` (see the command's help).

    Args:
        chosen: the recipe.
        folder: the data.
        out: the run's folder.
        resume: go on from its ``last.ckpt``.
        steps, minutes: length of this slice; by default all that the recipe has left.
        workers: processes that make clips; by default by this machine's cores.
        start: ``time.monotonic()`` when the slice began.

    Returns:
        the signal that stopped the run, or None.

    Raises:
        LearningError: see the message.
    """
    former = _former(out, chosen, resume)
    done = former["global_step"] if former else 0
    if done >= chosen.steps:
        _say(f"{out}: all {chosen.steps} steps are done; `ros2-derain export {out}` makes a model of them")
        return None
    world = int(os.environ.get("WORLD_SIZE", 1))
    batches = Batches(chosen.batch, done, int(os.environ.get("RANK", 0)), world)
    layers = data.streaks(chosen.streaks, folder)
    clips = Clips(data.sources(chosen.sources, chosen.datasets, folder), chosen.clips, chosen.seed, layers)
    task = _task(chosen, folder)
    told = former["journal"] if former else {"started_from": start_from(task, chosen), "seconds": {}}
    out.mkdir(parents=True, exist_ok=True)
    journal = Journal(told["started_from"], told["seconds"])
    averaging, guard = Averaging(chosen.averaging), Guard(chosen.optimiser.clip, chosen.max_skipped)
    checkpoints = Checkpoints(out, chosen, journal, averaging, folder)
    with _quiet(), _errors_in_one_line(), Slice(minutes, start or time.monotonic()) as part:
        trainer = lightning.Trainer(
            max_steps=min(chosen.steps, done + steps) if steps else chosen.steps,
            callbacks=[Seeds(chosen.seed), guard, averaging, part, checkpoints, Progress(chosen.steps)],
            logger=_loggers(out, done),
            log_every_n_steps=chosen.log_every,
            precision="bf16-mixed" if chosen.precision == "bf16" else "32-true",
            plugins=[WholeFiles()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **_devices(world),
        )
        made = loader(clips, batches, workers or default_workers(world))
        trainer.fit(task, made, ckpt_path=out / LAST if former else None, weights_only=True)
    if trainer.is_global_zero:
        _report(out, chosen, trainer.global_step, guard.skipped, part.signal)
    return part.signal


def _former(out: Path, chosen: Recipe, resume: bool) -> dict | None:
    """The checkpoint to go on from, or None for a new run."""
    last = out / LAST
    if not resume:
        if last.exists():
            raise LearningError(f"{out} holds a run already; add --resume to go on or choose another --out")
        return None
    if not last.exists():
        raise LearningError(f"nothing to resume: {last} is missing; start the run without --resume")
    former = read(last)
    changed = recipe.changes(former["recipe"], chosen.as_dict())
    if changed:
        raise LearningError(
            f"the recipe is not the one that {out} began with ({'; '.join(changed)}): put it back to go on, "
            f"or start another run from these weights with `init: {out}`"
        )
    return former


def _task(chosen: Recipe, folder: Path) -> lightning.LightningModule:
    torch.manual_seed(chosen.seed)
    return TASKS[chosen.task](chosen, data.class_pixels(folder)).to(memory_format=torch.channels_last)


def _devices(world: int) -> dict[str, Any]:
    """One device, or those that torchrun gave the processes that train together."""
    if world == 1:
        return {"accelerator": "auto", "devices": 1}
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    return {
        "accelerator": "auto",
        "devices": local,
        "num_nodes": world // local,
        "strategy": "ddp_find_unused_parameters_true",
        "sync_batchnorm": torch.cuda.is_available(),  # torch has it for GPUs only
    }


def _loggers(out: Path, done: int) -> list[Logger]:
    loggers: list[Logger] = [History(out, done)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard", purge_step=done or None))
    return loggers


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning speaks only where something is wrong."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in _CHATTER:
            warnings.filterwarnings("ignore", text)
        yield


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """What data workers and devices raise, as a LearningError of one line."""
    try:
        yield
    except (DataError, LearningError) as error:  # a worker's comes with its traceback
        last = str(error).strip().splitlines()[-1]
        raise LearningError(
            last.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
        ) from error
    except torch.OutOfMemoryError as error:
        raise LearningError("the device's memory is full: use smaller clips or a smaller batch") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LearningError(
            "a process that makes clips was killed, perhaps for want of memory: "
            "go on with --resume and fewer --workers"
        ) from error


def _report(out: Path, chosen: Recipe, step: int, skipped: int, signal_: int | None) -> None:
    text = f"{out}: step {step} of {chosen.steps}"
    if skipped:
        text += f", {skipped} of them skipped (loss or gradient not finite)"
    if signal_:
        text += f", stopped by {signal.Signals(signal_).name}"
    if step < chosen.steps:
        text += f"; the same command with --resume goes on from {out / LAST}"
    _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
