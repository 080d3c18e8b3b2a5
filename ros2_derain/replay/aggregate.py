"""Figures of many frames, aggregated from their records during a replay or from files."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ros2_derain.engine import Mode
from ros2_derain.replay.frame_metrics import DIGITS, METRICS, average, is_processed, values_of
from ros2_derain.reporting.statistics import mean, percentiles

DRY, UNKNOWN = "dry", "unknown"
COVERED = 0.01
"""Share of the view from which on it counts as covered."""


@dataclass(frozen=True)
class Bands:
    """A division of the frames.

    Attributes:
        limits: names, and the value below which each applies.
        key: of the value in a frame's record.
        dry: whether those on which the gate was closed are a band of their own.
    """

    limits: Sequence[tuple[str, float]]
    key: str
    dry: bool = False

    def names(self) -> list[str]:
        """In their order."""
        return [DRY, *(name for name, _ in self.limits), UNKNOWN]

    def of(self, record: Mapping) -> str:
        """The band of a frame."""
        if self.dry and record["mode"] == Mode.DRY.value:
            return DRY
        value = record[self.key]
        return UNKNOWN if value is None else next(name for name, below in self.limits if value < below)


BY_RAIN = Bands(
    (("light", 2.5), ("moderate", 10.0), ("heavy", 50.0), ("violent", float("inf"))), "rain_mm_h", dry=True
)
"""By the rain that was read, in mm/h (Met Office fact sheet 3); ``dry`` where the gate was closed."""

BY_GLASS = Bands(
    (("below 1 %", COVERED), ("1 to 5 %", 0.05), ("5 to 20 %", 0.20), ("20 % and more", float("inf"))),
    "coverage",
)
"""By the share of the view that water on the glass covers."""


class Aggregate:
    """Figures of many frames, counted from their records."""

    def __init__(self) -> None:
        self._frames = self._dropped = self._faults = 0
        self._first_fault = ""
        self._unread: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._modes: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._values = {metric.key: array("d") for metric in METRICS}  # 8 bytes each: fleets have millions
        self._stages: dict[str, array] = {}
        self._hidden: dict[str, array] = {}

    def add(self, record: Mapping, milliseconds: Mapping[str, float]) -> None:
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
            self._faults += 1
            self._first_fault = self._first_fault or record["fault"]
        self._classes.update(box["class"] for box in record["detections"] or ())
        for key, value in values_of(record, milliseconds).items():
            self._values[key].append(value)
        for region, share in record["hidden"].items():
            self._hidden.setdefault(region, array("d")).append(share)
        for stage, spent in milliseconds.items():
            self._stages.setdefault(stage, array("d")).append(spent)

    def noted(self, note: str) -> int:
        """How many frames have a note."""
        return self._notes[note]

    def summary(self) -> dict:
        """The figures of all frames, as in ``summary.json``."""
        read = sum(self._modes.values())
        means = {m.mean_key: average(self._values[m.key]) for m in METRICS if m.mean_key}
        return {
            "frames": {
                "in": self._frames,
                "read": read,
                "unread": sum(self._unread.values()),
                "unread_by_cause": dict(sorted(self._unread.items())),
                "unread_first_reason": dict(sorted(self._reasons.items())),
                "dropped": self._dropped,
                "warned": int(sum(self._values["warned"])),
                "faults": self._faults,
                "first_fault": self._first_fault,
                "odd": dict(sorted(self._notes.items())),
            },
            "modes": dict(sorted(self._modes.items())),
            "rain": self._rain(read),
            "glass": self._glass(),
            "outputs": {**means, "detections": dict(sorted(self._classes.items()))},
            "latency_ms": {stage: percentiles(spent) for stage, spent in self._stages.items()},
        }

    def band(self, name: str) -> dict:
        """The row of a table by bands."""
        row: dict = {"band": name, "frames": sum(self._modes.values())}
        for metric in METRICS:
            values = self._values[metric.key]
            if metric.band and (values or not metric.band.optional):
                row[metric.band.key] = metric.band.statistic(values)
        return row

    def _rain(self, read: int) -> dict:
        return {
            "mean_mm_h": mean(self._values["rain_mm_h"]),
            **self._spread("rain_mm_h", "mm_h", 2),
            "raining": 1 - self._modes[Mode.DRY.value] / read if read else None,
        }

    def _glass(self) -> dict:
        """What the camera could not see; None where that was not measured."""
        coverage, dirt = self._values["coverage"], self._values["dirt"]
        return {
            "mean_coverage": mean(coverage, DIGITS),
            **self._spread("coverage", "coverage", DIGITS),
            "covered": sum(share >= COVERED for share in coverage) / len(coverage) if coverage else None,
            "mean_contrast_loss": mean(self._values["contrast_loss"], DIGITS),
            "max_dirt": max(dirt, default=None),
            "hidden": {region: mean(shares, DIGITS) for region, shares in self._hidden.items()},
        }

    def _spread(self, key: str, unit: str, digits: int) -> dict:
        """Percentiles and maximum of a metric over all frames."""
        spread = percentiles(self._values[key], digits) or dict.fromkeys(("p50", "p95", "p99", "max"))
        return {f"{name}_{unit}": value for name, value in spread.items()}


class BandAggregate:
    """Figures of many frames by band.

    Args:
        bands: how the frames are divided.
    """

    def __init__(self, bands: Bands) -> None:
        self._division = bands
        self._bands: dict[str, Aggregate] = {}

    def add(self, record: Mapping, milliseconds: Mapping[str, float]) -> None:
        """Count a frame; one that was not processed is in no band."""
        if is_processed(record):
            self._bands.setdefault(self._division.of(record), Aggregate()).add(record, milliseconds)

    def rows(self) -> list[dict]:
        """A row for each band that occurred, the least first."""
        return [self._bands[name].band(name) for name in self._division.names() if name in self._bands]
