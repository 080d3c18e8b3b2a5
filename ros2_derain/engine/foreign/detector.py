"""The outputs of detectors made elsewhere, in the layouts that people export, as candidate boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks import Candidates
from ros2_derain.networks.scene_parser import cell_centres
from ros2_derain.onnx_parts import DetectorOutput, OnnxPart

from .preparation import Run, boxes_on_image, outputs, prepare

Found = tuple[Tensor, Tensor]
"""Scores 1 x P x C, and boxes 1 x P x 4."""


class Detector:
    """A detector.

    Args:
        run: the network.
        part: of the card, with ``detections``.
    """

    def __init__(self, run: Run, part: OnnxPart) -> None:
        assert part.detections is not None
        self._run, self._input, self._output = run, part.input, part.detections
        self._classes = len(part.classes)

    def __call__(self, image: Tensor) -> Candidates:
        """The candidate boxes.

        Args:
            image: N x 3 x H x W RGB in 0..1.

        Raises:
            RuntimeError: the network failed, or its outputs are not what the card says.
        """
        found = [self._one(one) for one in image.split(1)]
        count = max(scores.shape[1] for scores, _ in found)
        scores = torch.cat([_padded(part, count) for part, _ in found])
        boxes = torch.cat([_padded(part, count) for _, part in found])
        return Candidates(scores, boxes, self._output.overlap)

    def _one(self, image: Tensor) -> Found:
        inputs, placement = prepare(image, self._input)
        scores, boxes = read(
            outputs(self._run, inputs, self._output.names), self._output, self._classes, placement.size
        )
        return scores, boxes_on_image(boxes, placement)


def read(outputs: Mapping[str, Tensor], output: DetectorOutput, classes: int, size: tuple[int, int]) -> Found:
    """What a detector found.

    Args:
        outputs: of the network for one image, by name.
        output: how to read them.
        classes: C.
        size: width and height of the network's input.

    Returns:
        scores 1 x P x C in 0..1, and boxes 1 x P x 4 (x0, y0, x1, y1) in pixels of the input.

    Raises:
        RuntimeError: a shape is not that of the layout and the number of classes.
    """
    given = _Given([outputs[name] for name in output.names], output, classes, size)
    scores, boxes = _READERS[output.layout](given)
    if output.layout == "yolox_undecoded":
        return scores, boxes
    if output.normalised:
        boxes = boxes * boxes.new_tensor(size * 2)
    return scores, corners(boxes, output.boxes)


def corners(boxes: Tensor, kind: str) -> Tensor:
    """... x 4 boxes as ``cxcywh``, ``xywh`` or ``xyxy`` -> x0, y0, x1, y1."""
    if kind == "xyxy":
        return boxes
    start, sides = boxes[..., :2], boxes[..., 2:]
    if kind == "cxcywh":
        start = start - sides / 2
    return torch.cat((start, start + sides), -1)


class _Given(NamedTuple):
    """The outputs of a detector in the order of its layout, and how to read them; see :func:`read`."""

    tensors: list[Tensor]
    output: DetectorOutput
    classes: int
    size: tuple[int, int]

    def rows(self, columns: int) -> Tensor:
        """The first output as 1 x P x columns float32."""
        rows = self.tensors[0].float()
        rows = rows[None] if rows.ndim == 2 else rows
        if rows.ndim == 3 and self.output.transposed != (self.output.layout == "yolo"):
            rows = rows.transpose(1, 2)
        if rows.ndim != 3 or rows.shape[2] != columns:
            layout = self.output.layout
            raise RuntimeError(f"{self.name(0)}: layout {layout} needs {columns} values a box")
        return rows

    def boxes(self, index: int) -> Tensor:
        """An output as 1 x P x 4 float32."""
        boxes = self.tensors[index].float()
        boxes = boxes.squeeze(2) if boxes.ndim == 4 else boxes
        boxes = boxes[None] if boxes.ndim == 2 else boxes
        if boxes.ndim != 3 or boxes.shape[2] != 4:
            raise RuntimeError(f"{self.name(index)}, not boxes: 1 x P x 4")
        return boxes

    def line(self, index: int, count: int) -> Tensor:
        """An output as 1 x count."""
        values = self.tensors[index]
        if values.numel() != count:
            raise RuntimeError(f"{self.name(index)}: expected a value for each of {count} boxes")
        return values.reshape(1, count)

    def name(self, index: int) -> str:
        """For messages."""
        return f"output {self.output.names[index]} is {'x'.join(map(str, self.tensors[index].shape))}"


def _undecoded(given: _Given) -> Found:
    rows, strides = given.rows(5 + given.classes), given.output.strides
    cells, sides = grid(given.size, strides, rows.device)
    if rows.shape[1] != len(cells):
        width, height = given.size
        raise RuntimeError(
            f"{given.name(0)}: strides {', '.join(map(str, strides))} make {len(cells)} boxes of "
            f"{width}x{height} pixels"
        )
    centres = (rows[..., :2] + cells) * sides
    half = rows[..., 2:4].exp() * sides / 2
    return rows[..., 4:5] * rows[..., 5:], torch.cat((centres - half, centres + half), -1)


def grid(size: tuple[int, int], strides: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """P x 2 corners (x, y) of all cells of all strides, in cells, and their P x 1 strides in pixels."""
    width, height = size
    cells, each = [], []
    for stride in strides:
        corner = cell_centres(height // stride, width // stride, stride, device) / stride - 0.5
        cells.append(corner)
        each.append(torch.full((len(corner), 1), float(stride), device=device))
    return torch.cat(cells), torch.cat(each)


def _objectness(given: _Given) -> Found:
    rows = given.rows(5 + given.classes)
    scores = activated(rows[..., 4:], given.output.scores)
    return scores[..., :1] * scores[..., 1:], rows[..., :4]


def _yolo(given: _Given) -> Found:
    rows = given.rows(4 + given.classes)
    return activated(rows[..., 4:], given.output.scores), rows[..., :4]


def _six(given: _Given) -> Found:
    rows = given.rows(6)
    return by_class(rows[..., 4], rows[..., 5], given.classes), rows[..., :4]


def _seven(given: _Given) -> Found:
    rows = given.rows(7)
    rows = rows[:, rows[0, :, 0] == 0]
    return by_class(rows[..., 6], rows[..., 5], given.classes), rows[..., 1:5]


def _counted(given: _Given) -> Found:
    boxes = given.boxes(1)
    count = boxes.shape[1]
    scores, labels = given.line(2, count).float(), given.line(3, count)
    valid = torch.arange(count, device=scores.device) < given.line(0, 1)
    return by_class(scores * valid, labels, given.classes), boxes


def _boxes_scores(given: _Given) -> Found:
    boxes, scores = given.boxes(0), given.tensors[1].float()
    scores = activated(scores[None] if scores.ndim == 2 else scores, given.output.scores)
    if scores.shape != (1, boxes.shape[1], given.classes):
        none = " and one for none" if given.output.scores == "softmax" else ""
        raise RuntimeError(f"{given.name(1)}, not {boxes.shape[1]} boxes x {given.classes} classes{none}")
    return scores, boxes


def _labels(given: _Given) -> Found:
    if len(given.tensors) == 2:
        boxes = given.tensors[1].float()
        if boxes.shape[-1] != 5:
            raise RuntimeError(f"{given.name(1)}, not boxes with scores: 1 x P x 5")
        boxes = boxes.reshape(1, -1, 5)
        return by_class(boxes[..., 4], given.line(0, boxes.shape[1]), given.classes), boxes[..., :4]
    boxes = given.boxes(1)
    scores = given.line(2, boxes.shape[1]).float()
    return by_class(scores, given.line(0, boxes.shape[1]), given.classes), boxes


_READERS: dict[str, Callable[[_Given], Found]] = {
    "yolox_undecoded": _undecoded,
    "yolo_objectness": _objectness,
    "yolo": _yolo,
    "rows": _six,
    "numbered_rows": _seven,
    "counted": _counted,
    "boxes_scores": _boxes_scores,
    "labels": _labels,
}


def activated(scores: Tensor, kind: str) -> Tensor:
    """Scores as probabilities; ``softmax`` drops the last class, which means none."""
    if kind == "logits":
        return scores.sigmoid()
    return scores.softmax(-1)[..., :-1] if kind == "softmax" else scores


def by_class(scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """1 x P scores and labels -> 1 x P x C; a label that is no class has score 0."""
    labels = labels.round().long() if labels.is_floating_point() else labels.long()
    known = (labels >= 0) & (labels < classes)
    table = scores.new_zeros(*scores.shape, classes)
    return table.scatter_(2, labels.clamp(0, classes - 1)[..., None], (scores * known)[..., None])


def _padded(values: Tensor, count: int) -> Tensor:
    return functional.pad(values, (0, 0, 0, count - values.shape[1]))
