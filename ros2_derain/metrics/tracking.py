"""Tracks against true ones: switches of ids, fragmentations, and CLEAR MOT's accuracy.

Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics",
EURASIP J. Image Video Process. 2008. Fragmentations as in Li, Huang and Nevatia, CVPR 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .detection import Boxes, box_iou


@dataclass
class TrackScore:
    """The counts of a clip.

    Attributes:
        overlap: least IoU of a found box and the true one that it matches.
        truths, matches, false: boxes.
        switches: how often an object is matched by another id than the last one.
        fragmentations: how often an object is matched again after it was missed.
    """

    overlap: float = 0.5
    truths: int = 0
    matches: int = 0
    false: int = 0
    switches: int = 0
    fragmentations: int = 0
    _last_id: dict[str, str] = field(default_factory=dict)
    _missed: set[str] = field(default_factory=set)

    def add(self, true: Boxes, true_ids: Sequence[str], found: Boxes, found_ids: Sequence[str]) -> None:
        """Take a frame; boxes match within their class, the last id of an object before any other."""
        ious = box_iou(true.corners, found.corners)
        ious[(true.classes[:, None] != found.classes[None]) | (ious < self.overlap)] = 0
        kept = np.array([[self._last_id.get(t) == f for f in found_ids] for t in true_ids], bool)
        order = ious + kept.reshape(ious.shape) * (ious > 0)
        free_true, free_found = set(range(len(true))), set(range(len(found)))
        for flat in np.argsort(-order, axis=None, kind="stable"):
            row, column = (int(i) for i in np.unravel_index(flat, order.shape))
            if order[row, column] <= 0:
                break
            if row in free_true and column in free_found:
                free_true.remove(row)
                free_found.remove(column)
                self._match(true_ids[row], found_ids[column])
        self._missed |= {true_ids[row] for row in free_true if true_ids[row] in self._last_id}
        self.truths += len(true)
        self.matches += len(true) - len(free_true)
        self.false += len(free_found)

    def _match(self, true_id: str, found_id: str) -> None:
        last = self._last_id.get(true_id)
        self.switches += last not in (None, found_id)
        self.fragmentations += true_id in self._missed
        self._missed.discard(true_id)
        self._last_id[true_id] = found_id

    @property
    def accuracy(self) -> float | None:
        """CLEAR MOT's accuracy, at most 1: 1 - (misses + false + switches) / truths; None without truth."""
        if not self.truths:
            return None
        return 1 - (self.truths - self.matches + self.false + self.switches) / self.truths
