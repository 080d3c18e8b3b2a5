"""The metrics of a frame: one table for ``frames.jsonl``, ``summary.json`` and the report.

To add a metric, add an entry to :data:`METRICS`, and nothing else:

* with ``measure`` it is written into the frame's line of ``frames.jsonl``, under its key, computed from a
  :class:`FrameSample`. Without, it is computed by ``value`` from the line and the frame's timing;
* with ``mean_key`` its mean is in ``summary.json`` under ``outputs``;
* with ``band`` it is a column of the tables by rain and by water on the glass, in ``summary.json`` and in
  the report;
* with ``curve`` it is a chart of the report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ros2_derain.bags.messages import cause, reason
from ros2_derain.engine import UNLABELLED, Frame, Mode, Perception, Scene
from ros2_derain.metrics import label_flicker, motion_between
from ros2_derain.reporting.statistics import mean, percentiles

DIGITS = 6
FLICKER_WIDTH = 480
"""Pixels; label flicker is measured on images no wider than this."""

REPEATED, BACKWARD, GAP, RESIZED = "stamp repeated", "stamp went back", "gap in time", "size changed"
UNSTAMPED = "stamp is 0"
"""Anomalies of a frame, as in its ``notes``."""

STEPS = {Mode.LOOP: 0, Mode.DRY: 0, Mode.ONE_ITERATION: 1, Mode.DERAIN_ONLY: 2, Mode.PASS_THROUGH: 3}
"""How many steps of the ladder below the configured way each mode is."""


@dataclass(frozen=True)
class FrameSample:
    """A processed frame: all that a metric can be computed from.

    Attributes:
        frame: as the camera sent it.
        scene: output of the pipeline.
        previous: previous frame of the camera, and its perception; None: there is none.
        notes: anomalies of the frame.
    """

    frame: Frame
    scene: Scene
    previous: tuple[Frame, Perception | None] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Band:
    """How a metric is shown in the tables by rain and by water on the glass.

    Attributes:
        key: in the rows of ``summary.json``.
        statistic: of the values of all frames of a band, which may be none.
        digits: decimals in the report.
        heading: of the column; '': the metric's.
        optional: left out where no frame has a value.
    """

    key: str
    statistic: Callable[[Sequence[float]], float | None]
    digits: int = 1
    heading: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Curve:
    """How a metric is drawn over time.

    Attributes:
        title, text: of the chart.
        reference: key of the metric that is drawn dashed beside it.
        sparse: drawn only where a value is neither 0 nor unknown.
    """

    title: str
    text: str
    reference: str = ""
    sparse: bool = False


@dataclass(frozen=True)
class FrameMetric:
    """A figure of every frame.

    Attributes:
        key: in the frame's record.
        heading: name in the report.
        unit: ``%`` for a share of 0..1.
        measure: makes what is recorded, JSON-ready; None: nothing is recorded.
        value: the number, or None where it is not known, of a frame's record and milliseconds per stage;
            None: what is recorded is the number.
        mean_key: of the mean in ``summary.json``; '': left out.
        band, curve: how it is shown; None: not there.
    """

    key: str
    heading: str = ""
    unit: str = ""
    measure: Callable[[FrameSample], Any] | None = None
    value: Callable[[Mapping, Mapping], float | None] | None = None
    mean_key: str = ""
    band: Band | None = None
    curve: Curve | None = None

    def number(self, record: Mapping, milliseconds: Mapping[str, float]) -> float | None:
        """The number of a frame that was processed; None where it is not known."""
        return self.value(record, milliseconds) if self.value else record[self.key]


def average(values: Sequence[float]) -> float | None:
    """The mean; None of no values."""
    return float(np.mean(values)) if values else None


def number(value: float | None) -> float | None:
    """A finite number rounded to six decimals; None for any other."""
    return round(value, DIGITS) if value is not None and math.isfinite(value) else None


def _p95(values: Sequence[float]) -> float | None:
    found = percentiles(values)
    return found["p95"] if found else None


def _trust(sample: FrameSample) -> float:
    return float(sample.scene.trust.mean()) / 255


def _confidence(sample: FrameSample) -> float | None:
    seen = sample.scene.perception
    return None if seen is None else float(seen.confidence.mean()) / 255


def _hidden(sample: FrameSample) -> dict[str, float | None]:
    """The hidden share of each region, of sky and of road; nothing where it is not measured."""
    return {region: number(share) for region, share in sample.scene.view.hidden.items()}


def _unlabelled(sample: FrameSample) -> float | None:
    seen = sample.scene.perception
    return None if seen is None else float(np.mean(seen.labels == UNLABELLED))


def _flicker(sample: FrameSample) -> float | None:
    """Share of the pixels whose label changed without a reason in the motion; None: not comparable."""
    if sample.previous is None:
        return None
    (before, seen_before), seen = sample.previous, sample.scene.perception
    if seen is None or seen_before is None:
        return None
    if before.image.shape != sample.frame.image.shape or GAP in sample.notes:
        return None
    motion = motion_between(*(_scaled(image, cv2.INTER_AREA) for image in (before.image, sample.frame.image)))
    labels_before, labels = (_scaled(p.labels, cv2.INTER_NEAREST) for p in (seen_before, seen))
    return label_flicker(labels_before, labels, motion)


def _scaled(plane: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = plane.shape[:2]
    if width <= FLICKER_WIDTH:
        return plane
    size = FLICKER_WIDTH, max(1, round(height * FLICKER_WIDTH / width))
    return cv2.resize(plane, size, interpolation=interpolation)


def _detections(sample: FrameSample) -> list[dict] | None:
    if sample.scene.perception is None:
        return None
    return [
        {
            "class": box.class_name,
            "score": number(box.score),
            "box": [number(edge) for edge in (box.x0, box.y0, box.x1, box.y1)],
        }
        for box in sample.scene.perception.detections
    ]


def _warned(record: Mapping, _) -> float:
    """1 where a frame was processed below the configured mode, or with a fault."""
    return float(bool(record["fault"]) or STEPS[Mode(record["mode"])] > 0)


def _image_quality(side: str, figure: str) -> Callable[[Mapping, Mapping], float | None]:
    """A figure against the reference image, of the pipeline's ``input`` or ``output``."""
    return lambda record, _: record.get("truth", {}).get("images", {}).get(side, {}).get(figure)


METRICS = (
    FrameMetric(
        "rain_mm_h", "rain rate", "mm/h",
        measure=lambda sample: sample.scene.rain.rate,
        band=Band("mean_mm_h", mean, heading="mm/h"),
        curve=Curve("Rain rate", "As the gauge read it."),
    ),
    FrameMetric("severity", measure=lambda sample: sample.scene.rain.severity),
    FrameMetric(
        "coverage", "glass", "%",
        measure=lambda sample: sample.scene.view.coverage,
        mean_key="coverage",
        band=Band("coverage", average, optional=True),
        curve=Curve("Water on the glass", "Share of the view that water covers.", sparse=True),
    ),
    FrameMetric(
        "contrast_loss", "contrast loss", "%",
        measure=lambda sample: sample.scene.view.contrast_loss,
        mean_key="contrast_loss",
        band=Band("contrast_loss", average, optional=True),
        curve=Curve(
            "Contrast loss", "Share of the contrast that a water film, spray or fog takes.", sparse=True
        ),
    ),
    FrameMetric(
        "dirt", "dirt", "%",
        measure=lambda sample: sample.scene.view.dirt,
        mean_key="dirt",
        curve=Curve("Dirt", "Share of the view that what does not move for minutes hides.", sparse=True),
    ),
    FrameMetric("hidden", measure=_hidden, value=lambda *_: None),
    FrameMetric(
        "warned", "warnings", value=_warned, band=Band("warned", lambda values: int(sum(values)), digits=0)
    ),
    FrameMetric(
        "steps", "steps",
        value=lambda record, _: STEPS[Mode(record["mode"])],
        curve=Curve(
            "Steps below the configured mode",
            "1: one iteration, 2: derained only, 3: the raw image. At 0 a frame is processed as configured.",
            sparse=True,
        ),
    ),
    FrameMetric("trust", "trust", "%", measure=_trust, mean_key="trust", band=Band("trust", average)),
    FrameMetric(
        "flicker", "flicker", "%",
        measure=_flicker,
        mean_key="flicker",
        band=Band("flicker", average, digits=2),
        curve=Curve(
            "Label flicker",
            "Share of the pixels whose label changed from one frame to the next, along the motion.",
        ),
    ),
    FrameMetric(
        "confidence", "confidence", "%",
        measure=_confidence, mean_key="confidence", band=Band("confidence", average),
    ),
    FrameMetric("unlabelled", "unlabelled", "%", measure=_unlabelled, mean_key="unlabelled"),
    FrameMetric(
        "detections", "boxes",
        measure=_detections,
        value=lambda record, _: None if record["detections"] is None else len(record["detections"]),
        mean_key="detections_per_frame",
        band=Band("detections_per_frame", average, heading="boxes/frame"),
        curve=Curve("Detections", "Of every frame."),
    ),
    FrameMetric(
        "psnr_db", "PSNR", "dB",
        value=_image_quality("output", "psnr_db"),
        band=Band("psnr_db", average, digits=2, optional=True),
        curve=Curve(
            "Image quality",
            "PSNR of the clean image against its reference, dashed that of the input; higher is better.",
            reference="psnr_input_db",
            sparse=True,
        ),
    ),
    FrameMetric("psnr_input_db", "PSNR of the input", "dB", value=_image_quality("input", "psnr_db")),
    FrameMetric(
        "ssim", "SSIM",
        value=_image_quality("output", "ssim"), band=Band("ssim", average, digits=4, optional=True),
    ),
    FrameMetric(
        "latency_ms", "latency", "ms",
        value=lambda _, milliseconds: milliseconds.get("total"),
        band=Band("latency_p95_ms", _p95, heading="p95 ms"),
        curve=Curve("Latency", "Of every frame."),
    ),
)  # fmt: skip


def record_of(camera: str, index: int, received_ns: int, sample: FrameSample) -> dict:
    """The record of a frame that was processed.

    Args:
        camera: topic of its images.
        index: the camera's frames are counted from 0, those that cannot be read included.
        received_ns: when the recorder got it.
        sample: the frame.
    """
    scene = sample.scene
    height, width = scene.image.shape[:2]
    measured = {metric.key: metric.measure(sample) for metric in METRICS if metric.measure}
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
        **{key: number(value) if isinstance(value, float) else value for key, value in measured.items()},
        "fault": scene.fault,
        "notes": sample.notes,
    }


def unread_record(camera: str, index: int, received_ns: int, error: Exception) -> dict:
    """The record of an image that could not be read."""
    detail = {"cause": cause(error), "why": reason(error)}
    return {"camera": camera, "frame": index, "received_ns": received_ns, "unread": detail}


def dropped_record(camera: str, index: int, received_ns: int, stamp_ns: int) -> dict:
    """The record of a frame of which a running pipeline published nothing."""
    return {
        "camera": camera, "frame": index, "stamp_ns": stamp_ns, "received_ns": received_ns, "dropped": True
    }  # fmt: skip


def is_processed(record: Mapping) -> bool:
    """Whether a record is of a frame that was read and not dropped."""
    return not {"unread", "dropped"} & record.keys()


def values_of(record: Mapping, milliseconds: Mapping[str, float]) -> dict[str, float]:
    """Every metric's number by its key, where it is known; nothing of a frame that was not processed."""
    if not is_processed(record):
        return {}
    found = {metric.key: metric.number(record, milliseconds) for metric in METRICS}
    return {key: value for key, value in found.items() if value is not None}
