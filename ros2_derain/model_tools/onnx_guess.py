"""How a network made elsewhere is called and read: from its shapes and metadata, and by trying it.

Every guess can be overridden; :mod:`ros2_derain.model_tools.onnx_import` prints them with the options.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.engine import EngineError
from ros2_derain.engine.foreign.derainer import OnnxDerainer
from ros2_derain.engine.foreign.detector import read
from ros2_derain.engine.foreign.parser import Segmentation
from ros2_derain.engine.foreign.preparation import Run, prepare
from ros2_derain.metrics import psnr
from ros2_derain.model_tools.detector_layouts import (
    BYTES,
    DETECTOR_SIZE,
    IMAGENET,
    SIGNED,
    UNIT,
    Numbers,
    common_classes,
    detector_output,
    has_cells,
    shape_text,
    usual_input,
)
from ros2_derain.model_tools.onnx_file import OnnxFile, Port
from ros2_derain.models import ModelError
from ros2_derain.onnx_parts import (
    DetectorOutput,
    ImageInput,
    ImageOutput,
    OnnxPart,
    SegmentationOutput,
)
from ros2_derain.reporting.progress import Progress

MARGIN = 1.05
"""How much better another way must be than the usual one to be taken."""
DECIBEL_MARGIN = 1.03
"""The same for derainers, in decibels of PSNR."""

TRIAL_SIZE = 384, 256
"""Width and height of the part of the sample that derainers are tried on: many are slow."""

T = TypeVar("T")


@dataclass(frozen=True)
class Guess:
    """A part of a model, without its file.

    Attributes:
        input, output: as in :class:`OnnxPart`.
        classes: by id.
        tried: what each way to feed the network gave, a line each.
    """

    input: ImageInput
    output: SegmentationOutput | DetectorOutput | ImageOutput
    classes: tuple[str, ...]
    tried: tuple[str, ...] = ()


class Guesser:
    """Guesses how to use one network.

    Args:
        file: of the network.
        run: calls it.
        options: fields of the input and the output that are given.
        classes: given names; or None.
    """

    def __init__(
        self, file: OnnxFile, run: Run, options: Mapping[str, Any], classes: Sequence[str] | None
    ) -> None:
        self._file, self._run, self._options = file, run, options
        self._classes = None if classes is None else tuple(classes)

    def segmentation(self, image: Tensor) -> Guess:
        """A segmentation network, tried on a 1 x 3 x H x W image in 0..1; raises ModelError."""
        first = UNIT if self._file.metadata.get("part") == "parser" else IMAGENET
        spec = self._image_input(size=None, multiple=32, fit="stretch", **first)
        outputs = self._tried(image, spec)
        output = self._with_options(self._segmentation_output(outputs))
        classes = self._classes or common_classes(_class_count(outputs[output.name], output))
        if output.values == "labels":
            return Guess(spec, output, classes, ("not tried: a label map has no probabilities",))
        ways = self._ways(spec, [{"colours": "RGB", **first}, *_WAYS])
        spec, tried = _best(ways, lambda way: self._certainty(image, way, output, len(classes)))
        return Guess(spec, output, classes, tried)

    def detector(self, image: Tensor) -> Guess:
        """A detector, tried on a 1 x 3 x H x W image in 0..1; raises ModelError."""
        size = _stated_size(self._file) or DETECTOR_SIZE
        spec = self._image_input(size=size, fit="letterbox", **UNIT)
        outputs = self._tried(image, spec)
        classes, output = detector_output(outputs, self._classes, spec, self._options)
        output = self._with_options(output)
        ultralytics = "Ultralytics" in self._file.metadata.get("author", "")
        usual = usual_input(output.layout, ultralytics, has_cells(outputs, output, spec))
        ways = self._ways(replace(spec, **{**usual[0], **self._given(ImageInput)}), usual)
        spec, tried = _best(ways, lambda way: self._found(image, way, output, len(classes)))
        return Guess(spec, output, classes, tried)

    def derainer(self, clean: Tensor, rainy: Tensor) -> Guess:
        """A derainer, tried on 1 x 3 x H x W images in 0..1 with and without rain; raises ModelError."""
        clean, rainy = (_middle(image, *TRIAL_SIZE) for image in (clean, rainy))
        spec = self._image_input(size=None, multiple=8, fit="stretch", **UNIT)
        while True:
            try:
                self._tried(rainy, spec)
                break
            except ModelError:
                if spec.size or "multiple" in self._options or spec.multiple >= 64:
                    raise
                spec = replace(spec, multiple=2 * spec.multiple)
        name = _image_output(self._tried(rainy, spec), spec, rainy)
        outputs = [
            self._with_options(ImageOutput(name, values)) for values in ("image", "rain", "correction")
        ]
        ways = [
            (f"{way_name}, {output.values}", (way, output))
            for way_name, way in self._ways(spec, _WAYS)
            for output in dict.fromkeys(outputs)
        ]

        def quality(way: tuple[ImageInput, ImageOutput]) -> float:
            part = OnnxPart("onnx", "-", "-", way[0], image=way[1])
            restored = OnnxDerainer(self._run, part)(rainy).image
            return psnr(_as_image(restored), _as_image(clean))

        (spec, output), tried = _best(ways, quality, DECIBEL_MARGIN, " dB")
        return Guess(spec, output, (), tried)

    # Inputs

    def _image_input(self, **usual: Any) -> ImageInput:
        port = self._image_port()
        others = [other for other in self._file.inputs if other is not port]
        sizes = [other for other in others if len(other.shape) == 2 and other.shape[1] in (2, None)]
        if unknown := [other for other in others if other not in sizes[:1]]:
            raise ModelError(f"the network needs input {unknown[0]} beside the image: export it without")
        if port.dtype not in ("float32", "float16", "uint8"):
            raise ModelError(f"input {port} is neither float32, float16 nor uint8: export it as one of these")
        layout = self._options.get("layout_in") or _image_layout(port)
        height, width = port.shape[2:] if layout == "NCHW" else port.shape[1:3]
        if port.shape[0] not in (None, 1):
            raise ModelError(f"input {port} takes {port.shape[0]} images at a time: export it for one")
        fields = {"layout": layout, "dtype": port.dtype, **usual}
        if port.dtype == "uint8":
            fields |= BYTES
        if width and height:
            fields["size"] = width, height
        fields |= self._given(ImageInput)
        if width and height and fields["size"] != (width, height):
            raise ModelError(f"input {port} is of a fixed size: leave out --size, or export it for any size")
        return ImageInput(port.name, size_input=sizes[0].name if sizes else "", **fields)

    def _image_port(self) -> Port:
        named = self._options.get("input")
        found = [
            port for port in self._file.inputs if port.name == named or not named and len(port.shape) == 4
        ]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(map(str, self._file.inputs)) or "none"
        if named:
            raise ModelError(f"the network has no input {named}; it has {listed}")
        raise ModelError(f"which input takes the image? Name it by --input; there are: {listed}")

    def _ways(self, spec: ImageInput, numbers: Sequence[Numbers]) -> list[tuple[str, ImageInput]]:
        """The input in several ways to give the pixels, without those that the options exclude."""
        if spec.dtype == "uint8":
            numbers = [{"colours": colours, **BYTES} for colours in (spec.colours, "RGB", "BGR")]
        ways = (replace(spec, **{**fields, **self._given(ImageInput)}) for fields in numbers)
        return [(describe_pixels(way), way) for way in dict.fromkeys(ways)]

    # Outputs

    def _tried(self, image: Tensor, spec: ImageInput) -> dict[str, Tensor]:
        try:
            return dict(self._run(prepare(image, spec)[0]))
        except (RuntimeError, EngineError) as error:
            size = "{}x{}".format(*(spec.size or (image.shape[-1], image.shape[-2])))
            raise ModelError(f"the network fails at {size} ({error}): give another --size") from error

    def _segmentation_output(self, outputs: Mapping[str, Tensor]) -> SegmentationOutput:
        """The largest map of classes, else the largest label map."""
        named = self._options.get("name")
        if named and named not in outputs:
            raise ModelError(f"the network has no output {named}; it has {', '.join(outputs)}")
        found = []
        for name, values in outputs.items():
            if named in (None, name):
                found += [(rank, SegmentationOutput(name, *how)) for rank, how in self._maps(values)]
        if not found:
            listed = ", ".join(f"{name} {shape_text(values)}" for name, values in outputs.items())
            named_classes = f" of {len(self._classes)} classes" if self._classes else ""
            raise ModelError(f"no output is a segmentation{named_classes}: {listed}; check --classes")
        return max(found, key=lambda each: each[0])[1]

    def _maps(self, values: Tensor) -> Iterator[tuple[tuple[bool, int], tuple[Any, Any]]]:
        """What an output may be: rank, layout and values."""
        count = len(self._classes) if self._classes else None
        if values.ndim == 4 and values.shape[1] > 1 and values.shape[3] > 1:
            for axis, layout in ((1, "NCHW"), (3, "NHWC")):
                is_classes = (
                    values.shape[axis] == count
                    if count
                    else values.shape[axis]
                    < min(side for other, side in enumerate(values.shape[1:], 1) if other != axis)
                )
                if is_classes:
                    sums = values.float().sum(axis)
                    is_sum = bool(values.min() >= 0 and (sums - 1).abs().max() < 0.02)
                    yield (True, values.numel()), (layout, "probabilities" if is_sum else "logits")
        is_map = values.ndim == 3 and values.shape[0] == 1 or values.ndim == 4 and values.shape[1] == 1
        if is_map and min(values.shape[-2:]) > 1:
            is_whole = not values.is_floating_point() or bool((values == values.round()).all())
            if is_whole:
                yield (False, values.numel()), ("NHW", "labels")

    def _given(self, kind: type) -> dict[str, Any]:
        """The options that are fields of a record."""
        fields = cast(Any, kind).__dataclass_fields__
        renamed = {"layout_in": "layout", "layout_out": "layout"}
        side = "layout_in" if kind is ImageInput else "layout_out"
        own = {
            renamed.get(key, key): value
            for key, value in self._options.items()
            if key not in renamed or key == side
        }
        return {key: value for key, value in own.items() if key in fields and key != "name"}

    def _with_options(self, output: T) -> T:
        return cast(T, replace(cast(Any, output), **self._given(type(output))))

    # Trials

    def _certainty(self, image: Tensor, spec: ImageInput, output: SegmentationOutput, classes: int) -> float:
        """How sure and how stable the labels are.

        The entropy of the mean class probabilities less the mean entropy (low where every pixel gets the
        same class, or none for certain), as a share of the largest possible one, times the shares of pixels
        that keep their label when the image is mirrored, and when its middle is enlarged.
        """
        height, width = image.shape[-2:]
        middle = ..., slice(height // 8, height - height // 8), slice(width // 8, width - width // 8)
        part = OnnxPart("onnx", "-", "-", spec, segmentation=output, classes=tuple(map(str, range(classes))))
        network = Segmentation(self._run, part)
        straight = network(image)
        mirrored = network(image.flip(3)).flip(3).argmax(1)
        enlarged = functional.interpolate(image[middle], size=(height, width), mode="bilinear")
        labels = functional.interpolate(straight, size=(height, width))[middle].argmax(1)
        closer = functional.interpolate(network(enlarged), size=tuple(labels.shape[-2:])).argmax(1)
        stable = (straight.argmax(1) == mirrored).float().mean() * (labels == closer).float().mean()
        information = _entropy(straight.mean((2, 3))) - _entropy(straight).mean()
        return float(stable * information) / math.log(max(2, classes))

    def _found(self, image: Tensor, spec: ImageInput, output: DetectorOutput, classes: int) -> float:
        """Sum of the certain scores."""
        inputs, placement = prepare(image, spec)
        scores, boxes = read(self._run(inputs), output, classes, placement.size)
        if not (torch.isfinite(scores).all() and torch.isfinite(boxes[scores.amax(2) > 0]).all()):
            raise RuntimeError("scores or boxes are not finite")
        best = scores.amax(2)
        return float(best[best > 0.3].sum())


_WAYS: tuple[Numbers, ...] = tuple(
    {"colours": colours, **numbers}
    for colours in ("RGB", "BGR")
    for numbers in (UNIT, IMAGENET, BYTES, SIGNED)
)


def describe_pixels(spec: ImageInput) -> str:
    """Such as ``RGB 0..1``, ``BGR 0..255`` or ``RGB 0..1, mean 0.485,0.456,0.406, std 0.229,0.224,0.225``."""
    text = f"{spec.colours} 0..{spec.white:g}"
    for name, usual in (("mean", 0.0), ("std", 1.0)):
        values = getattr(spec, name)
        if any(value != usual for value in values):
            text += f", {name} " + ",".join(f"{value:g}" for value in values)
    return text


def _best(
    ways: Sequence[tuple[str, T]], judge: Callable[[T], float], margin: float = MARGIN, unit: str = ""
) -> tuple[T, tuple[str, ...]]:
    """The way that is judged best; the first one unless another one is better by the margin.

    Raises:
        ModelError: none works.
    """
    judged: list[tuple[float, T]] = []
    tried, reason = [], ""
    with Progress("ways to use it", len(ways) if sys.stderr.isatty() else 0) as progress:
        for name, way in ways:
            try:
                value = judge(way)
                reason = "" if math.isfinite(value) else "its outputs are not finite"
            except (RuntimeError, EngineError) as error:
                reason = str(error)
            if reason:
                tried.append(f"{name}: {reason}")
            else:
                tried.append(f"{name}: {value:.3g}{unit}")
                judged.append((value, way))
            progress.step()
    if not judged:
        raise ModelError(f"the network cannot be used as it is: {reason}")
    first, best = judged[0], max(judged, key=lambda each: each[0])
    return (best if best[0] > margin * first[0] + 1e-9 else first)[1], tuple(tried)


def _image_layout(port: Port) -> str:
    if len(port.shape) == 4:
        if port.shape[1] == 3:
            return "NCHW"
        if port.shape[3] == 3:
            return "NHWC"
        if port.shape[1] is None and port.shape[3] is None:
            return "NCHW"
    raise ModelError(f"input {port} takes no colour image: it must be 1 x 3 x H x W or 1 x H x W x 3")


def _stated_size(file: OnnxFile) -> tuple[int, int] | None:
    """Width and height by Ultralytics' metadata ``imgsz``, such as ``[640, 640]``."""
    sides = [
        int(side) for side in file.metadata.get("imgsz", "").strip("[]").split(",") if side.strip().isdigit()
    ]
    return (sides[-1], sides[0]) if sides else None


def _class_count(values: Tensor, output: SegmentationOutput) -> int | None:
    if output.layout == "NHW":
        return None
    return values.shape[1 if output.layout == "NCHW" else 3]


def _image_output(outputs: Mapping[str, Tensor], spec: ImageInput, image: Tensor) -> str:
    """The first output with the shape of the input.

    Raises:
        ModelError: there is none.
    """
    expected = prepare(image, spec)[0][spec.name].shape
    for name, values in outputs.items():
        if values.shape == expected:
            return name
    listed = ", ".join(f"{name} {shape_text(values)}" for name, values in outputs.items())
    raise ModelError(f"no output is an image as large as the input, {'x'.join(map(str, expected))}: {listed}")


def _middle(image: Tensor, width: int, height: int) -> Tensor:
    """The middle of an image, of this size or smaller."""
    left, top = max(0, image.shape[-1] - width) // 2, max(0, image.shape[-2] - height) // 2
    return image[..., top : top + height, left : left + width]


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(1e-9).log()).sum(1)


def _as_image(tensor: Tensor) -> np.ndarray:
    scaled = tensor[0].clamp(0, 1).mul(255).add(0.5).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())
