"""The records that flow through the engine: a frame in, a restored frame between, a scene out.

All of them are frozen. Arrays are NumPy on the host; what stays on the device travels in
:class:`Restored`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from torch import Tensor

UNLABELLED = 255
"""Label map value of a pixel that carries no class."""


class Mode(str, Enum):
    """How a frame was processed. The value is what ``derain/mode`` publishes.

    The four steps of the ladder, best first, and ``DRY``: the gate is closed,
    the image is passed on untouched and parsed.
    """

    LOOP = "loop"  # the configured prior and iterations
    ONE_ITERATION = "one_iteration"  # one refinement with the previous frame's prior
    DERAIN_ONLY = "derain_only"  # no scene parser: no labels, no detections
    PASS_THROUGH = "pass_through"  # the raw image, unprocessed
    DRY = "dry"  # neither rain nor water on the glass seen: the raw image, parsed


NOT_PARSED = (Mode.DERAIN_ONLY, Mode.PASS_THROUGH)
"""Modes in which the scene parser does not run."""

REGIONS = ("upper_left", "upper_centre", "upper_right", "lower_left", "lower_centre", "lower_right")
"""Thirds of the image's width in both halves of its height."""


class EngineError(Exception):
    """Something in the engine is wrong; the message says what and what to do."""


@dataclass(frozen=True)
class Frame:
    """One camera image.

    Attributes:
        stamp_ns: acquisition time in nanoseconds, as the camera stamped it.
        frame_id: name of the camera's optical frame.
        image: H x W x 3 uint8 RGB, H and W >= 64.
        received_ns: time of reception on any steady clock; replaces stamps that are 0 or do not
            advance in the measurement of time between frames. None: unknown.
    """

    stamp_ns: int
    frame_id: str
    image: np.ndarray
    received_ns: int | None = None


@dataclass(frozen=True)
class Detection:
    """A box in pixels of the input image; x1 and y1 are exclusive.

    ``id`` is that of its track: the same object has the same id in later frames; '' where it is not tracked.
    """

    class_name: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float
    id: str = ""


@dataclass(frozen=True)
class RainEstimate:
    """How hard it rains: ``rate`` in mm/h (>= 0) and ``severity`` in 0..1."""

    rate: float
    severity: float


@dataclass(frozen=True)
class View:
    """How much of the scene the camera cannot see in a frame. NaN: not measured.

    A place counts as hidden where more than half of it is.

    Attributes:
        coverage: share of the image that water on the glass hides, 0..1.
        contrast_loss: share of the contrast that a water film, spray or fog takes, 0..1.
        dirt: share of the image hidden by what stays in place for minutes while the scene moves, 0..1; no
            part of ``coverage``.
        hidden: share of each of :data:`REGIONS` that water or dirt hides, 0..1; once the frame is parsed also
            of ``sky`` and ``road``, where there are such. Empty: not measured.
    """

    coverage: float = math.nan
    contrast_loss: float = math.nan
    dirt: float = math.nan
    hidden: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Restored:
    """A frame after the first half of the loop.

    Attributes:
        frame: the input.
        image: H x W x 3 uint8; the input array itself when dry or passed through.
        tensor: 1 x 3 x H x W float32 on the device, what ``image`` shows; None when passed through.
        trust: H x W uint8; 255 = as the camera saw it.
        rain, mode, iterations, prior_missed, fault, view, obstruction: as in :class:`Scene`.
        milliseconds: ``gate``, ``derain`` and ``total`` so far; the parser adds to it.
    """

    frame: Frame
    image: np.ndarray
    tensor: Tensor | None
    trust: np.ndarray
    rain: RainEstimate
    mode: Mode
    iterations: int = 0
    prior_missed: bool = False
    fault: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)
    view: View = View()
    obstruction: np.ndarray | None = None


@dataclass(frozen=True)
class Perception:
    """Output of the scene parser for one image.

    Attributes:
        labels: H x W uint8 class ids; 255 = unlabelled.
        confidence: H x W uint8, probability of the label * 255; in a scene lower where water or dirt hides
            the pixel: see :func:`~ros2_derain.engine.view.seen_through`.
        detections: boxes, best score first.
    """

    labels: np.ndarray
    confidence: np.ndarray
    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class Scene:
    """Everything that is known about one frame.

    Attributes:
        stamp_ns, frame_id: copied from the frame.
        image: H x W x 3 uint8 RGB, the clean image (the input array itself when
            nothing was changed).
        trust: H x W uint8; 255 = the pixel is as the camera saw it, 0 = invented or hidden.
        rain: the rain estimate.
        mode: how it was processed. ``derain_only`` also where the parser failed on a derained frame.
        derain_mode: how it was restored; differs from ``mode`` where the parser failed.
        iterations: refinements done; 0 when dry, passed through or derain only, and where there is water on
            the glass, but no rain.
        prior_missed: a prior was needed and did not arrive in time.
        perception: None in the modes without a scene parser.
        prior: K x ceil(H/8) x ceil(W/8) uint8, class probabilities * 255, for the next frame; None
            where there is no perception.
        milliseconds: time per stage: ``gate``, ``derain``, ``parse``, ``total``.
        fault: why the frame could not be restored or parsed, or ''.
        view: what the camera cannot see.
        obstruction: H x W uint8; 255 = water or dirt hides the pixel. None: not measured.
    """

    stamp_ns: int
    frame_id: str
    image: np.ndarray
    trust: np.ndarray
    rain: RainEstimate
    mode: Mode
    derain_mode: Mode
    iterations: int
    prior_missed: bool
    perception: Perception | None
    prior: np.ndarray | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    fault: str = ""
    view: View = View()
    obstruction: np.ndarray | None = None


def passed_through(frame: Frame, fault: str = "") -> Restored:
    """A frame as the camera sent it; ``fault`` says why nothing was done to it."""
    trust = np.full(frame.image.shape[:2], 255, np.uint8)
    unknown = RainEstimate(math.nan, math.nan)
    return Restored(frame, frame.image, None, trust, unknown, Mode.PASS_THROUGH, fault=fault)


def fingerprint(class_names: tuple[str, ...]) -> str:
    """16 hex digits that stand for an ordered list of class names."""
    return hashlib.sha256("\n".join(class_names).encode()).hexdigest()[:16]
