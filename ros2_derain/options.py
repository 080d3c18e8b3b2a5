"""Options that several subcommands have, and how their lists are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ros2_derain.engine import MAX_ITERATIONS, PRECISIONS, PRIORS, EngineSettings
from ros2_derain.errors import EvaluationError
from ros2_derain.rain.physics import MAX_RATE

MAX_SEED = 2**31 - 1


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Which model runs, and where."""
    parser.add_argument(
        "--model", default="loopnet", help="a name or a model's folder (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="(default: %(default)s)")


def add_iterations(parser: argparse.ArgumentParser) -> None:
    """How often a frame goes through the loop."""
    parser.add_argument(
        "--iterations",
        type=_one_number_of_iterations,
        default=3,
        help=f"of closed_loop, 1..{MAX_ITERATIONS} (default: %(default)s)",
    )


def add_results(parser: argparse.ArgumentParser, card: bool = True) -> None:
    """Where the figures go."""
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the figures here; an interrupted run goes on from here",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a report to look at (default: beside --json)"
    )
    if card:
        parser.add_argument("--card", action="store_true", help="note the figures on the model's card")


def page(args: argparse.Namespace) -> Path | None:
    """Where the report goes: the file of ``--html``, else beside that of ``--json``."""
    return args.html or (args.json and args.json.with_suffix(".html"))


def settings(args: argparse.Namespace, **changed) -> EngineSettings:
    """The engine's settings of these options; ``changed`` are further ones."""
    return EngineSettings(model=args.model, device=args.device, precision=args.precision, **changed)


def rates(text: str, option: str = "--rates") -> tuple[float, ...]:
    """``0,50,150`` -> rain rates in mm/h."""
    return _numbers(text, float, option, "a rain rate", 0, MAX_RATE, "0,50,150")


def iterations(text: str) -> tuple[int, ...]:
    """``1,2,3`` -> numbers of iterations."""
    return _numbers(text, int, "--iterations", "a number of iterations", 1, MAX_ITERATIONS, "1,2,3")


def _one_number_of_iterations(text: str) -> int:
    return _number(text, int, "--iterations", "a number of iterations", 1, MAX_ITERATIONS, "3")


def seeds(text: str) -> tuple[int, ...]:
    """``1,2,3`` -> seeds of the rain."""
    return _numbers(text, int, "--seed", "a seed", 0, MAX_SEED, "1,2,3")


def one_seed(text: str) -> int:
    """``3``: the seed of the rain."""
    return _number(text, int, "--seed", "a seed", 0, MAX_SEED, "3")


def priors(text: str) -> tuple[str, ...]:
    """``temporal,none`` -> priors of the engine."""
    return _each(text, "--prior", one_prior)


def one_prior(text: str) -> str:
    """``temporal``: one prior of the engine."""
    if text not in PRIORS:
        raise EvaluationError(f"--prior: {text!r} is not one of {', '.join(PRIORS)}")
    return text


def frequency(text: str) -> float:
    """Frames per second."""
    return _number(text, float, "--fps", "a frame rate", 0.1, 1000, "15")


def _numbers(text: str, kind, option: str, what: str, low: float, high: float, example: str) -> tuple:
    return _each(text, option, lambda part: _number(part, kind, option, what, low, high, example))


def _number(text: str, kind, option: str, what: str, low: float, high: float, example: str):
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise EvaluationError(
            f"{option}: {text!r} is not {what} in {low:g}..{high:.10g}; give such as {option} {example}"
        )
    return value


def _each(text: str, option: str, read: Callable) -> tuple:
    found = tuple(read(part.strip()) for part in text.split(","))
    if len(set(found)) < len(found):
        raise EvaluationError(f"{option} {text!r} names something twice")
    return found
