"""rosbag2 bags: one reader for all commands, recovery of damaged files, writing, and conversion.

All errors of this room are :class:`BagError`.
"""


class BagError(Exception):
    """A bag cannot be read or written; the message says why and what to do."""


class BagDamaged(BagError):
    """A bag could be read up to a point and no further; the message says how far and why."""
