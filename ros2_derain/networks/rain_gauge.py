"""The rain gauge: a very small network that reads mm/h off an image.

It decides whether a frame needs deraining at all, so it has to cost next to
nothing (about 0.4 GMAC at 1280x720).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import ConvBlock, as_input, convolved_cells, halved, pad_to_multiple

MAX_RATE = 250.0
"""mm/h; the strongest rain it was made for."""


LARGE = 1024
"""Images of this height or width, in pixels, or more are halved for the gauge."""


def gauge_input(image: Tensor) -> Tensor:
    """The image in which a gauge reads the rain: half as large from :data:`LARGE`, where rain is coarser.

    Shapes: N x 3 x H x W -> the same, or N x 3 x H//2 x W//2.
    """
    return half_as_large(image) if max(image.shape[-2:]) >= LARGE else image


def half_as_large(image: Tensor) -> Tensor:
    """N x C x H x W -> N x C x H//2 x W//2: the means of 2x2 pixels."""
    height, width = image.shape[-2:]
    return halved(image[..., : height // 2 * 2, : width // 2 * 2])


class RainGauge(nn.Module):
    """N x 3 x H x W in 0..1 -> N rain rates in mm/h, 0..250.

    Works in log(1 + rate): a wrong 5 mm/h matters more in drizzle than in a cloudburst.
    """

    sees_water = False

    def __init__(self, width: int = 16):
        super().__init__()
        self.look = nn.Sequential(
            ConvBlock(12, width, stride=2),
            ConvBlock(width, 2 * width, stride=2),
            ConvBlock(2 * width, 2 * width),
        )
        self.read = nn.Sequential(
            nn.Linear(4 * width, 2 * width), nn.ReLU(inplace=True), nn.Linear(2 * width, 1)
        )

    def log_rate(self, image: Tensor) -> Tensor:
        """N values of log(1 + mm/h), unbounded: what the loss compares."""
        x = convolved_cells(self.look, as_input(pad_to_multiple(image - 0.5, 8), self.look))
        exact = x.float()
        mean = exact.mean((2, 3))
        spread = (exact - mean[:, :, None, None]).abs().mean((2, 3))
        return self.read(torch.cat((mean, spread), 1).to(x.dtype))[:, 0].float()

    def forward(self, image: Tensor) -> Tensor:
        return (self.log_rate(image).exp() - 1).clamp(0, MAX_RATE)
