"""What the outputs of a detector are, by their shapes and values, and how such networks are usually fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from ros2_derain.data import CLASS_LISTS
from ros2_derain.engine.foreign.detector import grid
from ros2_derain.models import ModelError
from ros2_derain.onnx_parts import DetectorOutput, ImageInput, Layout

IMAGENET = {"white": 1.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNIT = {"white": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
BYTES = {**UNIT, "white": 255.0}
SIGNED = {"white": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

Numbers = Mapping[str, Any]
"""Fields of :class:`ImageInput`: colours and numbers of the pixels."""

DETECTOR_SIZE = 640, 640
"""Width and height for detectors that take any."""


def common_classes(count: int | None) -> tuple[str, ...]:
    """The known list with this number of classes."""
    for name in ("coco", "cityscapes", "camvid", "voc", "coco91"):
        if len(CLASS_LISTS[name]) == count:
            return CLASS_LISTS[name]
    how_many = f"{count} classes" if count else "classes"
    raise ModelError(f"the network has {how_many}: name them by --classes")


def detector_output(
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
        found = find(
            {name: outputs[name] for name in names}, shapes, classes, spec, options.get("layout_out")
        )
        if found is not None:
            count, output = found
            named = classes or common_classes(count)
            if count not in (None, len(named)):
                raise ModelError(
                    f"{', '.join(f'{name} {shape_text(outputs[name])}' for name in output.names)} has {count} "
                    f"classes in layout {output.layout}, but {len(named)} are named: check --classes and --layout"
                )
            return named, output
    listed = ", ".join(f"{name} {shape_text(outputs[name])}" for name in names)
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
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and name != box and shape[0] == shapes[box][0]
    ]
    if not tables or layout not in (None, "boxes_scores"):
        return None
    table = outputs[tables[0]].float()
    columns = table.shape[-1]
    is_probability = bool(table.min() >= 0 and table.max() <= 1)
    scores_are = "probabilities" if is_probability else "logits"
    if classes and columns == len(classes) + 1 and not is_probability:
        scores_are, columns = "softmax", columns - 1
    overlap = 1.0 if is_fraction else DetectorOutput.overlap
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
            overlap=1.0 if is_fraction else DetectorOutput.overlap,
        )
    return None


def _layout_of_rows(
    values: Tensor, count: int | None, spec: ImageInput, layout: str | None
) -> tuple[int | None, Layout] | None:
    """Number of classes and layout of P x columns values; None: these are no rows of boxes."""
    boxes, columns = values.shape
    if layout is not None:
        extra = {"yolo": 4, "yolo_objectness": 5, "yolox_undecoded": 5}.get(layout)
        fits = columns == {"rows": 6, "numbered_rows": 7}.get(
            layout, extra and extra + (count or columns - extra)
        )
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


def usual_input(layout: str, is_ultralytics: bool, has_cells: bool) -> list[Numbers]:
    """How networks of a layout are usually fed, the most usual first."""
    rgb = {"colours": "RGB", **UNIT}
    if layout == "yolox_undecoded" or layout == "yolo_objectness" and has_cells and not is_ultralytics:
        corner = {"colours": "BGR", **BYTES, "fit": "letterbox_corner"}
        return [corner] if layout == "yolox_undecoded" else [corner, {**rgb, "fit": "letterbox"}]
    if layout in ("boxes_scores", "labels"):
        imagenet = {"colours": "RGB", **IMAGENET}
        return [{**way, "fit": "stretch"} for way in (rgb, imagenet, {"colours": "BGR", **BYTES})]
    return [{**rgb, "fit": "letterbox"}]


def has_cells(outputs: Mapping[str, Tensor], output: DetectorOutput, spec: ImageInput) -> bool:
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


def shape_text(values: Tensor) -> str:
    """Such as ``1x84x8400``."""
    return "x".join(map(str, values.shape))
