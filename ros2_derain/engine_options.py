"""Command-line options of the engine: model, device, precision, prior and iterations."""

from __future__ import annotations

import argparse

from ros2_derain.engine import MAX_ITERATIONS, PRECISIONS, PRIORS, RUNTIMES, EngineSettings
from ros2_derain.options import number, one_of, several


def add_engine(parser: argparse.ArgumentParser, several_runtimes: bool = False) -> None:
    """Add ``--model``, ``--device``, ``--precision`` and ``--runtime``; see :func:`add_device`."""
    parser.add_argument(
        "--model", default="loopnet", help="a name or a model's folder (default: %(default)s)"
    )
    add_device(parser, several_runtimes)


def add_device(parser: argparse.ArgumentParser, several_runtimes: bool = False) -> None:
    """Add ``--device``, ``--precision`` and ``--runtime``, which takes several where that is asked for."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="(default: %(default)s)")
    names = ", ".join(RUNTIMES)
    if several_runtimes:
        what = f"what runs the networks: {names}; several are compared (default: auto)"
        parser.add_argument("--runtime", type=runtimes, default=("auto",), metavar="NAME,...", help=what)
    else:
        what = f"what runs the networks: {names} (default: %(default)s)"
        parser.add_argument("--runtime", type=one_runtime, default="auto", metavar="NAME", help=what)


def add_iterations(parser: argparse.ArgumentParser) -> None:
    """Add ``--iterations`` of the closed loop."""
    parser.add_argument(
        "--iterations",
        type=one_number_of_iterations,
        default=3,
        help=f"of closed_loop, 1..{MAX_ITERATIONS} (default: %(default)s)",
    )


def settings(args: argparse.Namespace, **changed) -> EngineSettings:
    """The engine's settings of the options of :func:`add_engine`; ``changed`` are further ones."""
    given = {name: getattr(args, name) for name in ("model", "device", "precision", "runtime")}
    return EngineSettings(**{**given, **changed})


def one_number_of_iterations(text: str) -> int:
    """``3``: a number of iterations."""
    return number(text, int, "--iterations", "a number of iterations", 1, MAX_ITERATIONS, "3")


def iterations(text: str) -> tuple[int, ...]:
    """``1,2,3``: numbers of iterations."""
    return several(text, "--iterations", one_number_of_iterations)


def one_runtime(text: str) -> str:
    """``openvino``: a runtime of the engine; raises OptionError where there is no such."""
    return one_of(text, "--runtime", RUNTIMES)


def runtimes(text: str) -> tuple[str, ...]:
    """``torch,openvino``: runtimes of the engine."""
    return several(text, "--runtime", one_runtime)


def one_prior(text: str) -> str:
    """``temporal``: a prior of the engine; raises OptionError where there is no such."""
    return one_of(text, "--prior", PRIORS)


def priors(text: str) -> tuple[str, ...]:
    """``temporal,none``: priors of the engine."""
    return several(text, "--prior", one_prior)
