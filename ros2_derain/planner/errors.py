"""The base class of this room's errors."""


class PlannerError(Exception):
    """Something cannot be said in metres; the message says what is wrong and what to do."""
