"""The passes of a perception run, and how their figures make rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ros2_derain.evaluate import gate
from ros2_derain.evaluate.conditions import OWN, Way
from ros2_derain.reporting import statistics


@dataclass(frozen=True)
class Plan:
    """The passes of a run, and how their figures make rows.

    Attributes:
        rates: mm/h. Dry pictures are always parsed: the other rows are held against them.
        seeds: of the rain.
        ways: to run the loop.
    """

    rates: Sequence[float]
    seeds: Sequence[int]
    ways: Sequence[Way]

    def __iter__(self) -> Iterator[tuple[float, int, Way]]:
        """Rate, seed and way of each pass; dry pictures have one seed."""
        if 0 not in self.rates:
            yield 0.0, self.seeds[0], Way(None)
        for rate in self.rates:
            for seed in self._seeds(rate):
                yield from ((rate, seed, way) for way in (Way(None), *self.ways))

    @property
    def size(self) -> int:
        """How many passes there are."""
        return sum(1 for _ in self)

    def _seeds(self, rate: float) -> Sequence[int]:
        return self.seeds if rate else self.seeds[:1]

    def rows(self, found: Mapping[tuple[float, int, Way], dict]) -> list[dict]:
        """A row for each rate, way and parser: the mean over the seeds, with its ``spread`` if several.

        With boxes, the rows in rain have their ``recovery``, for each class too.
        """
        cases = list(dict.fromkeys((rate, way) for rate, _, way in found))
        rows = []
        for rate, way in cases:
            seeds = [found[rate, seed, way] for seed in self._seeds(rate)]
            for parser in seeds[0]["parsers"]:
                each = [_row(one, parser) for one in seeds]
                row = {"rate_mm_h": rate, "input": _label(rate, way, parser), **statistics.mean_row(each)}
                spread = statistics.deviations(each)
                rows.append(row | ({"spread": spread} if spread else {}))
        _add_recovery(rows)
        return rows

    def gauge(self, found: Mapping[tuple[float, int, Way], dict]) -> dict:
        """How the gauge and the gate did: shares and means for each rate, and Spearman's correlation."""
        cases = [(rate, seed) for rate in self.rates for seed in self._seeds(rate)]
        rows, spearman = gate.summarise({case: found[(*case, self.ways[0])]["gauge"] for case in cases})
        return {"way": self.ways[0].name, "rates": rows, "spearman": spearman}


def _row(one: Mapping, parser: str) -> dict:
    gauge = one["gauge"] or {}
    means = {key: sum(gauge[key]) / len(gauge[key]) for key in ("read_mm_h", "gate_open") if gauge}
    return {**means, **one["image"], **one["parsers"][parser]}


def _label(rate: float, way: Way, parser: str) -> str:
    own = way.name if way.prior or rate else "dry"
    if parser == OWN:
        return own
    return f"{parser}: {'derained' if way.prior else own}"


def _add_recovery(rows: list[dict]) -> None:
    """``(AP - AP in rain) / (AP dry - AP in rain)``; None where rain cost nothing."""
    by_name = {(row["rate_mm_h"], row["input"]): row for row in rows}
    dry = by_name[0.0, "dry"]
    for row in rows:
        rain = by_name.get((row["rate_mm_h"], "rain"))
        if "boxes" not in row or rain is None or row is rain or ":" in row["input"]:
            continue
        row["recovery"] = _recovery(row["ap50"], rain["ap50"], dry["ap50"])
        for name, found in row["boxes"].items():
            others = [other["boxes"][name]["ap50"] for other in (rain, dry)]
            found["recovery"] = _recovery(found["ap50"], *others)


def _recovery(reached: float | None, rain: float | None, dry: float | None) -> float | None:
    if None in (reached, rain, dry) or dry <= rain:
        return None
    return (reached - rain) / (dry - rain)


def box_rows(rows: Sequence[Mapping]) -> list[dict]:
    """AP and recovery per class, a row each."""
    return [
        {"rate_mm_h": row["rate_mm_h"], "input": row["input"], "class": name, **found}
        for row in rows
        for name, found in row.get("boxes", {}).items()
    ]
