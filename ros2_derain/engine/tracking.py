"""Ids of detections that last from frame to frame, for one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ros2_derain.planner import Tracker

from .control import FrameClock
from .scene import Detection, Frame


class Tracks:
    """Gives the detections of a camera's frames their ids; not for several threads at once.

    Tracks end where the restorer forgets too: a step back or a gap in time, another size, another camera.
    """

    def __init__(self) -> None:
        self._tracker = Tracker()
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the first id."""
        self._tracker.reset()
        self._clock = FrameClock()
        self._camera: tuple | None = None

    def identify(
        self, frame: Frame, detections: Sequence[Detection], score_threshold: float, reset_gap_s: float
    ) -> tuple[Detection, ...]:
        """The detections of a frame, each with the id of its track; those that have none are left out.

        Args:
            frame: they were found in; frames are given in order.
            detections: of the frame.
            score_threshold: a detection below this score begins no track.
            reset_gap_s: a longer gap between stamps ends all tracks.
        """
        gap_s = self._clock.advance(frame)
        camera, before = (frame.frame_id, frame.image.shape[:2]), self._camera
        self._camera = camera
        if gap_s is None or not 0 <= gap_s <= reset_gap_s or camera != before:
            self._tracker.forget()
            gap_s = 0.0
        boxes = np.array([(d.x0, d.y0, d.x1, d.y1) for d in detections])
        scores = np.array([d.score for d in detections])
        names = [d.class_name for d in detections]
        ids = self._tracker.update(boxes, scores, names, gap_s, score_threshold)
        return tuple(replace(found, id=id_) for found, id_ in zip(detections, ids, strict=True) if id_)
