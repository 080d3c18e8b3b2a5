"""Plain data (YAML, JSON) into pydantic dataclasses; a refusal names file, key, value and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import pydantic
import yaml

T = TypeVar("T")

STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Of every dataclass read from a file: no unknown keys, no converted types, no NaN."""

_MAPPING = ("dataclass_type", "dict_type")


def read_yaml(path: Any, what: str, error: type[Exception]) -> Any:
    """The content of a YAML file.

    Args:
        path: a :class:`pathlib.Path`.
        what: the file is, for the message: ``recipe``.
        error: raised where the file cannot be read or is no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{what} {path} cannot be read: {' '.join(str(cause).split())}") from cause


def validated(kind: type[T], data: Any, where: str, error: type[Exception]) -> T:
    """``data`` as a pydantic dataclass.

    Args:
        kind: the dataclass, with :data:`STRICT`; its ``__post_init__`` may raise ValueError.
        data: what the file holds.
        where: file and key, for the messages.
        error: raised where something is wrong; its one line names all of it.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(data, default=str))
    except pydantic.ValidationError as refused:
        reasons = [_reason(kind, where, reason) for reason in refused.errors()]
        raise error("; ".join(reasons)) from None


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str, error: type[Exception]) -> None:
    """Raise ``error``, which lists the known names, where a given one is not among them."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise error(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(known)}")


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number: YAML 1.1 requires 1.0e-3."""


_Loader.yaml_implicit_resolvers = dict(yaml.SafeLoader.yaml_implicit_resolvers)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _reason(kind: type, where: str, reason: Any) -> str:
    """One of pydantic's errors in words."""
    *parents, key = reason["loc"] or ("",)
    place = f"{where}: {'.'.join(map(str, parents))}" if parents else where
    if reason["type"] == "unexpected_keyword_argument":
        return f"{place}: unknown key {key}; known: {', '.join(get_type_hints(_at(kind, parents)))}"
    if reason["type"] == "missing":
        return f"{place}: {key} is missing"
    place = f"{where}: {'.'.join(map(str, reason['loc']))}" if reason["loc"] else where
    if reason["type"] == "value_error":
        return f"{place}: {reason['msg'].removeprefix('Value error, ')}"
    allowed = "must be a mapping" if reason["type"] in _MAPPING else _must(reason["msg"])
    return f"{place} is {_short(reason['input'])}: {allowed}"


def _must(message: str) -> str:
    return message.replace("Input should be", "must be").replace("Input should", "must")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _at(kind: Any, location: Sequence[str | int]) -> Any:
    """The dataclass that a location inside another one holds."""
    for name in location:
        kind = get_type_hints(kind)[str(name)] if is_dataclass(kind) else _item(kind)
    return kind


def _item(kind: Any) -> Any:
    """The type of the items of a ``dict``, ``tuple`` or optional value."""
    return [given for given in get_args(kind) if given not in (NoneType, Ellipsis)][-1]
