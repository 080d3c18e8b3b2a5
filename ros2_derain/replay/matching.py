"""Which entry of the truth belongs to which frame: by stamp, else in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ros2_derain.engine import Frame
from ros2_derain.errors import EvaluationError

STAMP_DIGITS = 10
"""A name with so many digits or more is a stamp in ns, a shorter one a name in order."""

T = TypeVar("T")


def by_stamp_or_order(named: Mapping[str, T], frames: int, source: str) -> dict[int, T]:
    """Entries by their stamp in ns, where all names are stamps; else by their number, from 0.

    Args:
        named: in order.
        frames: of the camera.
        source: where the entries are from, for the message.

    Raises:
        EvaluationError: the names are no stamps, and there are not as many as frames.
    """
    stamped = all(name.isdigit() and len(name) >= STAMP_DIGITS for name in named)
    if not stamped and len(named) != frames:
        raise EvaluationError(
            f"{source} holds {len(named)} pictures for {frames} frames, so that their order does not tell "
            "which is whose: name them by the frames' stamps in ns"
        )
    return {int(name) if stamped else index: entry for index, (name, entry) in enumerate(named.items())}


def of_frame(entries: Mapping[int, T], frame: Frame, index: int) -> T | None:
    """The entry of a frame that is the ``index``-th of its camera; None if there is none."""
    return entries.get(frame.stamp_ns, entries.get(index))
