"""Around a training step: seeds, averaged weights, non-finite steps, time limit, progress, metrics.csv."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ros2_derain.reporting import files

from . import LearningError

METRICS = "metrics.csv"


class Seeds(Callback):
    """Seeds torch before each step by run, step and process.

    Random draws of a step (dropout, choices of the task) then depend on the step alone: a resumed
    run draws the same as an uninterrupted one, on any machine.
    """

    def __init__(self, seed: int):
        self._seed = seed

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        mixed = torch.tensor([self._seed, trainer.global_step, trainer.global_rank])
        primes = torch.tensor([1_000_003, 2_038_074_743, 15_485_863])
        torch.manual_seed(int((mixed * primes).sum()))


class Averaging(WeightAveraging):
    """Exponential moving average of the weights: what is validated and exported.

    Its decay grows as (1 + n) / (10 + n) up to ``decay``, n being the steps done, so that the
    first, random weights don't linger in a short run.
    """

    def __init__(self, decay: float):
        super().__init__(multi_avg_fn=self._average, use_buffers=True)
        self._decay = decay

    def task(self) -> lightning.LightningModule:
        """The task with the averaged weights."""
        assert self._average_model is not None, "training has begun"
        return cast(lightning.LightningModule, self._average_model.module)

    def _average(self, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        get_ema_multi_avg_fn(min(self._decay, (1 + n) / (10 + n)))(averaged, current, updates)


class Guard(Callback):
    """Clips the gradient; skips a step whose loss or gradient is not finite, and ends a run that has many.

    A skipped step leaves weights and optimiser as they were, and counts as a step done.

    Args:
        clip: largest L2 norm of the whole gradient.
        max_skipped: steps in a row.
    """

    def __init__(self, clip: float, max_skipped: int):
        self._clip, self._max_skipped = clip, max_skipped
        self.skipped, self._in_a_row = 0, 0
        self._finite = torch.tensor(True)

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_before_backward(self, trainer: lightning.Trainer, pl_module, loss: Tensor) -> None:
        self._finite = torch.isfinite(loss.detach()).all()

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module, optimizer) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, self._clip)
        rate = optimizer.param_groups[0]["lr"]
        pl_module.log_dict({"gradient": norm, "learning_rate": rate})
        finite = bool(self._finite & torch.isfinite(norm))
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            self._in_a_row = 0
            return
        optimizer.zero_grad(set_to_none=True)  # a weight without a gradient stays as it is
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self._in_a_row >= self._max_skipped:
            parts = ", ".join(f"{name} {value:.4g}" for name, value in trainer.callback_metrics.items())
            raise LearningError(
                f"step {trainer.global_step}: loss or gradient was not finite {self._in_a_row} times "
                f"in a row ({parts}); the last checkpoint is from before: lower the learning rate or check "
                "the data, then start again or resume with --resume"
            )


class Stop(Callback):
    """Ends a session of a run cleanly: when its minutes are over, on SIGTERM and on Ctrl-C.

    The current step is finished and a checkpoint written. A second signal ends the process at once.
    Use it as a context around ``trainer.fit``: it handles the signals in there.

    Args:
        minutes: of this session, or None.
        start: ``time.monotonic()`` when the session began.
    """

    def __init__(self, minutes: float | None, start: float):
        self._end = None if minutes is None else start + 60 * minutes
        self._former: dict[int, Any] = {}
        self.signal: int | None = None

    def __enter__(self) -> Stop:
        self._former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._take()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def on_train_start(self, *_: Any) -> None:
        self._take()  # from the trainer, whose handler for SIGTERM would leave without a checkpoint

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        over = self.signal is not None or (self._end is not None and time.monotonic() >= self._end)
        trainer.should_stop = trainer.strategy.reduce_boolean_decision(over, all=False)

    def _take(self) -> None:
        for number in self._former:
            signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = number


class Progress(Callback):
    """One line: steps done of the run's, steps per second, time left, loss.

    Updated in place on a terminal; written to a file twice a minute.
    """

    def __init__(self, steps: int):
        self._steps = steps
        self._bar = tqdm(disable=True)

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._bar = tqdm(
            total=self._steps,
            initial=trainer.global_step,  # so that the speed, and with it the time left, is this session's
            desc="training",
            unit="step",
            smoothing=0,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        loss = trainer.progress_bar_metrics.get("loss")
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, *_: Any) -> None:
        self._bar.close()

    def on_exception(self, *_: Any) -> None:
        self._bar.close()  # the message gets a line of its own


class History(Logger):
    """``metrics.csv``: one row per logged step; on a resume the rows after the checkpoint are dropped.

    A step's row comes after its checkpoint: a process killed between the two leaves no row of it.

    Args:
        folder: of the run.
        step: the checkpoint's, 0 for a new run.

    Raises:
        LearningError: the table cannot be read.
        OSError: it cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, step: int):
        super().__init__()
        self._path, self._folder, self._start = folder / METRICS, folder, step
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        return METRICS

    @property
    def version(self) -> str:
        return ""

    @property
    def root_dir(self) -> str:
        return str(self._folder)

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: run.yaml holds the recipe."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": step, **{key: f"{value:.6g}" for key, value in metrics.items() if key != "epoch"}}
        if not self._columns:
            self._begin(list(row))
        elif not row.keys() <= set(self._columns):
            rows = self._read()
            self._write(list(dict.fromkeys([*self._columns, *row])), rows)
        self._append(row)

    def _begin(self, columns: list[str]) -> None:
        """Keep what a former session wrote, up to its checkpoint."""
        rows = self._read() if self._start and self._path.exists() else []
        kept = [row for row in rows if _whole(row) and int(row["step"]) < self._start]
        self._write(list(dict.fromkeys([*(kept[0] if kept else ()), *columns])), kept)

    def _write(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        self._columns, text = columns, io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(self._path, text.getvalue())

    def _read(self) -> list[dict[str, str]]:
        try:
            with self._path.open(newline="") as file:
                return list(csv.DictReader(file))
        except (OSError, csv.Error, UnicodeDecodeError) as error:
            raise LearningError(f"{self._path} cannot be read: {error}; move it away to resume") from error

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)


def _whole(row: dict[str, str]) -> bool:
    """Whether it is complete: not the cut-off last line of a process that was killed."""
    return None not in row and None not in row.values() and row.get("step", "").isdigit()
