"""``ros2-derain evaluate``: a model scored on folders of images."""


class EvaluationError(Exception):
    """An evaluation is not possible; the message says what is wrong and what to do."""
