"""What can go wrong in an evaluation."""


class EvaluationError(Exception):
    """An evaluation cannot be done; the message says what is wrong and what to do."""
