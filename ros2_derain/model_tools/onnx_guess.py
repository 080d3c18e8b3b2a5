"""How a network made elsewhere is called and read: from its shapes and metadata, and by trying it.

Every guess can be overridden; :mod:`ros2_derain.model_tools.onnx_import` prints them with the options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from ros2_derain.engine.foreign.derainer import OnnxDerainer
from ros2_derain.engine.foreign.detector import grid, read
from ros2_derain.engine.foreign.preparation import Run, prepare
from ros2_derain.engine.foreign.segmentation import as_maps
from ros2_derain.metrics import psnr
from ros2_derain.model_tools.onnx_file import OnnxFile, Port
from ros2_derain.models import ModelError
from ros2_derain.onnx_parts import (
    DetectorOutput,
    ImageInput,
    ImageOutput,
    Layout,
    OnnxPart,
    SegmentationOutput,
)

IMAGENET = {"white": 1.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNIT = {"white": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
BYTES = {**UNIT, "white": 255.0}
SIGNED = {"white": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

Numbers = Mapping[str, Any]
"""Fields of :class:`ImageInput`: colours and numbers of the pixels."""

MARGIN = 1.1
"""How much better another way must be than the usual one to be taken."""

DETECTOR_SIZE = 640, 640
"""Width and height for detectors that take any."""

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
        classes = self._classes or _common_classes(_class_count(outputs[output.name], output))
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
        classes, output = _detector_output(outputs, self._classes, spec, self._options)
        output = self._with_options(output)
        ultralytics = "Ultralytics" in self._file.metadata.get("author", "")
        usual = _usual_input(output.layout, ultralytics, _has_cells(outputs, output, spec))
        ways = self._ways(replace(spec, **{**usual[0], **self._given(ImageInput)}), usual)
        spec, tried = _best(ways, lambda way: self._found(image, way, output, len(classes)))
        return Guess(spec, output, classes, tried)

    def derainer(self, clean: Tensor, rainy: Tensor) -> Guess:
        """A derainer, tried on 1 x 3 x H x W images in 0..1 with and without rain; raises ModelError."""
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

        (spec, output), tried = _best(ways, quality, margin=1.0, unit=" dB")
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
        found = [port for port in self._file.inputs if port.name == named or not named and len(port.shape) == 4]
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
        except RuntimeError as error:
            wide, high = spec.size or (image.shape[-1], image.shape[-2])
            raise ModelError(f"the network fails at {wide}x{high}: {error}; is --size another one?") from error

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
            listed = ", ".join(f"{name} {_shape(values)}" for name, values in outputs.items())
            named_classes = f" of {len(self._classes)} classes" if self._classes else ""
            raise ModelError(f"no output is a segmentation{named_classes}: {listed}; check --classes")
        return max(found, key=lambda each: each[0])[1]

    def _maps(self, values: Tensor) -> Iterator[tuple[tuple[bool, int], tuple[Any, Any]]]:
        """What an output may be: rank, layout and values."""
        count = len(self._classes) if self._classes else None
        if values.ndim == 4 and values.shape[1] > 1 and values.shape[3] > 1:
            for axis, layout in ((1, "NCHW"), (3, "NHWC")):
                is_classes = values.shape[axis] == count if count else values.shape[axis] < min(
                    side for other, side in enumerate(values.shape[1:], 1) if other != axis
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
        """Information of the labels, times their agreement with those of the mirrored image.

        The entropy of the mean class probabilities less the mean entropy: low where every pixel gets the
        same class, or none for certain.
        """
        maps = []
        for each in (image, image.flip(3)):
            values = as_maps(self._run(prepare(each, spec)[0])[output.name], output, classes).float()
            maps.append(values.softmax(1) if output.values == "logits" else values)
        straight, mirrored = maps[0], maps[1].flip(3)
        agreement = (straight.argmax(1) == mirrored.argmax(1)).float().mean()
        information = _entropy(straight.mean((2, 3))) - _entropy(straight).mean()
        return float(agreement * information) / math.log(max(2, classes))

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
    for name, way in ways:
        try:
            value = judge(way)
        except RuntimeError as error:
            reason = str(error)
            tried.append(f"{name}: {reason}")
            continue
        if not math.isfinite(value):
            reason = "the outputs are not finite"
            continue
        tried.append(f"{name}: {value:.3g}{unit}")
        judged.append((value, way))
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
    sides = [int(side) for side in file.metadata.get("imgsz", "").strip("[]").split(",") if side.strip().isdigit()]
    return (sides[-1], sides[0]) if sides else None


def _common_classes(count: int | None) -> tuple[str, ...]:
    from ros2_derain.model_tools.class_lists import by_count

    names = by_count(count) if count else None
    if names is None:
        how_many = f"{count} classes" if count else "classes"
        raise ModelError(f"the network has {how_many}: name them by --classes")
    return names


def _class_count(values: Tensor, output: SegmentationOutput) -> int | None:
    if output.layout == "NHW":
        return None
    return values.shape[1 if output.layout == "NCHW" else 3]


# Layouts of detectors


def _detector_output(
    outputs: Mapping[str, Tensor],
    classes: tuple[str, ...] | None,
    spec: ImageInput,
    options: Mapping[str, Any],
) -> tuple[tuple[str, ...], DetectorOutput]:
    """Classes and layout.

    Raises:
        ModelError: no known layout fits.
    """
    names = options.get("names") or tuple(outputs)
    if unknown := [name for name in names if name not in outputs]:
        raise ModelError(f"the network has no output {unknown[0]}; it has {', '.join(outputs)}")
    shapes = {name: _squeezed(outputs[name]) for name in names}
    if not any(outputs[name].isfinite().all() for name in names):
        raise ModelError("the outputs of the network are not finite: is it trained, and the input right?")
    for find in (_by_several, _by_one):
        found = find({name: outputs[name] for name in names}, shapes, classes, spec, options.get("layout_out"))
        if found is not None:
            count, output = found
            named = classes or _common_classes(count)
            if count not in (None, len(named)):
                raise ModelError(
                    f"{', '.join(f'{name} {_shape(outputs[name])}' for name in output.names)} has {count} "
                    f"classes in layout {output.layout}, but {len(named)} are named: check --classes and --layout"
                )
            return named, output
    listed = ", ".join(f"{name} {_shape(outputs[name])}" for name in names)
    of = f" of {len(classes)} classes" if classes else ""
    raise ModelError(
        f"outputs {listed} fit no known layout of a detector{of}: check --classes, or name --layout and --outputs"
    )


def _by_several(
    outputs: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    classes: tuple[str, ...] | None,
    spec: ImageInput,
    layout: str | None,
) -> tuple[int | None, DetectorOutput] | None:
    """Detectors with boxes in an output of their own."""
    with_score = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == 5]
    boxes = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == 4]
    lines = [name for name, values in outputs.items() if values.ndim <= 2 and name not in boxes]
    if with_score and len(lines) >= 1 and not boxes:
        labels = next(name for name in lines if name not in with_score)
        return None, DetectorOutput((labels, with_score[0]), "labels", "xyxy", overlap=1.0)
    if not boxes:
        return None
    box = boxes[0]
    values = outputs[box].float().reshape(-1, 4)
    kind = _box_kind(values)
    is_fraction = bool(len(values)) and bool(values.abs().max() <= 2)
    count = [name for name in lines if outputs[name].numel() == 1 and not outputs[name].is_floating_point()]
    labels = [name for name in lines if name not in count and _is_labels(name, outputs[name])]
    scores = [name for name in lines if name not in count and name not in labels]
    rest = DetectorOutput((), "labels", cast(Any, kind), is_fraction, overlap=1.0)
    if count and labels and scores and layout in (None, "counted"):
        return None, replace(rest, names=(count[0], box, scores[0], labels[0]), layout="counted")
    if labels and scores and layout in (None, "labels"):
        return None, replace(rest, names=(labels[0], box, scores[0]))
    tables = [
        name for name, shape in shapes.items() if len(shape) == 2 and name != box and shape[0] == shapes[box][0]
    ]
    if not tables or layout not in (None, "boxes_scores"):
        return None
    table = outputs[tables[0]].float()
    columns = table.shape[-1]
    is_probability = bool(table.min() >= 0 and table.max() <= 1)
    scores_are = "probabilities" if is_probability else "logits"
    if classes and columns == len(classes) + 1 and not is_probability:
        scores_are, columns = "softmax", columns - 1
    overlap = 1.0 if is_fraction else 0.6
    names = box, tables[0]
    return columns, replace(
        rest, names=names, layout="boxes_scores", scores=cast(Any, scores_are), overlap=overlap
    )


def _by_one(
    outputs: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    classes: tuple[str, ...] | None,
    spec: ImageInput,
    layout: str | None,
) -> tuple[int | None, DetectorOutput] | None:
    """Detectors with all in one output, the first of two sides."""
    name = next((name for name, shape in shapes.items() if len(shape) == 2), None)
    if name is None:
        return None
    count = len(classes) if classes else None
    for transposed in (False, True):
        values = outputs[name].float().reshape(-1, *outputs[name].shape[-2:])[0]
        values = values.T if transposed else values
        found = _layout_of_rows(values, count, spec, layout)
        if found is None:
            continue
        number, kind = found
        swapped = transposed != (kind == "yolo")
        output = DetectorOutput((name,), kind, transposed=swapped)
        if kind in ("rows", "numbered_rows"):
            return None, replace(output, boxes="xyxy", overlap=1.0, normalised=_is_fraction(values, kind))
        if kind == "yolox_undecoded":
            return number, output
        first = 4 if kind == "yolo" else 4
        is_probability = bool(values[:, first:].min() >= 0 and values[:, first:].max() <= 1)
        is_fraction = _is_fraction(values, kind)
        return number, replace(
            output,
            scores=cast(Any, "probabilities" if is_probability else "logits"),
            boxes=cast(Any, _box_kind(values[:, :4])),
            normalised=is_fraction,
            overlap=1.0 if is_fraction else 0.6,
        )
    return None


def _layout_of_rows(
    values: Tensor, count: int | None, spec: ImageInput, layout: str | None
) -> tuple[int | None, Layout] | None:
    """Number of classes and layout of P x columns values; None: these are no rows of boxes."""
    boxes, columns = values.shape
    if layout is not None:
        extra = {"yolo": 4, "yolo_objectness": 5, "yolox_undecoded": 5}.get(layout)
        fits = columns == {"rows": 6, "numbered_rows": 7}.get(layout, extra and extra + (count or columns - extra))
        return (columns - extra if extra else None, cast(Layout, layout)) if fits else None
    cells, strides = grid(spec.size or DETECTOR_SIZE, (8, 16, 32), values.device)
    has_objectness = boxes in (len(cells), 3 * len(cells)) and columns == 5 + (count or columns - 5)
    if columns == 6 and not (has_objectness and count == 1) and not (count == 2 and boxes == len(cells)):
        return None, "rows"
    if columns == 7 and not has_objectness and (count is None or count not in (2, 3)):
        return None, "numbered_rows"
    if boxes <= columns:
        return None
    number = count or columns - (5 if has_objectness and columns - 5 in (1, 2, 3, 80, 20, 90, 91, 365) else 4)
    if columns == 5 + number and boxes >= 5:
        if boxes != len(cells):
            return number, "yolo_objectness"
        centres = (cells + 0.5) * strides
        shift = ((values[:, :2] - centres).abs() / strides).median()
        return number, "yolo_objectness" if shift < 2 else "yolox_undecoded"
    return (number, "yolo") if columns == 4 + number else None


def _usual_input(layout: str, is_ultralytics: bool, has_cells: bool) -> list[Numbers]:
    """How networks of a layout are usually fed, the most usual first."""
    rgb = {"colours": "RGB", **UNIT}
    if layout == "yolox_undecoded" or layout == "yolo_objectness" and has_cells and not is_ultralytics:
        corner = {"colours": "BGR", **BYTES, "fit": "letterbox_corner"}
        return [corner] if layout == "yolox_undecoded" else [corner, {**rgb, "fit": "letterbox"}]
    if layout in ("boxes_scores", "labels"):
        imagenet = {"colours": "RGB", **IMAGENET}
        return [{**way, "fit": "stretch"} for way in (rgb, imagenet, {"colours": "BGR", **BYTES})]
    return [{**rgb, "fit": "letterbox"}]


def _has_cells(outputs: Mapping[str, Tensor], output: DetectorOutput, spec: ImageInput) -> bool:
    """Whether there is one box for each cell, as from networks without anchors."""
    cells, _ = grid(spec.size or DETECTOR_SIZE, (8, 16, 32), torch.device("cpu"))
    return len(cells) in outputs[output.names[0]].shape


def _box_kind(boxes: Tensor) -> str:
    """``xyxy`` where (nearly) all second corners lie beyond the first ones, else ``cxcywh``."""
    if not len(boxes):
        return "xyxy"
    ordered = (boxes[:, 2:] >= boxes[:, :2]).all(1).float().mean()
    return "xyxy" if ordered > 0.99 else "cxcywh"


def _is_fraction(values: Tensor, kind: str) -> bool:
    boxes = values[:, 1:5] if kind == "numbered_rows" else values[:, :4]
    return bool(boxes.numel()) and 0 < float(boxes.abs().max()) <= 2


def _is_labels(name: str, values: Tensor) -> bool:
    lower = name.lower()
    return not values.is_floating_point() or "class" in lower or "label" in lower


def _squeezed(values: Tensor) -> tuple[int, ...]:
    """The shape without leading sides of 1, and without a third side of 1."""
    shape = tuple(values.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return (shape[0], shape[2]) if len(shape) == 3 and shape[1] == 1 else shape


def _image_output(outputs: Mapping[str, Tensor], spec: ImageInput, image: Tensor) -> str:
    """The first output with the shape of the input.

    Raises:
        ModelError: there is none.
    """
    expected = prepare(image, spec)[0][spec.name].shape
    for name, values in outputs.items():
        if values.shape == expected:
            return name
    listed = ", ".join(f"{name} {_shape(values)}" for name, values in outputs.items())
    raise ModelError(f"no output is an image as large as the input, {'x'.join(map(str, expected))}: {listed}")


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(1e-9).log()).sum(1)


def _as_image(tensor: Tensor) -> np.ndarray:
    scaled = tensor[0].clamp(0, 1).mul(255).add(0.5).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())


def _shape(values: Tensor) -> str:
    return "x".join(map(str, values.shape))
