"""The weather gauge: a small network that says what stands between the camera and the scene.

For a frame: the rain rate of the streaks in mm/h and the contrast that a water film or spray takes away.
For a pixel: whether water on the glass hides the scene. It decides whether a frame needs restoring at
all, so it costs little. The rate is read in every frame, for 0.1 GMAC at 1280x720. Drops are looked for in a
larger image, as they are small, and less often, as they stand still: 1.9 GMAC. Beside it the network sees the
mean of the images before, and how far both have the same details: where the camera moves, the scene is
blurred in the mean, and what stands still on the glass is not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import (
    BasicBlock,
    ConvBlock,
    as_input,
    convolved_cells,
    crop_logits,
    halved,
    pad_to_multiple,
    resized,
)
from .rain_gauge import RainGauge, half_as_large

STRIDE = 32
"""The coarsest level: H and W are padded to a multiple of this inside."""

MASK_STRIDE = 2
"""Pixels per cell of the obstruction."""

HIDDEN = 0.5
"""A cell counts as covered above this probability."""

RECENT_S = 1.0
"""Time constant of the mean of earlier images, in seconds."""

DETAILS = (2, 7), (4, 9)
"""Stride, and side of the squares in cells, at which details of two images are compared."""

FAINT = 1e-4
"""Mean square of details, of pixels in 0..1, below which they say little."""

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


def same_details(image: Tensor, recent: Tensor) -> Tensor:
    """How far two images have the same details at each place, at the scales of :data:`DETAILS`.

    A detail is the difference of a cell from the mean of a square around it. With the sums over such a square
    of the details ``a`` of the image and ``b`` of the other one, two values for each scale: the correlation
    ``ab / sqrt(aa bb)``, and ``ab / aa``, which part of the image's details the other one has, in -1..2.

    Shapes: N x 3 x H x W with H, W multiples of 4 -> N x 4 x H/2 x W/2.
    """
    grey = halved(torch.cat((image.mean(1, keepdim=True), recent.mean(1, keepdim=True)), 1))
    found: list[Tensor] = []
    stride = 2
    for at, side in DETAILS:
        while stride < at:
            grey, stride = halved(grey), 2 * stride
        detail = grey - _mean_around(grey, side)
        a, b = detail[:, :1], detail[:, 1:]
        aa, bb, ab = _mean_around(torch.cat((a * a, b * b, a * b), 1), side).split(1, 1)
        both = torch.cat((ab / (aa.sqrt() * bb.sqrt() + FAINT), (ab / (aa + FAINT)).clamp(-1, 2)), 1)
        found.append(resized(both, found[0]) if found else both)
    return torch.cat(found, 1)


def _mean_around(x: Tensor, side: int) -> Tensor:
    """Means over squares of ``side`` cells, the edges repeated; pooling is several times slower on a CPU."""
    height, width = x.shape[-2:]
    x = functional.pad(x, (side // 2,) * 4, mode="replicate")
    rows = sum((x[..., first : first + height, :] for first in range(1, side)), x[..., :height, :])
    mean = sum((rows[..., first : first + width] for first in range(1, side)), rows[..., :width])
    return mean * (1 / side**2)


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

    def __init__(self, widths: tuple[int, int, int, int] = (20, 32, 64, 48)):
        super().__init__()
        w4, w8, w16, w32 = widths
        self.quarter = nn.Sequential(ConvBlock(28, w4, stride=2), BasicBlock(w4))
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

    def water_logits(self, image: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
        """N logits of the contrast loss, N x 1 x ceil(H/2) x ceil(W/2) logits of the obstruction."""
        seen, before = pad_to_multiple(torch.cat((image, recent), 1), STRIDE).split(3, 1)
        pixels = as_input(torch.cat((seen - 0.5, before - seen), 1), self.quarter)
        x4 = convolved_cells(self.quarter, pixels, as_input(same_details(seen, before), self.quarter))
        x8 = self.eighth(x4)
        x16 = self.sixteenth(x8)
        x32 = self.thirtysecond(x16)
        y16 = functional.relu(x16 + resized(self.up16(x32), x16))
        y8 = self.fuse8(functional.relu(x8 + resized(self.up8(y16), x8)))
        y4 = self.fuse4(functional.relu(x4 + resized(self.up4(y8), x4)))
        contrast = self.read_contrast(torch.cat((y8, resized(x32, y8)), 1))[:, 0]
        return contrast, crop_logits(self.hides(y4), image, MASK_STRIDE)

    def water(self, image: Tensor, recent: Tensor) -> Water:
        """What hides the scene, at stride 2.

        Args:
            image: N x 3 x H x W in 0..1.
            recent: mean of the images before, of the same shape; each counts less than the next one by
                ``exp(-t / RECENT_S)`` with the time ``t`` between them. ``image`` where there are none.
        """
        contrast, hides = self.water_logits(image, recent)
        obstruction = torch.sigmoid(hides)
        coverage = (obstruction > HIDDEN).float().mean((1, 2, 3))
        return Water(coverage, torch.sigmoid(contrast), obstruction)

    def forward(self, image: Tensor) -> Tensor:
        rate: Tensor = self.rain(image)
        return rate
