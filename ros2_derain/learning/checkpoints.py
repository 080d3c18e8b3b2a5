"""The files of a run: checkpoints, its record ``run.yaml``, and the weights that it starts from."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from ros2_derain import models
from ros2_derain.machine import processor
from ros2_derain.reporting import files

from . import LearningError, recipe_files, sources
from .callbacks import Averaging
from .recipe import Recipe

LAST, BEST = "last.ckpt", "best.ckpt"
RECORD = "run.yaml"


def read(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU, wherever it was written; nothing is unpickled but tensors and plain data.

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


def find(run: Path) -> Path | None:
    """``best.ckpt`` of a run where there is one, else ``last.ckpt``, else None."""
    return next((run / name for name in (BEST, LAST) if (run / name).is_file()), None)


def recipe_of(checkpoint: dict[str, Any], where: Path) -> Recipe:
    """The recipe that a checkpoint was trained by; ``where`` is named in the messages.

    Raises:
        LearningError: no recipe of this version can be made of it.
    """
    return recipe_files.parse(checkpoint["recipe"], f"{where}: recipe of the checkpoint")


class AtomicFiles(TorchCheckpointIO):
    """How the trainer stores checkpoints: a former one stays until the new one is complete."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: Any = None) -> None:
        buffer, path = io.BytesIO(), Path(path)
        torch.save(checkpoint, buffer)
        hint = f"; the former one is intact: make room, then resume with --resume: {path}"
        files.write_bytes(path, buffer.getbuffer(), hint if path.exists() else "")

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return read(Path(path))


class Journal:
    """Seconds of training on each machine, over all sessions of a run, and where its weights came from.

    Args:
        started_from: the ancestors of each part (see :func:`start_from`).
        seconds: of the sessions before this one, by machine.
    """

    def __init__(self, started_from: dict[str, Any], seconds: dict[str, float]):
        self._started_from, self._before = started_from, dict(seconds)
        self._machine, self._start = machine(), time.monotonic()

    def as_dict(self, step: int) -> dict[str, Any]:
        """Plain data: ``steps`` done, ``seconds`` by machine, and what it ``started_from``."""
        here = self._before.get(self._machine, 0.0) + time.monotonic() - self._start
        seconds = self._before | {self._machine: round(here, 1)}
        return {"steps": step, "seconds": seconds, "started_from": self._started_from}

    def write(self, folder: Path, chosen: Recipe, step: int) -> None:
        """Write ``run.yaml``.

        Raises:
            ros2_derain.reporting.files.FileError: the file cannot be written.
        """
        text = yaml.safe_dump(record(chosen, self.as_dict(step)), sort_keys=False, width=100)
        files.write_text(folder / RECORD, text)


def record(chosen: Recipe, journal: dict[str, Any]) -> dict[str, Any]:
    """A run as its model's card describes it: recipe, data with licences, steps, seconds, ancestors."""
    return {
        "recipe": chosen.as_dict(),
        "data": _licences(chosen),
        "steps": journal["steps"],
        "seconds": journal["seconds"],
        "started_from": {part: ancestors(part, origin) for part, origin in journal["started_from"].items()},
    }


def ancestors(part: str, origin: Any) -> list[dict[str, Any]]:
    """What the weights of a part came from, nearest first, a few lines each.

    Args:
        part: derainer, parser or gauge.
        origin: a run's :func:`record`, or a model (``model``, ``sha256``); a list is one already.
    """
    if isinstance(origin, list):
        return origin
    if "recipe" not in origin:
        return [origin]
    further = origin.get("started_from", {}).get(part)
    return [summary(origin), *(ancestors(part, further) if further else [])]


def summary(run: dict[str, Any]) -> dict[str, Any]:
    """A :func:`record` without its settings: name of the recipe, steps, seconds, data with licences."""
    if isinstance(run["recipe"], str):
        return run
    seconds = round(sum(run["seconds"].values()), 1)
    data = run.get("data", {})
    return {"recipe": run["recipe"]["name"], "steps": run["steps"], "seconds": seconds, "data": data}


def machine() -> str:
    """Device and torch of this process, e.g. ``2 cores of Intel Xeon, torch 2.13.0``."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"{torch.get_num_threads()} cores of {processor()}"
    return f"{device}, torch {torch.__version__}"


class Checkpoints(Callback):
    """Keeps ``last.ckpt`` and ``run.yaml`` up to date, and ``best.ckpt`` where the task validates.

    A checkpoint is due after some steps, after some minutes, and when the run stops. It holds the
    recipe and the run's journal besides the trainer's state.

    Args:
        folder: of the run.
        chosen: the recipe, which says when a checkpoint or a validation is due.
        journal: of the run.
        averaging: holds the weights that are validated.
        data: the data folder, for the task's ``validate``.
    """

    def __init__(self, folder: Path, chosen: Recipe, journal: Journal, averaging: Averaging, data: Path):
        self._folder, self._recipe, self._journal = folder, chosen, journal
        self._averaging, self._data = averaging, data
        self._saved = time.monotonic()
        self._best = float("-inf")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = state_dict["best"]

    def on_save_checkpoint(self, trainer: lightning.Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self._recipe.as_dict()
        checkpoint["journal"] = self._journal.as_dict(trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        step, chosen = trainer.global_step, self._recipe
        better = chosen.validate_every > 0 and step % chosen.validate_every == 0 and self._validate(trainer)
        over = trainer.should_stop or step >= trainer.max_steps
        if over or better or step % chosen.checkpoint_every == 0 or self._minutes_are_over(trainer):
            self._save(trainer, (BEST, LAST) if better else (LAST,))

    def _minutes_are_over(self, trainer: lightning.Trainer) -> bool:
        due = time.monotonic() - self._saved >= 60 * self._recipe.checkpoint_minutes
        return trainer.strategy.reduce_boolean_decision(due, all=False)

    def _validate(self, trainer: lightning.Trainer) -> bool:
        """Whether the averaged weights score better than ever."""
        with torch.no_grad():
            task: Any = self._averaging.task().eval()
            scores = task.validate(self._data)
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


def start_from(task: nn.Module, chosen: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Load the parts that ``init`` of a recipe names into the task's networks.

    Args:
        task: has each part as an attribute.
        chosen: its ``init`` names a model (name or folder) or a run's folder by part.

    Returns:
        for the journal, the :func:`ancestors` of each part.

    Raises:
        LearningError: no such model or run, or its tensors are not those of the part.
    """
    origins = {}
    for part, name in chosen.init.items():
        tensors, origin = _tensors(name, part)
        origins[part] = ancestors(part, origin)
        load_part(getattr(task, part), part, tensors, f"init: {name}")
    return origins


def load_part(module: nn.Module, part: str, tensors: dict[str, Tensor], where: str) -> None:
    """Load tensors that must be exactly the module's.

    Raises:
        LearningError: names or shapes differ; the message lists some.
    """
    if wrong := models.mismatch(module, tensors):
        raise LearningError(f"{where}: its {part} {wrong}; give the {part} the same options")
    module.load_state_dict(tensors)


def _tensors(name: str, part: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a part of a run or a model, and the record of it."""
    run = Path(name).expanduser()
    path = find(run)
    if path is not None:
        checkpoint = read(path)
        tensors = models.part_of(checkpoint["state_dict"], part)
        if not tensors:
            raise LearningError(f"init: run {name} trained no {part}")
        return tensors, record(recipe_of(checkpoint, run), checkpoint["journal"])
    try:
        card, loaded = models.load(models.find(name), (part,))
    except models.ModelError as error:
        raise LearningError(f"init: {error}") from error
    return loaded[part].state_dict(), {"model": card.name, "sha256": card.sha256}


def _licences(recipe: Recipe) -> dict[str, str]:
    """Licence of every folder that the sources and streaks of a recipe read."""
    found: dict[str, str] = {}
    for name, weight in recipe.sources.items():
        if weight > 0:
            own = recipe.datasets.get(name)
            found |= {own.folder: own.licence} if own else sources.SOURCES[name].folders
    for style in recipe.streaks.values():
        folders = [f"{sources.PAIRS}/{name}" for name in style.pairs] + [
            f"{sources.PATTERNS}/{name}" for name in style.patterns
        ]
        found |= {f"{folder} (streaks)": "none stated" for folder in folders}
    return found
