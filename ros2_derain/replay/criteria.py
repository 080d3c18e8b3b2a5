"""Criteria of a run: each a figure of its summary, a comparison and a number."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ros2_derain.errors import EvaluationError

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
        limit: what the figure is held against.
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
        """What breaks it, a few words each; nothing where it holds."""
        values = list(_lookup(summary, self.figure.split("."), ()))
        if not values:
            return [f"the summary has no {self.figure}"]
        return [said for name, value in values if (said := self._broken_by(name, value))]

    def _broken_by(self, name: str, value: object) -> str:
        if value is None:
            return f"{name} is not known"
        if isinstance(value, (Mapping, str, list)):
            return f"{name} is no number"
        return "" if COMPARISONS[self.comparison](value, self.limit) else f"{name} is {value:.4g}"

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self.limit:g}"


@dataclass(frozen=True)
class Criterion:
    """A demand with a name.

    Attributes:
        name: as people say it.
        require: what must hold.
        when: it is demanded only where this holds; None: always.
    """

    name: str
    require: Condition
    when: Condition | None = None

    def judge(self, summary: Mapping) -> dict:
        """JSON-ready: ``name``, ``require``, ``met`` (None: not demanded here), ``why`` not."""
        told = {"name": self.name, "require": str(self.require)}
        if self.when and (reasons := self.when.broken(summary)):
            return told | {"met": None, "why": f"only when {self.when}: {'; '.join(reasons)}"}
        reasons = self.require.broken(summary)
        return told | {"met": not reasons, "why": "; ".join(reasons)}


def read(path: Path) -> list[Criterion]:
    """The criteria of a YAML file.

    Raises:
        EvaluationError: it is none; the message names the line's name and what is wrong.
    """
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise EvaluationError(f"{path} is not YAML: {error}") from error
    if not isinstance(listed, dict) or not listed:
        raise EvaluationError(f"{path} must hold lines such as 'p95 latency: latency_ms.total.p95 < 100'")
    return [_criterion(path, str(name), said) for name, said in listed.items()]


def _criterion(path: Path, name: str, said: object) -> Criterion:
    try:
        if isinstance(said, str):
            return Criterion(name, Condition.read(said))
        if isinstance(said, dict) and {"require"} <= said.keys() <= {"require", "when"}:
            return Criterion(name, *(Condition.read(said[key]) for key in ("require", "when") if key in said))
        raise ValueError("it is neither a condition nor 'require' with 'when'")
    except (ValueError, TypeError) as error:
        raise EvaluationError(f"{path}, {name!r}: {error}") from error


def judge(criteria: Sequence[Criterion], summary: Mapping) -> list[dict]:
    """Each criterion's verdict over a summary."""
    return [criterion.judge(summary) for criterion in criteria]


def failures(verdicts: Sequence[Mapping]) -> list[str]:
    """A named line for each that is not met."""
    return [f"{v['name']}: {v['why']}, wanted is {v['require']}" for v in verdicts if v["met"] is False]


def _lookup(found: object, keys: Sequence[str], passed: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Every value that the keys lead to, with its full name."""
    if not keys:
        yield ".".join(passed), found
    elif isinstance(found, Mapping):
        for key in found if keys[0] == EVERY else [keys[0]]:
            if key in found:
                yield from _lookup(found[key], keys[1:], (*passed, key))
