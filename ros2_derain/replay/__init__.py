"""Replays of bags through the engine or through a running pipeline, and the reports on them."""


class ReplayError(Exception):
    """A replay cannot be done; the message says what is wrong and what to do."""
