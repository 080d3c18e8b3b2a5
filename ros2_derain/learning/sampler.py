"""Which clips a step sees: a function of the step alone, so that a run resumes exactly, on any machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .errors import LearningError

ENDLESS = 2**31
"""Batches that the sampler pretends to have: the trainer stops by steps, never at the end of an epoch."""


class Batches(Sampler[list[int]]):
    """Step s of a run sees the clips s * batch .. (s + 1) * batch - 1, shared out among the processes.

    Args:
        batch: clips per step, over all processes.
        start: the first step that is still to be done.
        rank, world: this process among those that train together.

    Raises:
        LearningError: the batch cannot be shared out evenly.
    """

    def __init__(self, batch: int, start: int = 0, rank: int = 0, world: int = 1):
        if batch % world:
            raise LearningError(
                f"batch: {batch} clips cannot be shared out evenly among {world} processes; "
                f"choose a multiple of {world}, or another number of processes"
            )
        self.batch, self.start, self.rank, self.share = batch, start, rank, batch // world

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, ENDLESS):
            first = step * self.batch + self.rank * self.share
            yield list(range(first, first + self.share))


def loader(clips: Dataset, batches: Batches, workers: int) -> DataLoader:
    """Batches of clips, made by ``workers`` processes ahead of time (0 = in this process).

    The workers leave Ctrl-C and SIGTERM to the process that trains: it still needs them for its last step.
    """
    options: dict[str, Any] = {"prefetch_factor": 3, "persistent_workers": True} if workers else {}
    return DataLoader(
        clips,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_undisturbed,
        **options,
    )


def default_workers(world: int = 1) -> int:
    """Processes that make clips, by the cores of this machine: one for each that is left over, 1..8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // world - 1))


def _undisturbed(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
