"""Options of the command line that describe wet glass."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

from ros2_derain.rain import GLASS_PRESETS, Glass, RainError, glass_preset

AUTO = "auto"
"""Instead of a coverage: that of the rain rate and the wiper."""

HANDLES = {
    "focus": ("PX", "blur radius in pixels of a 640 pixel wide image: 0 sharp (dome), 3 to 10 a windscreen"),
    "drop_size": ("SHARE", "median diameter of the drops, share of the image's width"),
    "drop_spread": ("S", "spread of the diameters: standard deviation of their logarithm"),
    "contact": ("DEG", "angle at which drops meet the glass: the higher, the stronger the lens"),
    "stretch": ("RATIO", "height of a drop by its width; below 1: widened by the airflow"),
    "irregular": ("0..1", "how far outlines are from ellipses"),
    "wiper": ("S", "seconds between two strokes; 0: no wiper"),
    "smear": ("0..1", "what the wiper smears"),
    "film": ("0..1", "water film, which lowers the contrast"),
    "spray": ("0..1", "spray behind a vehicle ahead"),
    "runs": ("PER_S", "drops per second that run down and leave trails"),
    "glint": ("FACTOR", "brightness of lamps in drops"),
}
"""Option, with underscores -> what it takes, help."""

_ATTRIBUTES = {"drop_size": "size", "drop_spread": "spread"}
_WITHOUT_DROPS = {"film", "spray", "wiper", "smear", "runs"}
"""Handles that mean something where the coverage by standing drops is 0."""


def add_glass_options(parser: argparse.ArgumentParser, each: str = "one output each") -> None:
    """Declare the options; each takes one number, or several with commas: ``each`` says what these make."""
    group = parser.add_argument_group(f"water on the glass (several values with commas: {each})")
    group.add_argument(
        "--glass", metavar="COVERAGE", type=_coverages,
        help="share of the image that drops hide, 0..0.9; auto: by the rain rate and the wiper",
    )  # fmt: skip
    group.add_argument("--glass-preset", metavar="NAME", help=f"{', '.join(GLASS_PRESETS)}")
    for option, (metavar, text) in HANDLES.items():
        group.add_argument(f"--{option.replace('_', '-')}", type=_numbers, metavar=metavar, help=text)


def asks_for_glass(args: argparse.Namespace) -> bool:
    """Whether any option of the glass was given."""
    return bool(args.glass or args.glass_preset or _handles(args))


def glasses(args: argparse.Namespace, rate: float) -> list[tuple[str, Glass | None]]:
    """The requested glasses in rain of a rate in mm/h, each with a label; without options none.

    Raises:
        RainError: an option is out of range, drops are described and none are asked for, or the coverage is
            that of no rain.
    """
    if not asks_for_glass(args):
        return [("", None)]
    handles = _handles(args)
    drops = set(handles) - _WITHOUT_DROPS
    if drops and not args.glass and not args.glass_preset:
        option = next(option for option in HANDLES if _ATTRIBUTES.get(option, option) in drops)
        raise RainError(
            f"--{option.replace('_', '-')} describes drops: ask for some, such as with --glass 0.08"
        )
    names = args.glass_preset.split(",") if args.glass_preset else [""]
    found: list[tuple[str, Glass | None]] = []
    for name, coverage, *values in itertools.product(names, args.glass or [None], *handles.values()):
        chosen = dict(zip(handles, values, strict=True))
        shown = [name] if name else []
        shown += [f"glass{coverage}"] * (coverage is not None)
        shown += [f"{key}{value:g}" for key, value in chosen.items() if len(handles[key]) > 1]
        found.append(("_".join(shown) or _joined(chosen), _glass(name, coverage, rate, chosen)))
    return found


def _glass(name: str, coverage: str | None, rate: float, handles: dict[str, float]) -> Glass:
    base = glass_preset(name) if name else Glass(coverage=0.0)
    if coverage == AUTO:
        if not rate:
            raise RainError("--glass auto takes the coverage from the rain: add --rate, such as --rate 50")
        in_rain = Glass.in_rain(rate, handles.get("wiper", base.wiper))
        base = replace(base, coverage=in_rain.coverage, size=in_rain.size)
    elif coverage is not None:
        base = replace(base, coverage=float(coverage))
    return replace(base, **handles)  # type: ignore[arg-type]


def _handles(args: argparse.Namespace) -> dict[str, tuple[float, ...]]:
    """The options that were given, by the attribute of the glass."""
    given = {_ATTRIBUTES.get(option, option): getattr(args, option) for option in HANDLES}
    return {name: values for name, values in given.items() if values is not None}


def _joined(chosen: dict[str, float]) -> str:
    return "_".join(f"{key}{value:g}" for key, value in chosen.items())


def _coverages(text: str) -> tuple[str, ...]:
    try:
        return tuple(part if part == AUTO else f"{float(part):g}" for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {AUTO} or numbers, such as 0.02,0.08") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas, such as 2,6") from None
