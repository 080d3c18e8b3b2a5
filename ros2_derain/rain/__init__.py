"""Rain physics and rendering: deterministic, with physical parameters."""

from .presets import PRESETS, preset
from .render import BLENDINGS, Rain, RainError, RainRenderer, Window

__all__ = ["BLENDINGS", "PRESETS", "Rain", "RainError", "RainRenderer", "Window", "preset"]
