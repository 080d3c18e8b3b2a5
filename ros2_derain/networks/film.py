"""The contrast that a film of water or spray takes, given back.

A film scatters light of the surroundings into every pixel. With the light ``J`` of the scene, that of the
veil ``A`` and the lost contrast ``c``, the camera sees ``I = (1 - c) J + c A`` (Koschmieder's law, with the
film in place of the air). ``c`` comes from the gauge; ``A`` is smooth, so it is estimated from the image
itself. Light is taken as the square of the pixels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

LEAST, MOST = 0.1, 0.7
"""Lost contrast up to which an image stays as it is, because the gauge reads 0.07 in rain without a film; and
the most that is given back, because noise grows, too."""

GROWTH = 1.95
"""At most this times ``loss^2 - LEAST^2`` is given back, because the gauge reads 0.3 where 0.2 are lost. The
parser reads an image worse from which more is taken than the film has added."""

GRID = 12, 16
"""Rows and columns of the image in which the veil is estimated,"""
AROUND = 7
"""and the side of the squares over which it is averaged there."""

LOCAL = 0.45
"""Share of the veil's light that comes from around each place; the rest comes from the sky."""


def given_back(loss: float) -> float:
    """The share of the contrast that is given back for a measured loss 0..1; NaN: none."""
    if not loss > LEAST:
        return 0.0
    return min(GROWTH * (loss**2 - LEAST**2), (loss - LEAST) / (1 - LEAST), MOST)


def unveiled(image: Tensor, loss: float) -> Tensor:
    """The image without the veil.

    Args:
        image: N x 3 x H x W in 0..1.
        loss: share of the contrast that was lost, 0..1; 0: the image itself is returned.

    Returns:
        The same shape, in 0..1.
    """
    if not loss:
        return image
    light = image.square()
    small = functional.adaptive_avg_pool2d(light, GRID)
    sky = small[..., : GRID[0] // 3, :].mean((2, 3), keepdim=True)
    sky = 0.6 * sky + 0.4 * sky.mean(1, keepdim=True)
    around = functional.avg_pool2d(small, AROUND, 1, AROUND // 2, count_include_pad=False)
    veil = (LOCAL * around + (1 - LOCAL) * sky) * (loss / (1 - loss))
    veil = functional.interpolate(veil, size=image.shape[-2:], mode="bilinear", align_corners=False)
    return light.mul_(1 / (1 - loss)).sub_(veil).clamp_(0, 1).sqrt_()
