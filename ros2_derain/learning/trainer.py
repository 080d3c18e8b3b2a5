"""One training run: start or resume it, and leave its checkpoints and records in its folder."""

from __future__ import annotations

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

from ros2_derain import machine
from ros2_derain.data.images import DataError

from . import LearningError, recipe, sources
from .callbacks import Averaging, Guard, History, Progress, Seeds, Stop
from .checkpoints import LAST, AtomicFiles, Checkpoints, Journal, read, recipe_of, start_from
from .clips import Batches, Clips, default_workers, loader
from .recipe import Recipe
from .tasks import TASKS

_IRRELEVANT_WARNINGS = (
    "You're resuming from a checkpoint that ended before",  # the sampler resumes exactly
    "The 'train_dataloader' does not have many workers",
    ".*LeafSpec",  # Lightning calls what torch has renamed
    ".*GPU available but not used",
    ".*no CUDA-capable device.*",
    "Found .* in eval mode at the start of training",  # frozen features, and batch statistics
    "It is recommended to use .*sync_dist=True",  # each process logs its own share
)


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
    """Train, or resume a training; leaves its files in ``out`` (see ``ros2-derain train --help``).

    Args:
        chosen: the recipe.
        folder: the data.
        out: the run's folder.
        resume: from its ``last.ckpt``.
        steps, minutes: length of this session; by default all that the recipe has left.
        workers: processes that make clips; by default by this machine's cores.
        start: ``time.monotonic()`` when the session began.

    Returns:
        the signal that stopped the run, or None.

    Raises:
        LearningError: the run cannot be started or resumed, or failed; the message says why.
    """
    former = _former(out, chosen, resume)
    done = former["global_step"] if former else 0
    if done >= chosen.steps:
        _say(f"{out}: all {chosen.steps} steps are done; `ros2-derain export {out}` makes a model of them")
        return None
    world = int(os.environ.get("WORLD_SIZE", 1))
    batches = Batches(chosen.batch, done, int(os.environ.get("RANK", 0)), world)
    clips = Clips(
        sources.sources(chosen.sources, chosen.datasets, folder),
        chosen.clips,
        chosen.seed,
        sources.streak_layers(chosen.streaks, folder),
    )
    task = _task(chosen, folder)
    if former:
        journal = Journal(former["journal"]["started_from"], former["journal"]["seconds"])
    else:
        journal = Journal(start_from(task, chosen), {})
    out.mkdir(parents=True, exist_ok=True)
    averaging, guard = Averaging(chosen.averaging), Guard(chosen.optimiser.clip, chosen.max_skipped)
    checkpoints = Checkpoints(out, chosen, journal, averaging, folder)
    with _quiet(), _errors_in_one_line(), Stop(minutes, start or time.monotonic()) as stop:
        trainer = lightning.Trainer(
            max_steps=min(chosen.steps, done + steps) if steps else chosen.steps,
            callbacks=[Seeds(chosen.seed), guard, averaging, stop, checkpoints, Progress(chosen.steps)],
            logger=_loggers(out, done),
            log_every_n_steps=chosen.log_every,
            precision="bf16-mixed" if _in_bfloat16(chosen.precision) else "32-true",
            plugins=[AtomicFiles()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **_devices(world),
        )
        batches_ahead = loader(clips, batches, workers or default_workers(world))
        trainer.fit(task, batches_ahead, ckpt_path=out / LAST if former else None, weights_only=True)
    if trainer.is_global_zero:
        _report(out, chosen, trainer.global_step, guard.skipped, stop.signal)
    return stop.signal


def _former(out: Path, chosen: Recipe, resume: bool) -> dict | None:
    """The checkpoint to resume from, or None for a new run."""
    last = out / LAST
    if not resume:
        if last.exists():
            raise LearningError(f"{out} holds a run already: add --resume, or choose another --out")
        return None
    if not last.exists():
        raise LearningError(f"nothing to resume: {last} is missing; start the run without --resume")
    former = read(last)
    changed = recipe.changes(recipe_of(former, last), chosen)
    if changed:
        raise LearningError(
            f"the recipe is not the one that {out} began with ({'; '.join(changed)}): restore it to resume, "
            f"or start another run from these weights with `init: {out}`"
        )
    return former


def _task(chosen: Recipe, folder: Path) -> lightning.LightningModule:
    torch.manual_seed(chosen.seed)
    return TASKS[chosen.task](chosen, sources.class_pixels(folder)).to(memory_format=torch.channels_last)


def _in_bfloat16(precision: str) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.get_device_capability()[0] >= 8
    return machine.cpu_computes_bfloat16()


def _devices(world: int) -> dict[str, Any]:
    """One device, or one for each process of torchrun."""
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
    """Of Lightning only warnings that matter."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in _IRRELEVANT_WARNINGS:
            warnings.filterwarnings("ignore", text)
        yield


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Errors of data workers and devices as a LearningError of one line."""
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
            "a process that makes clips was killed, perhaps out of memory: "
            "resume with --resume and fewer --workers"
        ) from error


def _report(out: Path, chosen: Recipe, step: int, skipped: int, signal_: int | None) -> None:
    text = f"{out}: step {step} of {chosen.steps}"
    if skipped:
        text += f", {skipped} of them skipped (loss or gradient not finite)"
    if signal_:
        text += f", stopped by {signal.Signals(signal_).name}"
    if step < chosen.steps:
        text += f"; the same command with --resume continues from {out / LAST}"
    _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
