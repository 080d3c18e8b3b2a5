"""What the data room raises."""


class DataError(Exception):
    """A dataset, image or label file cannot be used; the message says what is wrong and what to do."""
