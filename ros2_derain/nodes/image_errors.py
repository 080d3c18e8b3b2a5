"""What can be wrong with an image that arrives, and how it is said."""

from __future__ import annotations

MAX_PIXELS = 8192 * 8192
"""Largest picture that is accepted unless the caller says otherwise."""

MIN_SIDE = 64
"""Smallest height and width that the networks accept."""

CAUSES = (
    "encoding",  # not one that is read
    "size",  # no pixels, too few, or an odd side where it must be even
    "too_large",  # more pixels than accepted
    "step",  # a row of pixels does not fit into step
    "length",  # data is not as long as step and height say, or empty
    "not_finite",  # NaN or infinity among float samples
    "range",  # float samples that are no camera image
    "format",  # compressed data that is neither JPEG nor PNG
    "truncated",  # the end of a JPEG or PNG is missing
    "decode",  # a damaged JPEG or PNG
)
"""Every value that :attr:`ImageError.cause` takes."""


class ImageError(ValueError):
    """An image that cannot be converted whole.

    Attributes:
        cause: one of :data:`CAUSES`, the same for the same kind of fault whatever
            its values: what to count and to throttle messages by.
        detail: what was wrong, with the values.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return f"image refused: {self.detail}"


def check_size(height: int, width: int, max_pixels: int, min_side: int = MIN_SIDE) -> None:
    """Refuse a picture of no, too small or too large a size.

    Raises:
        ImageError: with the cause ``size`` or ``too_large``.
    """
    if min(height, width) < min_side:
        raise ImageError("size", f"{width} x {height} pixels; each side must be at least {min_side}")
    if height * width > max_pixels:
        raise ImageError("too_large", f"{width} x {height} pixels; at most {max_pixels} are accepted")


def quote(text: str) -> str:
    """Quoted, and cut where the other side sent an unreasonably long one."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
