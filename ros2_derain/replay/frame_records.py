"""What is written down of every frame: a JSON-ready record, the same from run to run."""

from __future__ import annotations

import math

import numpy as np

from ros2_derain.bags.messages import cause, reason
from ros2_derain.engine import UNLABELLED, Mode, Scene

DIGITS = 6
WELL = (Mode.LOOP, Mode.DRY)
"""Modes of a frame that was processed as configured; the others are steps down the ladder."""

REPEATED, BACKWARD, GAP, RESIZED = "stamp repeated", "stamp went back", "gap in time", "size changed"
"""What can be odd about a frame, as its ``notes`` say it."""


def seen(
    camera: str, index: int, received_ns: int, scene: Scene, flicker: float | None, notes: list[str]
) -> dict:
    """The record of a frame that was processed.

    Args:
        camera: topic of its images.
        index: the camera's frames are counted from 0, those that cannot be read included.
        received_ns: when the recorder got it.
        scene: what came out.
        flicker: share of the pixels whose label changed since the frame before; None: unknown.
        notes: what is odd about the frame.
    """
    height, width = scene.image.shape[:2]
    return {
        "camera": camera,
        "frame": index,
        "stamp_ns": scene.stamp_ns,
        "received_ns": received_ns,
        "frame_id": scene.frame_id,
        "width": width,
        "height": height,
        "mode": scene.mode.value,
        "iterations": scene.iterations,
        "prior_missed": scene.prior_missed,
        "rain_mm_h": number(scene.rain.rate),
        "severity": number(scene.rain.severity),
        "trust": number(float(scene.trust.mean()) / 255),
        "flicker": number(flicker),
        **_perceived(scene),
        "fault": scene.fault,
        "notes": notes,
    }


def unread(camera: str, index: int, received_ns: int, error: Exception) -> dict:
    """The record of an image that could not be read."""
    detail = {"cause": cause(error), "why": reason(error)}
    return {"camera": camera, "frame": index, "received_ns": received_ns, "unread": detail}


def dropped(camera: str, index: int, received_ns: int, stamp_ns: int) -> dict:
    """The record of a frame of which a running pipeline published nothing."""
    return {
        "camera": camera, "frame": index, "stamp_ns": stamp_ns, "received_ns": received_ns, "dropped": True
    }  # fmt: skip


def number(value: float | None) -> float | None:
    """A finite number with six digits behind the point; None for any other."""
    return round(value, DIGITS) if value is not None and math.isfinite(value) else None


def _perceived(scene: Scene) -> dict:
    found = scene.perception
    if found is None:
        return {"confidence": None, "unlabelled": None, "detections": None}
    boxes = [
        {
            "class": box.class_name,
            "score": number(box.score),
            "box": [number(edge) for edge in (box.x0, box.y0, box.x1, box.y1)],
        }
        for box in found.detections
    ]
    return {
        "confidence": number(float(found.confidence.mean()) / 255),
        "unlabelled": number(float(np.mean(found.labels == UNLABELLED))),
        "detections": boxes,
    }
