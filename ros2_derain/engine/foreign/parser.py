"""A parser of parts from different places: a segmentation network, a detector, or a model's own of either."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ros2_derain.networks import Candidates, Parse


class ComposedParse(NamedTuple):
    """The output of a :class:`ComposedParser`."""

    classes: Tensor
    boxes: Candidates

    def probabilities(self) -> Tensor:
        """See :meth:`ros2_derain.networks.Parse.probabilities`; at stride 2 or 4."""
        return self.classes

    def candidates(self) -> Candidates:
        """See :meth:`ros2_derain.networks.Parse.candidates`."""
        return self.boxes


class ComposedParser:
    """Called as a parser: N x 3 x H x W in 0..1 -> :class:`ComposedParse`.

    Args:
        own: the model's own parser; needed where one of the others is None.
        segmentation: image -> class probabilities; None: the own parser's.
        detector: image -> boxes; None: the own parser's.
    """

    def __init__(
        self,
        own: Callable[[Tensor], Parse] | None,
        segmentation: Callable[[Tensor], Tensor] | None,
        detector: Callable[[Tensor], Candidates] | None,
    ) -> None:
        self._own, self._segmentation, self._detector = own, segmentation, detector

    def __call__(self, image: Tensor) -> ComposedParse:
        parse = self._own(image) if self._own else None
        if self._segmentation:
            classes = self._segmentation(image)
        else:
            assert parse is not None
            classes = parse.probabilities()
        if self._detector:
            return ComposedParse(classes, self._detector(image))
        assert parse is not None
        return ComposedParse(classes, parse.candidates())
