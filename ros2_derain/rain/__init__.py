"""Rain physics and rendering: deterministic, with physical handles."""

from .render import BLENDINGS, Rain, RainError, RainRenderer, Window

__all__ = ["BLENDINGS", "Rain", "RainError", "RainRenderer", "Window"]
