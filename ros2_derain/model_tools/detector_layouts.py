"""What the outputs of a detector are, by their shapes and values, and how such networks are usually fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast

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
DECODED_SHIFT = 2.0
"""Median distance of decoded boxes' centres from their cells' centres, in cells; offsets are farther off."""
_USUAL_COUNTS = (20, 80, 91, 365)
"""Of classes, in datasets."""


def common_classes(count: int | None) -> tuple[str, ...]:
    """The known list with this number of classes."""
    for name in ("coco", "cityscapes", "camvid", "voc", "coco91"):
        if len(CLASS_LISTS[name]) == count:
            return CLASS_LISTS[name]
    how_many = f"{count} classes" if count else "classes"
    raise ModelError(f"the network has {how_many}: name them by --classes")


class _Seen(NamedTuple):
    """What is known of a detector before its layout is.

    Attributes:
        outputs: for an image, by name.
        classes: given names, or None.
        spec: of the input.
        layout: given one, or None.
    """

    outputs: dict[str, Tensor]
    classes: tuple[str, ...] | None
    spec: ImageInput
    layout: str | None

    def tables(self, columns: int | None = None) -> list[str]:
        """Outputs with a row for each box, or for each of four numbers and classes."""
        sides = {name: _squeezed(values) for name, values in self.outputs.items()}
        return [name for name, shape in sides.items() if len(shape) == 2 and columns in (None, shape[1])]

    def rows(self, name: str) -> Tensor:
        """A table."""
        return self.outputs[name].float().reshape(_squeezed(self.outputs[name]))


Reading = tuple[int | None, DetectorOutput]
"""Number of classes, as far as the shapes tell it, and how to read the outputs."""


def detector_output(
    outputs: Mapping[str, Tensor],
    classes: tuple[str, ...] | None,
    spec: ImageInput,
    options: Mapping[str, Any],
) -> tuple[tuple[str, ...], DetectorOutput]:
    """Classes and layout.

    Args:
        outputs: of the network for an image, by name.
        classes: given names, or None.
        spec: of the input.
        options: ``names`` of outputs and ``layout_out``, if given.

    Raises:
        ModelError: no known layout fits.
    """
    names = options.get("names") or tuple(outputs)
    if unknown := [name for name in names if name not in outputs]:
        raise ModelError(f"the network has no output {unknown[0]}; it has {', '.join(outputs)}")
    chosen = {name: outputs[name] for name in names}
    listed = ", ".join(f"{name} {shape_text(values)}" for name, values in chosen.items())
    if not all(values.isfinite().all() for values in chosen.values()):
        raise ModelError(f"outputs {listed} are not finite: is the network trained?")
    seen = _Seen(chosen, classes, spec, options.get("layout_out"))
    found = _by_several(seen) or _by_one(seen)
    if found is None:
        of = f" of {len(classes)} classes" if classes else ""
        what = f"do not fit layout {seen.layout}" if seen.layout else "fit no known layout of a detector"
        raise ModelError(f"outputs {listed} {what}{of}: check --classes, --layout and --output")
    count, output = found
    named = classes or common_classes(count)
    if count not in (None, len(named)):
        raise ModelError(
            f"outputs {listed} have {count} classes in layout {output.layout}, but {len(named)} are named: "
            "check --classes and --layout"
        )
    return named, output


def _by_several(seen: _Seen) -> Reading | None:
    """Detectors with boxes in an output of their own."""
    boxes, lines = seen.tables(4), [name for name, values in seen.outputs.items() if values.ndim <= 2]
    if not boxes:
        scored = seen.tables(5)
        labels = [name for name in lines if name not in scored]
        if not scored or not labels or seen.layout not in (None, "labels"):
            return None
        return None, DetectorOutput((labels[0], scored[0]), "labels", "xyxy", overlap=1.0)
    box, values = boxes[0], seen.rows(boxes[0])
    rest = DetectorOutput((), "labels", _box_kind(values), _is_fraction(values), overlap=1.0)
    counts = [name for name in lines if _is_count(seen.outputs[name])]
    labels = [name for name in lines if name not in (box, *counts) and _is_labels(name, seen.outputs[name])]
    scores = [name for name in lines if name not in (box, *counts, *labels)]
    if counts and labels and scores and seen.layout in (None, "counted"):
        return None, replace(rest, names=(counts[0], box, scores[0], labels[0]), layout="counted")
    if labels and scores and seen.layout in (None, "labels"):
        return None, replace(rest, names=(labels[0], box, scores[0]))
    tables = [name for name in seen.tables() if name != box and len(seen.rows(name)) == len(values)]
    if not tables or seen.layout not in (None, "boxes_scores"):
        return None
    table = seen.rows(tables[0])
    columns, kind = table.shape[1], _score_kind(table)
    if seen.classes and columns == len(seen.classes) + 1 and kind == "logits":
        kind, columns = "softmax", columns - 1
    overlap = 1.0 if rest.normalised else DetectorOutput.overlap
    names = box, tables[0]
    return columns, replace(rest, names=names, layout="boxes_scores", scores=kind, overlap=overlap)


def _by_one(seen: _Seen) -> Reading | None:
    """Detectors with all in one output, the first table."""
    tables = seen.tables()
    if not tables:
        return None
    for is_turned in (False, True):
        rows = seen.rows(tables[0])
        rows = rows.T if is_turned else rows
        found = _layout_of_rows(rows, seen)
        if found is None:
            continue
        count, layout = found
        output = DetectorOutput((tables[0],), layout, transposed=is_turned != (layout == "yolo"))
        if layout in ("rows", "numbered_rows"):
            boxes = rows[:, :4] if layout == "rows" else rows[:, 1:5]
            return None, replace(output, boxes="xyxy", normalised=_is_fraction(boxes), overlap=1.0)
        if layout == "yolox_undecoded":
            return count, output
        is_fraction = _is_fraction(rows[:, :4])
        overlap = 1.0 if is_fraction else output.overlap
        kinds: dict[str, Any] = {"scores": _score_kind(rows[:, 4:]), "boxes": _box_kind(rows[:, :4])}
        return count, replace(output, normalised=is_fraction, overlap=overlap, **kinds)
    return None


def _layout_of_rows(rows: Tensor, seen: _Seen) -> tuple[int | None, Layout] | None:
    """Number of classes and layout; None: these are no rows of boxes."""
    boxes, columns = rows.shape
    count = len(seen.classes) if seen.classes else None
    if seen.layout is not None:
        return _given_layout(columns, cast(Layout, seen.layout))
    cells, strides = grid(seen.spec.size or DETECTOR_SIZE, DetectorOutput.strides, rows.device)
    is_dense = boxes in (len(cells), 3 * len(cells))
    if columns == 6 and not is_dense and _are_whole(rows[:, 5]):
        return None, "rows"
    if columns == 7 and not is_dense and _are_whole(rows[:, (0, 5)]):
        return None, "numbered_rows"
    if boxes <= columns:
        return None
    if count is None:
        count = columns - 5 if boxes == 3 * len(cells) or columns - 5 in _USUAL_COUNTS else columns - 4
    if columns != 5 + count:
        return (count, "yolo") if columns == 4 + count else None
    if boxes != len(cells):
        return count, "yolo_objectness"
    shift = ((rows[:, :2] - (cells + 0.5) * strides).abs() / strides).median()
    return count, "yolo_objectness" if shift < DECODED_SHIFT else "yolox_undecoded"


def _given_layout(columns: int, layout: Layout) -> tuple[int | None, Layout] | None:
    whole = {"rows": 6, "numbered_rows": 7}.get(layout)
    before = {"yolo": 4, "yolo_objectness": 5, "yolox_undecoded": 5}.get(layout)
    if before is not None and columns > before:
        return columns - before, layout
    return (None, layout) if columns == whole else None


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


def _box_kind(boxes: Tensor) -> Literal["xyxy", "cxcywh"]:
    """``xyxy`` where (nearly) all second corners lie beyond the first ones, else ``cxcywh``."""
    ordered = (boxes[:, 2:] >= boxes[:, :2]).all(1).float().mean()
    return "xyxy" if not len(boxes) or ordered > 0.99 else "cxcywh"


def _score_kind(scores: Tensor) -> Literal["probabilities", "logits", "softmax"]:
    return "probabilities" if scores.min() >= 0 and scores.max() <= 1 else "logits"


def _is_fraction(boxes: Tensor) -> bool:
    return bool(boxes.numel()) and 0 < float(boxes.abs().max()) <= 2


def _are_whole(values: Tensor) -> bool:
    return bool((values == values.round()).all())


def _is_count(values: Tensor) -> bool:
    return values.numel() == 1 and not values.is_floating_point()


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
