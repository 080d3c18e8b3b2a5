"""Frames through wet glass as the loop restores them: what a parser in the loop gets to see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from ros2_derain.networks import film
from ros2_derain.networks.inpainting import Inpainter
from ros2_derain.networks.weather_gauge import MASK_STRIDE
from ros2_derain.rain import GlassView

MISSED, MISSED_PX = 0.25, 48
"""Share of what is hidden that is not marked, as the gauge misses some, and the size of such places."""
MISREAD = 0.2
"""Largest relative error of the contrast loss."""


def restored(views: Sequence[GlassView], follows: bool, random: np.random.Generator) -> Iterator[np.ndarray]:
    """The images of a clip with their contrast given back and hidden places filled, h x w x 3 uint8.

    Args:
        views: through the same glass.
        follows: whether they are consecutive; else none is filled from the one before.
        random: of what is misread.
    """
    size = views[0].mask.shape
    marked, misread = _marked(size, random), 1 + random.uniform(-MISREAD, MISREAD)
    inpainter = Inpainter()
    for view in views:
        if not follows:
            inpainter.reset()
        image = _with_contrast(view.image, view.contrast_loss * misread)
        yield inpainter.fill(image, _coarse(np.where(marked, view.mask, 0)))


def _marked(size: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Places in which a gauge marks what is hidden, bool; the same in every frame, as drops stand still."""
    grid = [side // MISSED_PX + 2 for side in size]
    field = cv2.resize(random.random(grid), size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float64)
    return np.greater(field, np.quantile(field, MISSED))


def _with_contrast(image: np.ndarray, loss: float) -> np.ndarray:
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    clear = film.unveiled(tensor, film.given_back(loss))
    return (clear[0].permute(1, 2, 0) * 255).round().byte().contiguous().numpy()


def _coarse(mask: np.ndarray) -> np.ndarray:
    """A mask as fine as the gauge's."""
    height, width = mask.shape
    small = cv2.resize(mask, (width // MASK_STRIDE, height // MASK_STRIDE), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height))
