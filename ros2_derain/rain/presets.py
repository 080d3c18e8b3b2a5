"""Rain by name, in the style of the papers and the public datasets.

None of them publishes all of its parameters; each function says what is theirs and
what is chosen here. ``dataclasses.replace`` changes any parameter of the result.
"""

from __future__ import annotations

from collections.abc import Callable

from .render import REFERENCE_FOCAL, Rain, RainError, mean_diameter_mm

XU_DIRECTIONS = (-40.0, -30.0, -15.0, 0.0, 15.0, 30.0, 40.0)
"""Degrees from the vertical."""

XU_RADII = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Filter radius in pixels: 0.2 makes small streaks, 0.4 and 0.6 medium, 0.8 and 1.0 large ones."""

XU_WIDTH = 480
"""Width in pixels of the image that the radii are meant for; not given in the paper."""

XU_DISTANCE_M = 1.5
XU_RATE = 50.0


def xu(direction: int, radius: int) -> Rain:
    """The additive rain of Xu et al.: one direction, one streak size.

    Theirs: ``Y = X + R``, the seven directions, the five radii. Not given there and
    chosen here: one layer at 1.5 m, 50 mm/h, 1/60 s, visibility 0.5, no veil, and a
    streak two radii wide (a point blurred by a Gaussian of that radius) on a image of
    480 pixels, growing with the image.

    Args:
        direction: 0..6, an index into :data:`XU_DIRECTIONS`.
        radius: 0..4, an index into :data:`XU_RADII`.

    Raises:
        RainError: an index is out of range.
    """
    for name, index, choices in (("direction", direction, XU_DIRECTIONS), ("radius", radius, XU_RADII)):
        if index not in range(len(choices)):
            raise RainError(f"{name} {index} of the preset xu is outside 0..{len(choices) - 1}")
    pixels_per_m = REFERENCE_FOCAL * XU_WIDTH / XU_DISTANCE_M
    drop = mean_diameter_mm(XU_RATE) / 1000 * pixels_per_m
    return Rain(
        rate=XU_RATE,
        visibility=0.5,
        breadth=2 * XU_RADII[radius] / drop,
        crossing=0.0,
        veil=0.0,
        blending="additive",
        directions=(XU_DIRECTIONS[direction],),
        distances=(XU_DISTANCE_M,),
    )


def rain100l() -> Rain:
    """Streaks in the style of Rain100L: short, of one direction, added to the image.

    In the set's pairs O - B is grey, never negative and does not depend on B: it is
    additive and cut off at white. The strength is chosen so that rainy images are as
    far from the clean ones as in the set (about 26.5 dB on Y).
    """
    return Rain(
        rate=31.0,
        exposure=1 / 150,
        visibility=0.5,
        breadth=2.0,
        crossing=0.0,
        veil=0.0,
        blending="additive",
        directions=(-15.0,),
        distances=(0.9, 1.3),
    )


def rain100h() -> Rain:
    """Streaks in the style of Rain100H: long, dense, crossing, over-saturated.

    As :func:`rain100l` additive, which explains its over-saturation: a sixth of
    its pixels are cut off at white. Strength as in the set (about 13.5 dB on Y). In the set
    the directions differ from image to image; here two neighbours and one across.
    """
    return Rain(
        rate=150.0,
        exposure=1 / 60,
        visibility=0.5,
        breadth=1.6,
        crossing=3.0,
        veil=0.0,
        blending="additive",
        directions=(-20.0, -14.0, 10.0),
        distances=(0.9, 1.1, 1.5),
    )


def ubcn() -> Rain:
    """UBCN's screen blending, ``O = B + R - BR``, without a veil, at 150 mm/h.

    The paper analyses about 0, 50, 150 and 250 mm/h (set ``rate``) and does not say how
    R is drawn: the streaks are the renderer's own.
    """
    return Rain(rate=150.0, veil=0.0, blending="screen")


PRESETS: dict[str, Callable[[], Rain]] = {"rain100l": rain100l, "rain100h": rain100h, "ubcn": ubcn} | {
    f"xu-{direction}-{radius}": lambda direction=direction, radius=radius: xu(direction, radius)
    for direction in range(len(XU_DIRECTIONS))
    for radius in range(len(XU_RADII))
}
"""Name to the function that makes the rain; Xu's are ``xu-DIRECTION-RADIUS``, by index."""


def preset(name: str) -> Rain:
    """The rain of a name in :data:`PRESETS`.

    Raises:
        RainError: there is none of that name.
    """
    if name not in PRESETS:
        raise RainError(
            f"preset {name!r} is not one of rain100l, rain100h, ubcn, xu-DIRECTION-RADIUS "
            f"(direction 0..{len(XU_DIRECTIONS) - 1}, radius 0..{len(XU_RADII) - 1})"
        )
    return PRESETS[name]()
