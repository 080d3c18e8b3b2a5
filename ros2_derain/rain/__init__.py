"""Rain physics and rendering: deterministic, with physical parameters."""

from .glass import GLASS_PRESETS, MAX_COVERAGE, Glass, glass_preset
from .glass_render import GlassRenderer, GlassView
from .presets import PRESETS, preset
from .render import BLENDINGS, Rain, RainError, RainRenderer, Window

__all__ = [
    "BLENDINGS",
    "GLASS_PRESETS",
    "MAX_COVERAGE",
    "PRESETS",
    "Glass",
    "GlassRenderer",
    "GlassView",
    "Rain",
    "RainError",
    "RainRenderer",
    "Window",
    "glass_preset",
    "preset",
]
