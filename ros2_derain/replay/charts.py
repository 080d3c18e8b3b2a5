"""The curves of a replay over time, from one point for each frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ros2_derain.engine import Mode
from ros2_derain.replay.injected_rain import WAYS
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve

STEPS = {Mode.LOOP: 0, Mode.DRY: 0, Mode.ONE_ITERATION: 1, Mode.DERAIN_ONLY: 2, Mode.PASS_THROUGH: 3}
"""How far below the configured way each mode is."""

POINTS = 400
"""Of a curve; of more frames the worst of every few is drawn."""


def point(record: Mapping, milliseconds: Mapping[str, float] | None) -> dict:
    """What the curves need of a frame."""
    if {"unread", "dropped"} & record.keys():
        return {"camera": record["camera"], "time_ns": record["received_ns"]}
    boxes = record["detections"]
    return {
        "camera": record["camera"],
        "time_ns": record["received_ns"],
        "rate": record["rain_mm_h"],
        "steps": STEPS[Mode(record["mode"])],
        "latency": (milliseconds or {}).get("total"),
        "flicker": record["flicker"],
        "boxes": None if boxes is None else len(boxes),
        "injected": {
            rate: {way: found[way]["miou"] for way in WAYS}
            for rate, found in record.get("injected", {}).items()
        },
    }


def curves(points: Sequence[Mapping]) -> list[Curve]:
    """Rain rate, mode where it varies, latency, label flicker and detections of every frame."""
    shown = [
        ("Rain rate", "As the gauge read it.", "rain rate", "mm/h", lambda p: p.get("rate")),
        ("Latency", "Of every frame.", "latency", "ms", lambda p: p.get("latency")),
        (
            "Label flicker",
            "Share of the pixels whose label changed from one frame to the next, along the motion.",
            "flicker",
            "%",
            lambda p: None if p.get("flicker") is None else 100 * p["flicker"],
        ),
        ("Detections", "Of every frame.", "boxes", "", lambda p: p.get("boxes")),
    ]
    if any(p.get("steps") for p in points):
        steps = (
            "1: one iteration, 2: derained only, 3: the raw image. At 0 a frame is processed as configured."
        )
        shown.insert(1, ("Steps below the configured mode", steps, "steps", "", lambda p: p.get("steps")))
    return [
        Curve(title, text, Axis("time", "s"), Axis(name, unit), _series(points, value))
        for title, text, name, unit, value in shown
    ]


def agreement(points: Sequence[Mapping], injected: Mapping) -> list[Curve]:
    """Agreement with the dry run over time in the heaviest rain."""
    if not injected:
        return []
    rate = max(injected, key=float)
    series = []
    for way in WAYS:

        def value(p: Mapping, way: str = way) -> float | None:
            found = p.get("injected", {}).get(rate)
            return None if found is None or found[way] is None else 100 * found[way]

        for line in _series(points, value, worst=min):
            alone = len({p["camera"] for p in points}) == 1
            name = way if alone else f"{way}, {line.name}"
            series.append(Series(name, line.x, line.y, reference=alone and way == "rain"))
    return [
        Curve(
            f"Agreement with the dry run at {rate} mm/h",
            "mIoU of the labels of every frame.",
            Axis("time", "s"),
            Axis("mIoU", "%"),
            series,
        )
    ]


def _series(
    points: Sequence[Mapping], value: Callable[[Mapping], float | None], worst: Callable = max
) -> list[Series]:
    """A line for each camera, thinned to what a chart can show."""
    start = min((point["time_ns"] for point in points), default=0)
    lines: dict[str, list[tuple[float, float]]] = {}
    for p in points:
        found = value(p)
        time_s = (p["time_ns"] - start) / 1e9
        lines.setdefault(p["camera"], []).append((time_s, math.nan if found is None else found))
    return [Series(name, *zip(*_thinned(line, worst), strict=True)) for name, line in lines.items()]


def _thinned(line: Sequence[tuple[float, float]], worst: Callable) -> list[tuple[float, float]]:
    width = -(-len(line) // POINTS)
    groups = [line[i : i + width] for i in range(0, len(line), width)]
    return [worst(group, key=lambda xy: -math.inf if math.isnan(xy[1]) else xy[1]) for group in groups]
