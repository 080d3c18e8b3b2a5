"""What a run's model card will say of it: recipe, data, steps, seconds, machines; kept as ``run.yaml``."""

from __future__ import annotations

import time
from pathlib import Path

import torch
import yaml

from ros2_derain.machine import processor
from ros2_derain.reporting import files

from . import data
from .recipe import Recipe

NAME = "run.yaml"


class Journal:
    """Seconds of training on each machine, over all slices of a run.

    Args:
        started_from: where the weights of each part came from (see :func:`initial.start_from`).
        seconds: of the slices before this one, by machine.
    """

    def __init__(self, started_from: dict[str, dict], seconds: dict[str, float]):
        self._started_from, self._before = started_from, dict(seconds)
        self._machine, self._start = machine(), time.monotonic()

    def as_dict(self, step: int) -> dict:
        """Plain data: ``steps`` done, ``seconds`` by machine, and what it ``started_from``."""
        here = self._before.get(self._machine, 0.0) + time.monotonic() - self._start
        seconds = self._before | {self._machine: round(here, 1)}
        return {"steps": step, "seconds": seconds, "started_from": self._started_from}

    def write(self, folder: Path, recipe: Recipe, step: int) -> None:
        """Write ``run.yaml``.

        Raises:
            FileError: the file cannot be written.
        """
        text = yaml.safe_dump(draft(recipe.as_dict(), self.as_dict(step)), sort_keys=False, width=100)
        files.write_bytes(folder / NAME, text.encode())


def draft(recipe: dict, journal: dict) -> dict:
    """A run as a model card tells it.

    Args:
        recipe: see :meth:`Recipe.as_dict`.
        journal: see :meth:`Journal.as_dict`.
    """
    return {"recipe": recipe, "data": data.licences(recipe)} | journal


def machine() -> str:
    """Device and torch of this process, e.g. ``2 cores of Intel Xeon, torch 2.13.0``."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"{torch.get_num_threads()} cores of {processor()}"
    return f"{device}, torch {torch.__version__}"
