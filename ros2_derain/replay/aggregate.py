"""The figures of a run, counted from its frames' records as they come, or read back from files."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from ros2_derain.engine import Mode
from ros2_derain.replay.frame_records import WELL
from ros2_derain.reporting.statistics import mean, percentiles

DRY = "dry"
BANDS = (("light", 2.5), ("moderate", 10.0), ("heavy", 50.0), ("violent", float("inf")))
"""Names of rain and the rate in mm/h below which it is called so (Met Office fact sheet 3)."""

MEANS = ("rain_mm_h", "trust", "confidence", "flicker", "unlabelled")
"""Figures of a record whose means are taken."""


def band_of(record: Mapping) -> str:
    """``dry`` where the rain gate was closed, else the name of the rain that was read."""
    if record["mode"] == Mode.DRY.value:
        return DRY
    if record["rain_mm_h"] is None:
        return "unknown"
    return next(name for name, below in BANDS if record["rain_mm_h"] < below)


class Tally:
    """Counts frames."""

    def __init__(self) -> None:
        self._frames = 0
        self._unread: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._modes: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._faults: list[str] = []
        self._warned = self._parsed = self._boxes = self._dropped = 0
        self._values: dict[str, array] = defaultdict(_numbers)
        self._stages: dict[str, array] = defaultdict(_numbers)

    def add(self, record: Mapping, milliseconds: Mapping[str, float] | None = None) -> None:
        """Count a frame's record, and the time that its stages took."""
        self._frames += 1
        if "unread" in record:
            self._unread[record["unread"]["cause"]] += 1
            self._reasons.setdefault(record["unread"]["cause"], record["unread"]["why"])
            return
        if "dropped" in record:
            self._dropped += 1
            return
        self._modes[record["mode"]] += 1
        self._notes.update(record["notes"])
        if record["fault"]:
            self._faults.append(record["fault"])
        self._warned += bool(record["fault"]) or record["mode"] not in WELL
        for key in MEANS:
            if record[key] is not None:
                self._values[key].append(record[key])
        if record["detections"] is not None:
            self._parsed += 1
            self._boxes += len(record["detections"])
            self._classes.update(box["class"] for box in record["detections"])
        for stage, spent in (milliseconds or {}).items():
            self._stages[stage].append(spent)

    def figures(self) -> dict:
        """What ``summary.json`` says of all frames."""
        read = sum(self._modes.values())
        return {
            "frames": {
                "in": self._frames,
                "read": read,
                "unread": sum(self._unread.values()),
                "unread_by_cause": dict(sorted(self._unread.items())),
                "unread_first_reason": dict(sorted(self._reasons.items())),
                "dropped": self._dropped,
                "warned": self._warned,
                "faults": len(self._faults),
                "first_fault": self._faults[0] if self._faults else "",
                "odd": dict(sorted(self._notes.items())),
            },
            "modes": dict(sorted(self._modes.items())),
            "rain": self._rain(read),
            "outputs": {
                "trust": _mean(self._values["trust"]),
                "confidence": _mean(self._values["confidence"]),
                "unlabelled": _mean(self._values["unlabelled"]),
                "flicker": _mean(self._values["flicker"]),
                "detections_per_frame": self._boxes / self._parsed if self._parsed else None,
                "detections": dict(sorted(self._classes.items())),
            },
            "latency_ms": {stage: percentiles(spent) for stage, spent in self._stages.items()},
        }

    def _rain(self, read: int) -> dict:
        rates = self._values["rain_mm_h"]
        spread = percentiles(rates) or dict.fromkeys(("p50", "p95", "p99", "max"))
        return {
            "mean_mm_h": mean(rates),
            **{f"{name}_mm_h": value for name, value in spread.items()},
            "raining": 1 - self._modes[Mode.DRY.value] / read if read else None,
        }


class BandTally:
    """Counts frames by how hard it rained."""

    def __init__(self) -> None:
        self._bands: dict[str, Tally] = {}

    def add(self, record: Mapping, milliseconds: Mapping[str, float] | None = None) -> None:
        """Count a frame; one that was not processed has no rain."""
        if not {"unread", "dropped"} & record.keys():
            self._bands.setdefault(band_of(record), Tally()).add(record, milliseconds)

    def rows(self) -> list[dict]:
        """A row per band that occurred, the driest first."""
        order = [DRY, *(name for name, _ in BANDS), "unknown"]
        return [_row(name, self._bands[name].figures()) for name in order if name in self._bands]


def _row(band: str, found: Mapping) -> dict:
    outputs, total = found["outputs"], found["latency_ms"].get("total")
    return {
        "band": band,
        "frames": found["frames"]["read"],
        "mean_mm_h": found["rain"]["mean_mm_h"],
        "warned": found["frames"]["warned"],
        "trust": outputs["trust"],
        "confidence": outputs["confidence"],
        "flicker": outputs["flicker"],
        "detections_per_frame": outputs["detections_per_frame"],
        "latency_p95_ms": total["p95"] if total else None,
    }


def _numbers() -> array:
    """Eight bytes for each: a fleet has millions of frames."""
    return array("d")


def _mean(values: array) -> float | None:
    return float(np.mean(values)) if values else None
