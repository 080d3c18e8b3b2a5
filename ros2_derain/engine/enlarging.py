"""Small images are parsed at twice their size: poles and distant people have more pixels than one cell then."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from ros2_derain.networks import Candidates, Parse


class EnlargedParse(NamedTuple):
    """What a parser returned of the image at twice its size, for the image."""

    parse: Parse

    def probabilities(self) -> Tensor:
        """See :meth:`ros2_derain.networks.Parse.probabilities`; at stride 2."""
        return self.parse.probabilities()

    def candidates(self) -> Candidates:
        """See :meth:`ros2_derain.networks.Parse.candidates`."""
        found = self.parse.candidates()
        return found._replace(boxes=found.boxes * 0.5)


class EnlargingParser:
    """Called as a parser: N x 3 x H x W in 0..1 -> what the parser makes of the image, or of it doubled.

    Args:
        parser: with ``doubled_below``: the longer side in pixels from which images stay as they are.
    """

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def __call__(self, image: Tensor) -> Parse | EnlargedParse:
        parse: Parse
        if max(image.shape[-2:]) >= self._parser.doubled_below:
            parse = self._parser(image)
            return parse
        parse = self._parser(functional.interpolate(image, scale_factor=2.0, mode="bilinear"))
        return EnlargedParse(parse)
