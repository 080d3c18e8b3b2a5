"""Command-line options that several commands share, and how their values are checked. Needs no torch."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ros2_derain.rain.render import MAX_RATE

MAX_SEED = 2**31 - 1
MIN_SIDE = 64

T = TypeVar("T")
N = TypeVar("N", int, float)


class OptionError(Exception):
    """The value of an option is wrong; the message names the option and says what it accepts."""


def positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """For ``type=`` of an argument: a finite number above 0; argparse reports any other."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be more than 0 and finite, got {text}")
        return value

    number.__name__ = {int: "whole number", float: "number"}[kind]  # for argparse's message
    return number


def image_size(text: str) -> tuple[int, int]:
    """``960x540``: width and height of an image in pixels.

    Raises:
        argparse.ArgumentTypeError: it is not WIDTHxHEIGHT, or a side is shorter than 64.
    """
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1280x720, got {text!r}") from None
    if min(width, height) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_SIDE}x{MIN_SIDE}, got {text}")
    return width, height


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--html`` and ``--card``: where the results go."""
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the results to this file; an interrupted run continues from it",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a report page (default: beside --json)"
    )
    parser.add_argument("--card", action="store_true", help="store the results on the model's card")


def report_path(args: argparse.Namespace) -> Path | None:
    """The file of the report page: ``--html``, else beside ``--json``; None without either."""
    return args.html or (args.json and args.json.with_suffix(".html"))


def rates(text: str, option: str = "--rates") -> tuple[float, ...]:
    """``0,50,150``: rain rates in mm/h."""
    return several(text, option, lambda part: number(part, float, option, "a rain rate", 0, MAX_RATE, "150"))


def seeds(text: str) -> tuple[int, ...]:
    """``1,2,3``: seeds of the rain."""
    return several(text, "--seed", one_seed)


def one_seed(text: str) -> int:
    """``3``: a seed of the rain."""
    return number(text, int, "--seed", "a seed", 0, MAX_SEED, "3")


def frequency(text: str) -> float:
    """``15``: frames per second."""
    return number(text, float, "--fps", "a frame rate", 0.1, 1000, "15")


def number(
    text: str, kind: Callable[[str], N], option: str, what: str, low: float, high: float, example: str
) -> N:
    """A number in ``low``..``high``.

    Raises:
        OptionError: it is no such number.
    """
    try:
        value = kind(text)
        is_allowed = low <= value <= high
    except ValueError:
        is_allowed = False
    if not is_allowed:
        raise OptionError(
            f"{option}: {text!r} is not {what} in {low:g}..{high:.10g}: give e.g. {option} {example}"
        )
    return value


def one_of(text: str, option: str, known: Sequence[str]) -> str:
    """One of the known names.

    Raises:
        OptionError: it is none of them.
    """
    if text not in known:
        raise OptionError(f"{option}: {text!r} is not one of {', '.join(known)}")
    return text


def several(text: str, option: str, read: Callable[[str], T]) -> tuple[T, ...]:
    """Comma-separated values, each by ``read``.

    Raises:
        OptionError: a value is given twice, or as ``read``.
    """
    values = tuple(read(part.strip()) for part in text.split(","))
    if len(set(values)) < len(values):
        raise OptionError(f"{option}: {text!r} repeats a value: give each once")
    return values
