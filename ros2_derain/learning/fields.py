"""Plain data from YAML into dataclasses: every key, type and range checked by name."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any

from ros2_derain.data.images import DataError

from .errors import LearningError


@dataclass(frozen=True)
class Limits:
    """What a value may be: at least ``low``, below ``below``, at most ``high``, one of ``choices``."""

    low: float | None = None
    high: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def refusal(self, value: Any) -> str | None:
        """What is asked of a value that is refused, or None where it is fine."""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if self.low is not None and value < self.low:
            return f"must be at least {self.low}"
        if self.high is not None and value > self.high:
            return f"must be at most {self.high}"
        if self.below is not None and value >= self.below:
            return f"must be below {self.below}"
        return None


def limited(default: Any, **limits: Any) -> Any:
    """A dataclass field with a default and :class:`Limits`."""
    return field(default=default, metadata={"limits": Limits(**limits)})


def build(kind: type, data: Any, where: str) -> Any:
    """A dataclass from a mapping of its fields; nested dataclasses from nested mappings.

    Args:
        kind: the dataclass; its ``__post_init__`` may raise ValueError or LearningError.
        data: what YAML gave.
        where: file and key, for the messages.

    Raises:
        LearningError: an unknown or missing key, a value of the wrong type or out of its range.
    """
    if not isinstance(data, dict):
        raise LearningError(f"{where}: expected a mapping of keys to values, got {_shown(data)}")
    known = {item.name: item for item in fields(kind) if item.init}
    refuse_unknown(data, known, where)
    missing = [name for name, item in known.items() if _required(item) and name not in data]
    if missing:
        raise LearningError(f"{where}: {', '.join(missing)} is missing")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in data.items():
        values[name] = _value(hints[name], value, f"{where}: {name}")
        refused = known[name].metadata.get("limits", Limits()).refusal(values[name])
        if refused:
            raise LearningError(f"{where}: {name} is {_shown(value)}, it {refused}")
    try:
        return kind(**values)
    except (ValueError, DataError, LearningError) as error:
        raise LearningError(f"{where}: {error}") from error


def refuse_unknown(given: typing.Iterable, known: typing.Iterable, where: str) -> None:
    """
    Raises:
        LearningError: a name that is not known; the message lists the known ones.
    """
    unknown = sorted(map(str, set(given) - set(known)))
    if unknown:
        raise LearningError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(known)}")


def flat(data: dict, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by dots."""
    result = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return result


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return build(hint, value, where)
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [parameters[0]] * len(value) if parameters[-1] is Ellipsis else parameters
        if len(kinds) != len(value):
            raise LearningError(f"{where}: expected {len(kinds)} values, got {_shown(value)}")
        return tuple(
            _value(kind, item, f"{where}[{i}]")
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict and isinstance(value, dict):
        return {str(key): _value(parameters[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        return None if value is None and types.NoneType in parameters else _value(parameters[0], value, where)
    return _scalar(origin or hint, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is float and not isinstance(value, bool):
        try:  # YAML takes 1e-3 for a word: it wants 1.0e-3
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise LearningError(f"{where}: expected {_named(kind)}, got {_shown(value)}")


def _required(item: Field) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _named(kind: type) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(kind, {tuple: "a list", dict: "a mapping"}.get(kind, kind.__name__))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
