"""What a model's card says of its parts that are ONNX files.

Such a part is a segmentation network or a detector, which replace that half of the model's own parser, a
derainer from image to image, or the model's own parser as a graph. The card holds all that is needed to call
it and to read its outputs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ros2_derain.validation import STRICT

Kind = Literal["segmentation", "detector", "derainer", "parser"]
KINDS: tuple[Kind, ...] = ("segmentation", "detector", "derainer", "parser")

Layout = Literal[
    "yolox_undecoded", "yolo_objectness", "yolo", "rows", "numbered_rows", "counted", "boxes_scores", "labels"
]
"""How a detector states what it found, for P boxes and C classes:

* ``yolox_undecoded``: N x P x (5 + C), one box for each cell of the strides: x, y in cells from the cell's
  corner, logarithms of width and height in cells, objectness, scores (YOLOX);
* ``yolo_objectness``: N x P x (5 + C): box, objectness, scores (YOLOX decoded, YOLOv5, YOLOv6, YOLOv7);
* ``yolo``: N x (4 + C) x P: box, scores (YOLOv8, 9, 11, 12; RT-DETR of Ultralytics);
* ``rows``: N x P x 6: box, score, class (YOLOv10, exports with suppression inside);
* ``numbered_rows``: P x 7: number of the image, box, class, score (YOLOv7 with suppression inside);
* ``counted``: count, boxes, scores, classes (EfficientNMS);
* ``boxes_scores``: boxes N x P x 4 and scores N x P x C (DETR, RF-DETR, RT-DETR, YOLO-NAS);
* ``labels``: labels N x P, boxes N x P x 4, scores N x P (RT-DETR, D-FINE, torchvision); or labels and
  boxes N x P x 5 with the score at the end (MMDetection).
"""


@dataclass(frozen=True, config=STRICT)
class ImageInput:
    """How an image becomes the input of a network.

    Attributes:
        name: of the input.
        size: width and height that the network gets; None: the image's own.
        multiple: where ``size`` is None, the image is padded at right and bottom to multiples of this.
        fit: where ``size`` is given: ``stretch``, ``letterbox`` (scaled alike in both directions, in the
            middle) or ``letterbox_corner`` (at the top left).
        fill: grey level of a letterbox's border, 0..255.
        layout: ``NCHW`` or ``NHWC``.
        colours: ``RGB`` or ``BGR``.
        dtype: ``float32``, ``float16`` or ``uint8``.
        white: value of a full channel before mean and deviation, 1 or 255.
        mean, std: of each channel in the network's order; subtracted, then divided by.
        size_input: name of an input for the size of the image, as in RT-DETR; '': none.
    """

    name: str
    size: tuple[int, int] | None = None
    multiple: int = 32
    fit: Literal["stretch", "letterbox", "letterbox_corner"] = "stretch"
    fill: float = 114.0
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    colours: Literal["RGB", "BGR"] = "RGB"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    white: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size_input: str = ""


@dataclass(frozen=True, config=STRICT)
class SegmentationOutput:
    """How to read a segmentation.

    Attributes:
        name: of the output.
        layout: ``NCHW`` or ``NHWC`` with a channel for each class, ``NHW`` (or N x 1 x H x W) for class ids.
        values: ``logits``, ``probabilities`` or ``labels``.
    """

    name: str
    layout: Literal["NCHW", "NHWC", "NHW"] = "NCHW"
    values: Literal["logits", "probabilities", "labels"] = "logits"


@dataclass(frozen=True, config=STRICT)
class DetectorOutput:
    """How to read detections.

    Attributes:
        names: of the outputs, in the order of the layout.
        layout: one of :data:`Layout`.
        boxes: ``cxcywh`` (centre and size), ``xyxy`` (corners) or ``xywh`` (corner and size).
        normalised: boxes are fractions of the input instead of its pixels.
        scores: ``probabilities``, ``logits``, or ``softmax`` (logits, the last class meaning none).
        transposed: boxes along the other axis than the layout says.
        overlap: IoU above which the weaker of two boxes of a class is dropped; 1: none is.
        strides: of ``yolox_undecoded``, pixels per cell.
    """

    names: tuple[str, ...]
    layout: Layout
    boxes: Literal["cxcywh", "xyxy", "xywh"] = "cxcywh"
    normalised: bool = False
    scores: Literal["probabilities", "logits", "softmax"] = "probabilities"
    transposed: bool = False
    overlap: float = 0.45
    strides: tuple[int, ...] = (8, 16, 32)


@dataclass(frozen=True, config=STRICT)
class ImageOutput:
    """How to read the output of a derainer; its layout, colours, range, mean and deviation are the input's.

    Attributes:
        name: of the output.
        values: ``image``, or the ``rain`` that is to be subtracted, or the ``correction`` to be added.
        tile_overlap: pixels that neighbouring tiles share where the size of the input is fixed.
    """

    name: str
    values: Literal["image", "rain", "correction"] = "image"
    tile_overlap: int = 32


@dataclass(frozen=True, config=STRICT)
class ParserOutput:
    """How to read a parser, which is segmentation and detector in one.

    Attributes:
        graph: ``parse`` of :mod:`ros2_derain.networks.onnx_export`, whose outputs have names that tell all.
        enlarged_below: of the network that it was made of, see :class:`ros2_derain.networks.SceneParser`.
    """

    graph: Literal["parse"] = "parse"
    enlarged_below: int = 0


@dataclass(frozen=True, config=STRICT)
class OnnxPart:
    """One ONNX file of a model.

    Attributes:
        format: ``onnx``.
        file: its name in the model's folder.
        sha256: of the file, hex.
        input: how to call it.
        segmentation, detections, image, parser: how to read it; one of the four, by the part's kind.
        classes: its classes by id; empty for a derainer, and for a parser, whose are the model's.
        source: what it was imported from: file, sha256, licence.
    """

    format: Literal["onnx"]
    file: str
    sha256: str
    input: ImageInput
    segmentation: SegmentationOutput | None = None
    detections: DetectorOutput | None = None
    image: ImageOutput | None = None
    classes: tuple[str, ...] = ()
    source: dict[str, str] | None = None
    parser: ParserOutput | None = None

    @property
    def _outputs(self) -> tuple[Any, ...]:
        """In the order of :data:`KINDS`."""
        return self.segmentation, self.detections, self.image, self.parser

    @property
    def kind(self) -> Kind:
        """One of :data:`KINDS`."""
        return next(kind for kind, output in zip(KINDS, self._outputs, strict=True) if output is not None)

    def __post_init__(self) -> None:
        if sum(output is not None for output in self._outputs) != 1:
            raise ValueError("one of segmentation, detections, image and parser must be given")
        if "/" in self.file or "\\" in self.file or self.file.startswith("."):
            raise ValueError(f"file {self.file!r} is not the name of a file in the model's folder")
