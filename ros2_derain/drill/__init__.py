"""Fault injection: faults injected into a running pipeline over DDS, and checks of its reaction.

All errors of this room are :class:`DrillError`.
"""


class DrillError(Exception):
    """The drill cannot run; the message says why and what to do."""


class CheckFailed(DrillError):
    """The pipeline did not react to a fault as expected; the message says what it did instead."""
