"""What water on the glass hides, put back from earlier frames, or from around it.

Drops stand still in the image while the scene moves: what one hides now was seen beside it before. So the
previous clean image is moved along the optical flow of the scene; in the hidden places the flow is that of
their surroundings, because the drops themselves do not move. Where nothing was seen before, smooth colours
from around the place fill it: the pull-push interpolation of Gortler et al. (The Lumigraph, SIGGRAPH 1996).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

FLOW_WIDTH = 320
"""Optical flow and fill are computed on images about this wide, in pixels."""

FAINT, CERTAIN = 0.55, 0.85
"""Obstruction up to which a pixel stays as it is, and from which it is replaced completely."""

DOUBTFUL = 0.1
"""Obstruction above which a pixel may be hidden after all, if it is known what was seen there before:"""
SEEN, UNLIKE, MOST = 0.1, 0.005, 0.5
"""it counts ``SEEN`` more then, and ``UNLIKE`` for each grey level of difference; ``MOST`` at most."""

MARGIN = 3
"""Pixels by which hidden places are widened: their rims are refracted too."""

FADING = 0.99
"""What was seen in an earlier frame is known less surely by this factor with every frame since."""

TOLERANCE = 60.0
"""Grey levels by which the moved image may miss the present one around a place before it counts little."""

UNKNOWN, KNOWN = 0.1, 0.6
"""How surely a pixel is known up to which it is filled from around, and from which from earlier frames."""


class _Seen(NamedTuple):
    """The previous frame: clean image H x W x 3 uint8; how surely each pixel was seen, 0..1; small grey."""

    image: np.ndarray
    known: np.ndarray | None
    grey: np.ndarray | None


class Inpainter:
    """Fills what is hidden in the frames of one camera, in order."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._seen: _Seen | None = None

    def reset(self) -> None:
        """Forget the previous frame."""
        self._seen = None

    def remember(self, image: np.ndarray) -> None:
        """A frame in which nothing is filled: the next one may use it.

        Args:
            image: H x W x 3 uint8.
        """
        self._seen = _Seen(image, None, None)

    def fill(self, image: np.ndarray, obstruction: np.ndarray) -> np.ndarray:
        """The image without what is hidden.

        Args:
            image: H x W x 3 uint8 RGB, without streaks.
            obstruction: H x W uint8, 255 = hidden.

        Returns:
            H x W x 3 uint8; pixels far from anything hidden are those of the image.
        """
        if obstruction.max() <= 255 * FAINT:
            self.remember(image)
            return image
        wide = cv2.dilate(obstruction, np.ones((MARGIN, MARGIN), np.uint8)).astype(np.float32) * (1 / 255)
        hidden = _ramp(wide, FAINT, CERTAIN)
        around = _filled_from_around(image, 1 - hidden)
        small = _small(cv2.cvtColor(around, cv2.COLOR_RGB2GRAY))
        before, known = self._moved(image, small, 1 - hidden)
        if before is not None:
            share = _ramp(known, UNKNOWN, KNOWN)
            around = _blended(around, before, share)
            hidden = _ramp(wide + share * _doubt(before, image, wide), FAINT, CERTAIN)
        filled = _blended(image, around, hidden)
        self._seen = _Seen(filled, np.maximum(1 - hidden, FADING * known), small)
        return filled

    def _moved(
        self, image: np.ndarray, grey: np.ndarray, visible: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """The previous image where it is now, and how surely each of its pixels was seen (0..1)."""
        if self._seen is None or self._seen.image.shape != image.shape:
            return None, np.zeros_like(visible)
        before, known, last = self._seen
        if last is None:
            last = _small(cv2.cvtColor(before, cv2.COLOR_RGB2GRAY))
        start = np.zeros((*grey.shape, 2), np.float32)
        flow = self._dis.calc(grey, last, start)  # from now to before
        size = flow.shape[1], flow.shape[0]
        shown = cv2.resize(visible, size, interpolation=cv2.INTER_AREA)
        flow = _pull_push(flow, shown**4)
        height, width = visible.shape
        x, y = cv2.split(cv2.resize(flow, (width, height)))
        x = x * np.float32(width / size[0]) + np.arange(width, dtype=np.float32)
        y = y * np.float32(height / size[1]) + np.arange(height, dtype=np.float32)[:, None]
        moved = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = np.ones_like(visible) if known is None else known
        inside = cv2.remap(inside, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return moved, inside * _agreement(moved, image, visible, size)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32: 0 up to ``low``, 1 from ``high`` on, linear between."""
    return np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)


def _doubt(before: np.ndarray, image: np.ndarray, obstruction: np.ndarray) -> np.ndarray:
    """How much more a pixel's obstruction (H x W 0..1) counts beside what was seen there before."""
    differs = cv2.cvtColor(cv2.absdiff(before, image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    more = np.float32(SEEN) + np.float32(UNLIKE) * cv2.blur(differs, (5, 5))
    return np.minimum(more, np.float32(MOST)) * (obstruction > DOUBTFUL)


def _clear(visible: np.ndarray) -> np.ndarray:
    """255 where little hides a pixel, else 0; H x W uint8."""
    return np.where(visible >= 0.75, np.uint8(255), np.uint8(0))


def _agreement(
    moved: np.ndarray, image: np.ndarray, visible: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """How well the moved image fits what is visible around each pixel, H x W 0..1."""
    clear = _clear(visible)
    miss = cv2.cvtColor(cv2.copyTo(cv2.absdiff(moved, image), clear), cv2.COLOR_RGB2GRAY)
    miss, shown = (cv2.blur(cv2.resize(plane, size).astype(np.float32), (15, 15)) for plane in (miss, clear))
    shown = shown / np.float32(255)
    miss = _pull_push((miss / np.maximum(shown, 1e-3))[..., None], shown)[..., 0]
    fit = np.exp(-np.square(miss / TOLERANCE))
    return cv2.resize(fit, (visible.shape[1], visible.shape[0]))


def _filled_from_around(image: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The image with smooth colours where it is hidden, H x W x 3 uint8."""
    height, width = visible.shape
    scale = max(1, round(width / FLOW_WIDTH))
    size = -(-width // scale), -(-height // scale)
    clear = _clear(visible)
    seen = cv2.resize(cv2.copyTo(image, clear), size, interpolation=cv2.INTER_AREA)
    shown = cv2.resize(clear, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    smooth = _pull_push(seen / np.maximum(shown, 1e-3)[..., None], shown)
    around = cv2.resize(cv2.convertScaleAbs(smooth), (width, height))
    return _blended(image, around, 1 - visible)


def _pull_push(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """h x w x C values where their weight (h x w) is 1, smoothly continued where it is less."""
    pulled = [(values * weight[..., None], weight)]
    while min(pulled[-1][1].shape) > 2:
        half = cv2.pyrDown(pulled[-1][1])
        pulled.append((cv2.pyrDown(pulled[-1][0]).reshape(*half.shape, -1), half))
    top, shown = pulled[-1]
    result = top / np.maximum(shown, 1e-6)[..., None]
    for level, shown in reversed(pulled[:-1]):
        coarse = cv2.resize(result, (shown.shape[1], shown.shape[0])).reshape(level.shape)
        share = np.clip(shown, 0, 1)[..., None]
        result = level / np.maximum(shown, 1e-3)[..., None] * share + coarse * (1 - share)
    return result


def _small(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    scale = max(1, round(width / FLOW_WIDTH))
    return cv2.resize(grey, (-(-width // scale), -(-height // scale)), interpolation=cv2.INTER_AREA)


def _blended(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``first (1 - share) + second share`` of H x W x 3 uint8 images; exactly ``first`` at share 0."""
    return cv2.blendLinear(first, second, 1 - share, share)
