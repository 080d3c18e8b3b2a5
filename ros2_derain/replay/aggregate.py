"""Figures of many frames, aggregated from their records during a replay or from files."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping

from ros2_derain.engine import Mode
from ros2_derain.replay.frame_metrics import METRICS, average, is_processed, values_of
from ros2_derain.reporting.statistics import mean, percentiles

DRY, UNKNOWN = "dry", "unknown"
BANDS = (("light", 2.5), ("moderate", 10.0), ("heavy", 50.0), ("violent", float("inf")))
"""Names of rain and the rate in mm/h below which the name applies (Met Office fact sheet 3)."""


def band_of(record: Mapping) -> str:
    """``dry`` where the rain gate was closed, else the name of the rain that was read."""
    if record["mode"] == Mode.DRY.value:
        return DRY
    if record["rain_mm_h"] is None:
        return UNKNOWN
    return next(name for name, below in BANDS if record["rain_mm_h"] < below)


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
            "outputs": {**means, "detections": dict(sorted(self._classes.items()))},
            "latency_ms": {stage: percentiles(spent) for stage, spent in self._stages.items()},
        }

    def band(self, name: str) -> dict:
        """The row of the table by rain."""
        row: dict = {"band": name, "frames": sum(self._modes.values())}
        for metric in METRICS:
            values = self._values[metric.key]
            if metric.band and (values or not metric.band.optional):
                row[metric.band.key] = metric.band.statistic(values)
        return row

    def _rain(self, read: int) -> dict:
        rates = self._values["rain_mm_h"]
        spread = percentiles(rates) or dict.fromkeys(("p50", "p95", "p99", "max"))
        return {
            "mean_mm_h": mean(rates),
            **{f"{name}_mm_h": value for name, value in spread.items()},
            "raining": 1 - self._modes[Mode.DRY.value] / read if read else None,
        }


class BandAggregate:
    """Figures of many frames by how hard it rained."""

    def __init__(self) -> None:
        self._bands: dict[str, Aggregate] = {}

    def add(self, record: Mapping, milliseconds: Mapping[str, float]) -> None:
        """Count a frame; one that was not processed has no rain."""
        if is_processed(record):
            self._bands.setdefault(band_of(record), Aggregate()).add(record, milliseconds)

    def rows(self) -> list[dict]:
        """A row for each band that occurred, the driest first."""
        order = [DRY, *(name for name, _ in BANDS), UNKNOWN]
        return [self._bands[name].band(name) for name in order if name in self._bands]
