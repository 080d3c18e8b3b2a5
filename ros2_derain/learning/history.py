"""``metrics.csv``: one continuous table of a run's losses, however often it was stopped and resumed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from ros2_derain.reporting import files

from .errors import LearningError

NAME = "metrics.csv"


class History(Logger):
    """One row per logged step; on a resume the rows after the checkpoint's step give way.

    A step's row comes after its checkpoint: a process killed between the two leaves no row of it.

    Args:
        folder: of the run.
        step: the checkpoint's, 0 for a new run.

    Raises:
        LearningError: the table cannot be read or written; so do the methods.
    """

    def __init__(self, folder: Path, step: int):
        super().__init__()
        self._path, self._folder, self._start = folder / NAME, folder, step
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        return NAME

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
        """Keep what a former slice wrote, up to its checkpoint."""
        rows = self._read() if self._start and self._path.exists() else []
        kept = [row for row in rows if _whole(row) and int(row["step"]) < self._start]
        self._write(list(dict.fromkeys([*(kept[0] if kept else ()), *columns])), kept)

    def _write(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        self._columns, text = columns, io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        files.write_bytes(self._path, text.getvalue().encode())

    def _read(self) -> list[dict[str, str]]:
        try:
            with self._path.open(newline="") as file:
                return list(csv.DictReader(file))
        except (OSError, csv.Error, UnicodeDecodeError) as error:
            raise LearningError(f"{self._path} cannot be read: {error}; move it away to go on") from error

    def _append(self, row: dict[str, Any]) -> None:
        try:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)
        except OSError as error:
            raise LearningError(f"cannot write {self._path}: {error.strerror}") from error


def _whole(row: dict[str, str]) -> bool:
    """Not the torn last line of a process that was killed."""
    return None not in row and None not in row.values() and row.get("step", "").isdigit()
