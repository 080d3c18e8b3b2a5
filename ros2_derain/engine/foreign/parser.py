"""Parsers that are ONNX files, or of parts from different places: segmentation, detector, a model's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ros2_derain.networks import Candidates, Parse, onnx_export
from ros2_derain.onnx_parts import OnnxPart, SegmentationOutput

from .preparation import Run, map_on_image, output, prepare


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


class Segmentation:
    """A segmentation network made elsewhere: its output as class probabilities of the image.

    Args:
        run: the network.
        part: of the card, with ``segmentation``.
    """

    def __init__(self, run: Run, part: OnnxPart) -> None:
        assert part.segmentation is not None
        self._run, self._input, self._output = run, part.input, part.segmentation
        self._classes = len(part.classes)

    def __call__(self, image: Tensor) -> Tensor:
        """Class probabilities.

        Args:
            image: N x 3 x H x W RGB in 0..1.

        Returns:
            N x K x ceil(H/s) x ceil(W/s), s = 2 or 4. A pixel whose label is no class has none.

        Raises:
            RuntimeError: the network failed, or its output is not what the card says.
        """
        return torch.cat([self._one(one) for one in image.split(1)])

    def _one(self, image: Tensor) -> Tensor:
        inputs, placement = prepare(image, self._input)
        values = as_maps(output(self._run, inputs, self._output.name), self._output, self._classes)
        if self._output.values == "labels":
            labels = map_on_image(values.float(), placement, "nearest-exact").round().long()
            return one_hot(labels, self._classes)
        scores = map_on_image(values.float(), placement)
        return scores.softmax(1) if self._output.values == "logits" else scores


def as_maps(values: Tensor, spec: SegmentationOutput, classes: int) -> Tensor:
    """1 x K x h x w scores, or 1 x 1 x h x w labels.

    Raises:
        RuntimeError: the shape is not that of the layout and the number of classes.
    """
    shape = "x".join(map(str, values.shape))
    if spec.layout == "NHW":
        labels = values.reshape(1, 1, *values.shape[-2:]) if values.ndim in (2, 3) else values
        if labels.ndim != 4 or labels.shape[:2] != (1, 1):
            raise RuntimeError(f"output {spec.name} is {shape}, which is no label map: 1 x H x W")
        return labels
    if values.ndim != 4:
        raise RuntimeError(f"output {spec.name} is {shape}, which is no map of classes: 1 x K x H x W")
    maps = values.permute(0, 3, 1, 2) if spec.layout == "NHWC" else values
    if maps.shape[1] != classes:
        raise RuntimeError(f"output {spec.name} is {shape}: {maps.shape[1]} classes, but {classes} are named")
    return maps


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 x 1 x h x w labels as 1 x K x h x w of 0 and 1; a label that is no class has no 1."""
    known = (labels >= 0) & (labels < classes)
    maps = torch.zeros(1, classes, *labels.shape[-2:], device=labels.device)
    return maps.scatter_(1, labels.clamp(0, classes - 1), known.float())


class OnnxParser:
    """A scene parser that is one ONNX file, as ``models quantise`` makes them.

    Args:
        run: the network.
        part: what the card says of it.
    """

    def __init__(self, run: Run, part: OnnxPart) -> None:
        assert part.parser is not None
        self._run, self._input = run, part.input.name
        self.enlarged_below = part.parser.enlarged_below

    def __call__(self, image: Tensor) -> Parse:
        """Labels and boxes of N x 3 x H x W images in 0..1."""
        return onnx_export.parse_of(self._run({self._input: image}))
