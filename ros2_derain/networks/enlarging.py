"""Small images are parsed enlarged: distant people are then as large as the parser has learned them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from .layers import cells
from .scene_parser import Candidates, Parse, enlarged_size

STRIDE = 2
"""At which the class probabilities of an enlarged image are given: its cells are smaller than 4 pixels."""


class EnlargedParse(NamedTuple):
    """What a parser returned of an enlarged image, for the image.

    Attributes:
        parse: of the enlarged image.
        enlarged, size: height and width of the enlarged image and of the image, in pixels.
    """

    parse: Parse
    enlarged: tuple[int, int]
    size: tuple[int, int]

    def probabilities(self) -> Tensor:
        """See :meth:`ros2_derain.networks.Parse.probabilities`; at :data:`STRIDE`."""
        rows, columns = (cells(side, STRIDE) for side in self.size)
        found = self.parse.probabilities()
        return functional.interpolate(found, size=(rows, columns), mode="bilinear", align_corners=False)

    def candidates(self) -> Candidates:
        """See :meth:`ros2_derain.networks.Parse.candidates`."""
        found = self.parse.candidates()
        return found._replace(boxes=found.boxes * (self.size[1] / self.enlarged[1]))


class EnlargingParser:
    """Called as a parser: N x 3 x H x W in 0..1 -> what the parser makes of the image, enlarged where small.

    Args:
        parser: with ``enlarged_below``, see :class:`ros2_derain.networks.SceneParser`.
    """

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def __call__(self, image: Tensor) -> Parse | EnlargedParse:
        size = image.shape[-2], image.shape[-1]
        enlarged = enlarged_size(*size, self._parser.enlarged_below)
        if enlarged == size:
            parse: Parse = self._parser(image)
            return parse
        larger = functional.interpolate(image, size=enlarged, mode="bilinear", align_corners=False)
        return EnlargedParse(self._parser(larger), enlarged, size)
