"""The interface of a derainer in the closed loop, and its implementation for single-image derainers.

coarse(rain, state)               -> Restoration
again(rain, restoration)          -> Restoration, before every iteration but the first
refine(rain, restoration, prior)  -> Restoration
once(rain, state, prior)          -> Restoration: coarse and refine in one
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

ERROR_SHARE = 0.25
"""Expected error as a share of the change, for networks that do not predict their error."""


class Restoration(NamedTuple):
    """The result of a derainer.

    Attributes:
        image: N x 3 x H x W in 0..1 (not clamped), float32.
        error: N x 1 x H x W, the expected absolute error of ``image`` (>= 0, same scale).
        presence: N x 1 x 1 x 1 in 0..1, probability of rain.
        scale: N x 1 x 1 x 1 in 0..1, of every correction: the presence, except in training.
        features: what else ``refine`` needs, in the network's own shape; None where nothing.
        state: for ``coarse`` with the next frame; None from a network without memory.
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
    """Whether ``refine`` uses a prior; where not, the loop does not parse the image for one."""

    classes: int
    """K; of those that take a prior."""

    def initial_state(self, rain: Tensor) -> Tensor | None:
        """The ``state`` that stands for none, N x C x h x w; None from a network without memory."""
        return None

    def initial_prior(self, rain: Tensor) -> Tensor | None:
        """The ``prior`` that stands for none; None where ``refine`` returns the restoration without one."""
        return None

    @abstractmethod
    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """First estimate of the clean image; ``state`` comes from the previous frame, if any."""

    def again(self, rain: Tensor, restoration: Restoration) -> Restoration:
        """What a further iteration starts from: by default the estimate itself."""
        return restoration

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """A better estimate, given the class probabilities of each pixel; None where they are unknown."""
        return restoration

    def once(self, rain: Tensor, state: Tensor | None = None, prior: Tensor | None = None) -> Restoration:
        """One pass for a prior that is known before: coarse, then refine."""
        return self.refine(rain, self.coarse(rain, state), prior)


class ImageRestoration(NamedTuple):
    """The result of a network that gives nothing else: N x 3 x H x W in 0..1 (not clamped)."""

    image: Tensor


class SingleImageDerainer(Derainer):
    """A network of one rainy image: no prior, no state.

    ``forward(rain)`` returns a tuple with an ``image``. Such a network predicts neither its error nor
    whether it rains: the expected error is a share of the change, the presence 1.
    """

    takes_prior = False

    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """The clean image; ``state`` is not used."""
        return restoration_of(rain, self(rain).image)


def restoration_of(rain: Tensor, image: Tensor) -> Restoration:
    """The restoration of a network that returns an image alone; see :data:`ERROR_SHARE`."""
    image = image.float()
    error = ERROR_SHARE * (image.clamp(0, 1) - rain).abs().mean(1, keepdim=True)
    ones = image.new_ones(image.shape[0], 1, 1, 1)
    return Restoration(image, error, ones, ones)
