"""What a fault is, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ros2_derain.drill.test_pipeline import Stage, Subject


@dataclass(frozen=True)
class Seen:
    """How the pipeline stood a fault.

    Attributes:
        text: what it did, in words.
        recovered_s: from the end of the fault to the first frame that came out whole; None where
            there is nothing to recover from.
    """

    text: str
    recovered_s: float | None = None


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: for ``--only``.
        expected: what the pipeline should do.
        inject: brings it about and judges; raises Shortfall where the pipeline falls short.
        stage: makes the stage that it is played on, which others of the same kind share.
        instances: how many pipelines may answer a frame.
    """

    name: str
    expected: str
    inject: Callable[[Stage], Seen]
    stage: Callable[[Subject], AbstractContextManager[Stage]]
    instances: int = 1
