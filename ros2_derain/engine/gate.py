"""The rain gate: open while it rains, with hysteresis."""

from __future__ import annotations


class RainGate:
    """Opens above one rate, closes below another, so that it doesn't flap at either."""

    def __init__(self) -> None:
        self.open = False

    def update(self, rate: float, open_above: float, close_below: float) -> bool:
        """Take the rate of a new frame (mm/h); returns whether the frame is rainy."""
        self.open = rate >= (close_below if self.open else open_above)
        return self.open

    def reset(self) -> None:
        """Forget what was seen; the next frame starts at a closed gate."""
        self.open = False
