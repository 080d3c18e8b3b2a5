"""What tests, demo, bench and drill share: camera, player, probe, recorder, observer, pipeline processes.

All errors of this room are :class:`RosTestingError`.
"""


class RosTestingError(Exception):
    """A process did not do its part, or an input cannot be played; the message says which and what to do."""
