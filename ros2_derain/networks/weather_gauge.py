"""The weather gauge: a small network that says what stands between the camera and the scene.

For a frame: the rain rate of the streaks in mm/h and the contrast that a water film or spray takes away.
For a pixel: whether water on the glass hides the scene. It decides whether a frame needs restoring at
all, so it costs little. The rate is read in every frame, for 0.1 GMAC at 1280x720. Drops are looked for in a
larger image, as they are small, and less often, as they stand still: 1.4 GMAC.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import BasicBlock, ConvBlock, as_input, convolved_cells, crop_logits, pad_to_multiple, resized
from .rain_gauge import RainGauge, half_as_large

STRIDE = 32
"""The coarsest level: H and W are padded to a multiple of this inside."""

MASK_STRIDE = 2
"""Pixels per cell of the obstruction."""

HIDDEN = 0.5
"""A cell counts as covered above this probability."""

SMALL, LARGE = 800, 1600
"""Drops are looked for in images whose longer side has this many pixels, or up to twice as many."""


class Water(NamedTuple):
    """What is between the camera and the scene in N images.

    Attributes:
        coverage: N shares 0..1 of the image that water on the glass covers.
        contrast_loss: N values 0..1, of the contrast that a film of water or spray takes.
        obstruction: N x 1 x h x w, 0..1: how much of each place water hides.
    """

    coverage: Tensor
    contrast_loss: Tensor
    obstruction: Tensor


def water_input(image: Tensor) -> Tensor:
    """The image in which water is looked for: twice as large below :data:`SMALL`, half as from :data:`LARGE`.

    Shapes: N x 3 x H x W -> the same, N x 3 x 2H x 2W or N x 3 x H//2 x W//2.
    """
    side = max(image.shape[-2:])
    if side < SMALL:
        return functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    return half_as_large(image) if side >= LARGE else image


class WeatherReading(nn.Module):
    """N x C x h x w -> N x outputs from the mean and the mean deviation of every channel."""

    def __init__(self, channels: int, outputs: int, hidden: int = 48):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float()
        mean = exact.mean((2, 3))
        spread = (exact - mean[:, :, None, None]).abs().mean((2, 3))
        return self.layers(torch.cat((mean, spread), 1).to(x.dtype)).float()


class WeatherGauge(nn.Module):
    """N x 3 x H x W in 0..1, any H, W >= 64 -> N rain rates in mm/h; :meth:`water` sees the rest.

    A U-net: drops are a few pixels wide or a third of the image. From each cell of stride 4 it predicts four
    of stride 2, so that small drops have a shape. The rain rate is read by a :class:`RainGauge` of its own:
    streaks need no shared features, and water on the glass must not change what it learned.

    Args:
        widths: channels at strides 4, 8, 16 and 32.
    """

    sees_water = True

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 48)):
        super().__init__()
        w4, w8, w16, w32 = widths
        self.quarter = nn.Sequential(ConvBlock(12, w4, stride=2), BasicBlock(w4))
        self.eighth = nn.Sequential(ConvBlock(w4, w8, stride=2), BasicBlock(w8))
        self.sixteenth = nn.Sequential(ConvBlock(w8, w16, stride=2), BasicBlock(w16))
        self.thirtysecond = nn.Sequential(ConvBlock(w16, w32, stride=2), BasicBlock(w32))
        self.up16, self.up8 = nn.Conv2d(w32, w16, 1), nn.Conv2d(w16, w8, 1)
        self.fuse8 = ConvBlock(w8, w8)
        self.up4 = nn.Conv2d(w8, w4, 1)
        self.fuse4 = ConvBlock(w4, w4)
        last = nn.Conv2d(w4, MASK_STRIDE**2, 1)
        self.hides = nn.Sequential(last, nn.PixelShuffle(MASK_STRIDE))
        self.rain = RainGauge()
        self.read_contrast = WeatherReading(w8 + w32, 1)
        assert last.bias is not None
        nn.init.constant_(last.bias, -3.0)

    def water_logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N logits of the contrast loss, N x 1 x ceil(H/2) x ceil(W/2) logits of the obstruction."""
        pixels = as_input(pad_to_multiple(image - 0.5, STRIDE), self.quarter)
        x4 = convolved_cells(self.quarter, pixels)
        x8 = self.eighth(x4)
        x16 = self.sixteenth(x8)
        x32 = self.thirtysecond(x16)
        y16 = functional.relu(x16 + resized(self.up16(x32), x16))
        y8 = self.fuse8(functional.relu(x8 + resized(self.up8(y16), x8)))
        y4 = self.fuse4(functional.relu(x4 + resized(self.up4(y8), x4)))
        contrast = self.read_contrast(torch.cat((y8, resized(x32, y8)), 1))[:, 0]
        return contrast, crop_logits(self.hides(y4), image, MASK_STRIDE)

    def water(self, image: Tensor) -> Water:
        """What hides the scene in N x 3 x H x W images, at stride 2."""
        contrast, hides = self.water_logits(image)
        obstruction = torch.sigmoid(hides)
        coverage = (obstruction > HIDDEN).float().mean((1, 2, 3))
        return Water(coverage, torch.sigmoid(contrast), obstruction)

    def forward(self, image: Tensor) -> Tensor:
        rate: Tensor = self.rain(image)
        return rate
