"""What every derainer offers to the closed loop, and what single-image derainers make of it.

coarse(rain, state)               -> Restoration
again(rain, restoration)          -> Restoration, before every iteration but the first
refine(rain, restoration, prior)  -> Restoration
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

INVENTED = 0.25
"""Share of a change that is expected to be wrong, where a network does not tell by itself."""


class Restoration(NamedTuple):
    """What a derainer hands on.

    Attributes:
        image: N x 3 x H x W in 0..1 (not clamped), float32.
        error: N x 1 x H x W, the expected absolute error of ``image`` (>= 0, same scale).
        presence: N x 1 x 1 x 1 in 0..1, whether there is rain.
        scale: N x 1 x 1 x 1 in 0..1, of every correction: the presence, but for training.
        features: what ``refine`` needs besides, in the network's own shape; None where nothing.
        state: to be given to ``coarse`` with the next frame; None where a frame leaves nothing behind.
    """

    image: Tensor
    error: Tensor
    presence: Tensor
    scale: Tensor
    features: Tensor | None = None
    state: Tensor | None = None


class Derainer(nn.Module, ABC):
    """A derainer of the closed loop. Shapes: ``rain`` N x 3 x H x W in 0..1, any H, W >= 64;
    ``prior`` N x K x ceil(H/8) x ceil(W/8), class probabilities 0..1.
    """

    takes_prior = True
    """Whether ``refine`` does anything; the loop saves itself the parsing where it does not."""

    @abstractmethod
    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """First estimate of the clean image; ``state`` comes from the previous frame, if any."""

    def again(self, rain: Tensor, restoration: Restoration) -> Restoration:
        """What a further iteration begins with: the estimate as it is, unless the network says otherwise."""
        return restoration

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """A better estimate, knowing what each pixel is. ``prior=None`` means: not known."""
        return restoration


class SingleImageDerainer(Derainer):
    """A network that knows one rainy image and no more: no prior, no state.

    ``forward(rain)`` gives a tuple with an ``image``. Such a network says neither how sure it is nor
    whether it rains at all: the expected error is a share of what was changed, the presence 1.
    """

    takes_prior = False

    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """The clean image; ``state`` is not used."""
        return judged(rain, self(rain).image)


def judged(rain: Tensor, image: Tensor) -> Restoration:
    """The restoration of a network that gives an image alone; see :data:`INVENTED`."""
    image = image.float()
    error = INVENTED * (image.clamp(0, 1) - rain).abs().mean(1, keepdim=True)
    certain = image.new_ones(len(image), 1, 1, 1)
    return Restoration(image, error, certain, certain)
