"""What the metrics raise."""


class MetricError(ValueError):
    """Arrays that cannot be measured; the message says what was given and what is wanted."""
