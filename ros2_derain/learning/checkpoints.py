"""Checkpoints of a run: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ros2_derain.reporting import files

from .callbacks import Averaging
from .errors import LearningError
from .recipe import Recipe
from .run_card import Journal

LAST, BEST = "last.ckpt", "best.ckpt"


def read(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU, wherever it was written.

    Raises:
        LearningError: the file is missing, broken, or of something else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise LearningError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LearningError(f"checkpoint {path} is broken or no checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "recipe" not in checkpoint:
        raise LearningError(f"{path} is not a checkpoint of `ros2-derain train`: it holds no recipe")
    return checkpoint


class WholeFiles(TorchCheckpointIO):
    """How the trainer stores checkpoints: see :func:`files.write_bytes`."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: Any = None) -> None:
        buffer, path = io.BytesIO(), Path(path)
        torch.save(checkpoint, buffer)
        hint = f"; the former one is intact: make room, then go on with --resume: {path}"
        files.write_bytes(path, buffer.getbuffer(), hint if path.exists() else "")

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return read(Path(path))


class Checkpoints(Callback):
    """Keeps ``last.ckpt`` and ``run.yaml`` up to date, and ``best.ckpt`` where the task validates.

    A checkpoint is due after some steps, after some minutes, and when the run stops. It holds the
    recipe and the run's journal besides the trainer's state.

    Args:
        folder: of the run.
        recipe: says when a checkpoint or a validation is due.
        journal: of the run.
        averaging: holds the weights that are validated.
        data: the data folder, for the task's ``validate``.
    """

    def __init__(self, folder: Path, recipe: Recipe, journal: Journal, averaging: Averaging, data: Path):
        self._folder, self._recipe, self._journal = folder, recipe, journal
        self._averaging, self._data = averaging, data
        self._saved = time.monotonic()
        self._best = float("-inf")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = state_dict["best"]

    def on_save_checkpoint(self, trainer, pl_module, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self._recipe.as_dict()
        checkpoint["journal"] = self._journal.as_dict(trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        step, recipe = trainer.global_step, self._recipe
        better = recipe.validate_every > 0 and step % recipe.validate_every == 0 and self._validate(trainer)
        over = trainer.should_stop or step >= trainer.max_steps
        if over or better or step % recipe.checkpoint_every == 0 or self._minutes_are_over(trainer):
            self._save(trainer, (BEST, LAST) if better else (LAST,))

    def _minutes_are_over(self, trainer: lightning.Trainer) -> bool:
        due = time.monotonic() - self._saved >= 60 * self._recipe.checkpoint_minutes
        return trainer.strategy.reduce_boolean_decision(due, all=False)

    def _validate(self, trainer: lightning.Trainer) -> bool:
        """Whether the averaged weights score better than ever."""
        with torch.no_grad():
            scores = self._averaging.task().eval().validate(self._data)
        if "score" not in scores:
            raise LearningError(f"validation gave {', '.join(scores)} but no score to choose the best by")
        for logger in trainer.loggers:
            logger.log_metrics({f"val/{key}": value for key, value in scores.items()}, trainer.global_step)
        better = scores["score"] > self._best
        self._best = max(self._best, scores["score"])
        return better

    def _save(self, trainer: lightning.Trainer, names: tuple[str, ...]) -> None:
        for name in names:
            trainer.save_checkpoint(self._folder / name)
        if trainer.is_global_zero:
            self._journal.write(self._folder, self._recipe, trainer.global_step)
        self._saved = time.monotonic()
