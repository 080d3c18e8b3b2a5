"""Kinds of arguments that several subcommands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """For ``type=`` of an argument: a finite number above 0; argparse tells of any other."""

    def number(text: str) -> int | float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be more than 0 and finite, got {text}")
        return value

    number.__name__ = {int: "whole number", float: "number"}[kind]  # for argparse's message
    return number
