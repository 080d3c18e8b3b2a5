"""What can go wrong while weights are made."""


class LearningError(Exception):
    """A recipe, a data set or a run is not usable; the message names what and what to do."""
