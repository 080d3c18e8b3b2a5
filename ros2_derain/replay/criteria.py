"""Criteria of a run: each a figure of its summary, a comparison and a number."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ros2_derain.replay import ReplayError

COMPARISONS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
EVERY = "*"
_SHAPE = re.compile(r"\s*([\w.*+-]+)\s*(<=|>=|==|!=|<|>)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """``figure comparison limit``, such as ``latency_ms.total.p95 < 100``.

    Attributes:
        figure: keys into the summary with points between them; ``*`` stands for every key.
        comparison: one of :data:`COMPARISONS`.
        limit: what the figure is compared with.
    """

    figure: str
    comparison: str
    limit: float

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ValueError: it has another shape.
        """
        found = _SHAPE.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is not 'FIGURE < NUMBER' (or <=, >, >=, ==, !=)")
        return cls(found[1], found[2], float(found[3]))

    def broken(self, summary: Mapping) -> list[str]:
        """What breaks the condition, a few words each; nothing where it holds."""
        values = list(_lookup(summary, self.figure.split("."), ()))
        if not values:
            return [f"the summary has no {self.figure}"]
        return [reason for name, value in values if (reason := self._broken_by(name, value))]

    def _broken_by(self, name: str, value: Any) -> str:
        if value is None:
            return f"{name} is not known"
        if isinstance(value, (Mapping, str, list)):
            return f"{name} is no number"
        return "" if COMPARISONS[self.comparison](value, self.limit) else f"{name} is {value:.4g}"

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self.limit:g}"


@dataclass(frozen=True)
class Criterion:
    """A requirement with a name.

    Attributes:
        name: for people.
        require: what must hold.
        when: it is required only where this holds; None: always.
    """

    name: str
    require: Condition
    when: Condition | None = None

    def judge(self, summary: Mapping) -> dict:
        """JSON-ready: ``name``, ``require``, ``met`` (None: not required here), ``why`` not."""
        verdict = {"name": self.name, "require": str(self.require)}
        if self.when and (reasons := self.when.broken(summary)):
            return verdict | {"met": None, "why": f"only when {self.when}: {'; '.join(reasons)}"}
        reasons = self.require.broken(summary)
        return verdict | {"met": not reasons, "why": "; ".join(reasons)}


def read(path: Path) -> list[Criterion]:
    """The criteria of a YAML file.

    Raises:
        ReplayError: it is no such file; the message gives the criterion's name and what is wrong.
    """
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ReplayError(f"{path} is not YAML: {error}") from error
    if not isinstance(listed, dict) or not listed:
        raise ReplayError(f"{path} must hold lines such as 'p95 latency: latency_ms.total.p95 < 100'")
    return [_criterion(path, str(name), entry) for name, entry in listed.items()]


def _criterion(path: Path, name: str, entry: object) -> Criterion:
    try:
        if isinstance(entry, str):
            return Criterion(name, Condition.read(entry))
        if isinstance(entry, dict) and {"require"} <= entry.keys() <= {"require", "when"}:
            conditions = (Condition.read(entry[key]) for key in ("require", "when") if key in entry)
            return Criterion(name, *conditions)
        raise ValueError("it is neither a condition nor 'require' with 'when'")
    except (ValueError, TypeError) as error:
        raise ReplayError(f"{path}, {name!r}: {error}") from error


def judge(criteria: Sequence[Criterion], summary: Mapping) -> list[dict]:
    """Each criterion's verdict over a summary."""
    return [criterion.judge(summary) for criterion in criteria]


def failures(verdicts: Sequence[Mapping]) -> list[str]:
    """A named line for each that is not met."""
    return [f"{v['name']}: {v['why']}, expected {v['require']}" for v in verdicts if v["met"] is False]


def _lookup(found: object, keys: Sequence[str], passed: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Every value that the keys lead to, with its full name."""
    if not keys:
        yield ".".join(passed), found
    elif isinstance(found, Mapping):
        for key in found if keys[0] == EVERY else [keys[0]]:
            if key in found:
                yield from _lookup(found[key], keys[1:], (*passed, key))
