"""Which cameras one process serves: the options of the executables. Loads neither ROS nor torch."""

from __future__ import annotations

import argparse
import re


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--namespace`` and ``--cameras``."""
    parser.add_argument("--namespace", default="", help="of every node and topic: one for each camera")
    parser.add_argument(
        "--cameras",
        type=names,
        default=(),
        metavar="NAME,NAME,...",
        help="several cameras on one model, in one process: each name is a namespace below --namespace",
    )


def names(text: str) -> tuple[str, ...]:
    """``front,left,right``, with or without brackets, as the names of cameras.

    Raises:
        argparse.ArgumentTypeError: one is no ROS name, or named twice.
    """
    inner = text.strip().removeprefix("[").removesuffix("]").strip()
    found = tuple(name.strip() for name in inner.split(",")) if inner else ()
    for name in found:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise argparse.ArgumentTypeError(
                f"{name!r} is no name for a camera: letters, digits and _, a letter first"
            )
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"a camera is named twice in {text!r}")
    return found
