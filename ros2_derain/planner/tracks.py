"""Tracks: the same id for the same object from frame to frame.

Association on boxes in two steps, as in ByteTrack (Zhang et al., ECCV 2022): boxes of high score choose
first, those of low score then continue what is left, but begin nothing. Motion is a constant velocity. Every
box of high score that no track explains begins one, because every published detection has an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MIN_OVERLAP = 0.2
"""Least intersection over union of a box and the place where its track should be."""
MEMORY_S, MEMORY_FRAMES = 1.0, 5
"""A track ends when it was missed for longer than both. One second is ByteTrack's, 30 frames at 30 Hz."""
VELOCITY_GAIN = 0.4
"""Share of a newly measured velocity in a track's velocity."""


@dataclass
class _Track:
    id: int
    class_name: str
    box: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    hits: int = 1
    missed: int = 0
    unseen_s: float = 0.0

    def expected(self) -> np.ndarray:
        """Where the box should be now; its centre moves, its size stays."""
        return self.box + np.tile(self.velocity * self.unseen_s, 2)

    def update(self, box: np.ndarray) -> None:
        """Take the box of the current frame."""
        if self.unseen_s > 0:
            moved = ((box[:2] + box[2:]) - (self.box[:2] + self.box[2:])) / 2
            gain = 1.0 if self.hits == 1 else VELOCITY_GAIN
            self.velocity = (1 - gain) * self.velocity + gain * moved / self.unseen_s
        self.box, self.hits, self.missed, self.unseen_s = box, self.hits + 1, 0, 0.0


class Tracker:
    """The tracks of one camera; not for several threads at once."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the first id."""
        self._tracks: list[_Track] = []
        self._next = 1

    def forget(self) -> None:
        """Drop every track; ids go on, so that none stands for two objects."""
        self._tracks.clear()

    def update(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_names: Sequence[str],
        seconds: float,
        high_score: float = 0.0,
    ) -> list[str]:
        """Take the detections of a frame.

        Args:
            boxes: N x 4 (x0, y0, x1, y1) in pixels.
            scores: N, 0..1.
            class_names: N; a track keeps its class.
            seconds: since the previous frame, >= 0.
            high_score: boxes of this score and above choose their tracks first, and begin new ones.

        Returns:
            N ids, empty for a box of low score that continues no track.
        """
        boxes, scores = np.asarray(boxes, float).reshape(-1, 4), np.asarray(scores, float)
        for track in self._tracks:
            track.unseen_s += seconds
        ids: list[int | None] = [None] * len(boxes)
        free = list(self._tracks)
        high = scores >= high_score
        for chosen in (np.flatnonzero(high), np.flatnonzero(~high)):
            free = self._associate(chosen, boxes, class_names, free, ids)
        for track in free:
            track.missed += 1
        self._tracks = [
            track for track in self._tracks if track.missed <= MEMORY_FRAMES or track.unseen_s <= MEMORY_S
        ]
        for index in np.flatnonzero(high):
            if ids[index] is None:
                ids[index] = self._begin(boxes[index], class_names[index])
        return ["" if found is None else str(found) for found in ids]

    def _associate(
        self,
        chosen: np.ndarray,
        boxes: np.ndarray,
        class_names: Sequence[str],
        free: list[_Track],
        ids: list[int | None],
    ) -> list[_Track]:
        """Give the chosen boxes the tracks that overlap them most; returns the tracks that are left."""
        if not len(chosen) or not free:
            return free
        expected = np.array([track.expected() for track in free])
        overlap = _overlaps(boxes[chosen], expected)
        names = np.array([class_names[index] for index in chosen])
        overlap[names[:, None] != np.array([track.class_name for track in free])] = 0
        taken = set()
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = np.unravel_index(flat, overlap.shape)
            if overlap[row, column] < MIN_OVERLAP:
                break
            if ids[chosen[row]] is None and column not in taken:
                track = free[column]
                track.update(boxes[chosen[row]])
                ids[chosen[row]] = track.id
                taken.add(column)
        return [track for column, track in enumerate(free) if column not in taken]

    def _begin(self, box: np.ndarray, class_name: str) -> int:
        track = _Track(self._next, class_name, box)
        self._next += 1
        self._tracks.append(track)
        return track.id


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """N x M intersections over unions of N x 4 and M x 4 boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = (first[:, 2:] - first[:, :2]).prod(1)[:, None] + (second[:, 2:] - second[:, :2]).prod(1)
    found: np.ndarray = shared / np.maximum(areas - shared, 1e-9)
    return found
