"""``ros2-derain models import FILE.onnx --as KIND``: a network made elsewhere as a part of a model folder."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ros2_derain import class_colours, models, networks, options, overlay, resources
from ros2_derain.data import class_index, class_list, read_image
from ros2_derain.data.images import side_by_side, write_image
from ros2_derain.engine import (
    Engine,
    EngineError,
    EngineSettings,
    Frame,
    Interpreter,
    Perception,
    load_graph,
)
from ros2_derain.model_tools import onnx_file
from ros2_derain.model_tools.onnx_guess import Guess, Guesser, describe_pixels
from ros2_derain.models import ModelCard, ModelError, PriorTable
from ros2_derain.onnx_parts import (
    DetectorOutput,
    ImageInput,
    ImageOutput,
    Layout,
    OnnxPart,
    SegmentationOutput,
)
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting.files import staged

SAMPLE = "samples/highway/000175.jpg"
OVERLAY = "overlay.png"
IMPORTED = ("segmentation", "detector", "derainer")
"""What networks made elsewhere can be."""
RATE_MM_H = 100.0
"""Of the rain rendered onto the sample, for derainers."""

OPACITY = 0.45

LAYOUT_NAMES = {
    "yolov5": "yolo_objectness",
    "yolov6": "yolo_objectness",
    "yolov7": "yolo_objectness",
    "yolox_decoded": "yolo_objectness",
    "yolov8": "yolo",
    "yolov9": "yolo",
    "yolo11": "yolo",
    "yolov12": "yolo",
    "yolov10": "rows",
    "efficient_nms": "counted",
    "detr": "boxes_scores",
    "rtdetr": "labels",
    "dfine": "labels",
}
"""Other names of layouts: networks that are usually exported so."""

FITS = ("stretch", "letterbox", "letterbox_corner")
LAYOUTS = (*get_args(Layout), *LAYOUT_NAMES, "NCHW", "NHWC", "NHW")


OVERRIDES = (
    *("input", "size", "multiple", "fit", "fill", "layout_in", "colours", "white", "mean", "std"),
    *("values", "boxes", "normalised", "scores", "overlap", "tile_overlap"),
)
"""Options that replace a guess, beside --output and --layout."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options for ONNX files."""
    group = parser.add_argument_group("ONNX files")
    group.add_argument("--as", dest="kind", choices=IMPORTED, help="what the network is")
    group.add_argument(
        "--classes",
        metavar="LIST",
        help="its classes by id: camvid, cityscapes, voc, coco, coco91, bdd, or a .txt, .yaml, .json or .csv "
        "file (default: those in the file, or the known list of this length)",
    )
    group.add_argument("--sample", type=Path, help="image to try it on (default: one of samples/highway)")
    group.add_argument("--force", action="store_true", help="replace a part or a folder that exists")
    group.add_argument("--licence", default="not stated", help="of the file, for the card")
    group = parser.add_argument_group("how it gets the image, where the guess is wrong")
    group.add_argument("--input", metavar="NAME", help="input for the image")
    group.add_argument("--size", type=options.image_size, metavar="WxH", help="of the image that it gets")
    group.add_argument(
        "--multiple", type=options.positive(int), help="that sides are padded to, without --size"
    )
    group.add_argument("--fit", choices=FITS, help="how the image fills --size")
    group.add_argument("--fill", type=float, help="grey level of a letterbox's border, 0..255")
    group.add_argument("--axes", dest="layout_in", choices=("NCHW", "NHWC"), help="order of the input's axes")
    group.add_argument("--colours", choices=("RGB", "BGR"), help="order of the channels")
    group.add_argument("--white", type=float, choices=(1.0, 255.0), help="value of a full channel")
    group.add_argument("--mean", type=_three, metavar="A,B,C", help="subtracted, in units of --white")
    group.add_argument("--std", type=_three, metavar="A,B,C", help="divided by, after that")
    group = parser.add_argument_group("how its outputs are read, where the guess is wrong")
    group.add_argument(
        "--output", action="append", metavar="NAME", help="output; several in the layout's order"
    )
    group.add_argument(
        "--layout", dest="layout_out", choices=LAYOUTS, metavar="LAYOUT", help=", ".join(LAYOUTS)
    )
    group.add_argument(
        "--values",
        choices=("logits", "probabilities", "labels", "image", "rain", "correction"),
        help="of a segmentation, or of a derainer: the image, the rain to subtract, the correction to add",
    )
    group.add_argument("--boxes", choices=("cxcywh", "xyxy", "xywh"), help="the four numbers of a box")
    group.add_argument(
        "--normalised", type=_yes_or_no, metavar="yes|no", help="boxes are fractions of the input"
    )
    group.add_argument("--scores", choices=("probabilities", "logits", "softmax"), help="of a detector")
    group.add_argument("--overlap", type=float, help="IoU above which the weaker of two boxes goes; 1: none")
    group.add_argument("--tile-overlap", type=int, help="pixels that a derainer's tiles share")


def main(args: argparse.Namespace) -> int:
    """Read, guess, write the model folder, try it, print what was done; returns the exit status."""
    if args.kind is None:
        raise ModelError(f"{args.file} is an ONNX file: say what it is by --as {' or '.join(IMPORTED)}")
    out = args.out or Path("models") / args.file.stem
    base_folder, adds = _base(args, out)
    base = models.read_card(base_folder)
    if adds and args.kind in base.onnx and not args.force:
        raise ModelError(f"{out} has a {args.kind} from elsewhere already: replace it with --force")
    file = onnx_file.read(args.file)
    sample = read_image(args.sample or resources.path(SAMPLE))
    guess = _guess(args, file, sample)
    part = _part(args, file, guess)
    with staged(out, args.force or adds, models.CARD) as stage:
        folder = stage / out.name
        card = _write(folder, base_folder, base, part, file.data)
        summary = _try(folder, args.kind, sample)
    lender = card.training["base"]["name"]
    report = Report(out, lender, file, part, guess.tried, card, summary)
    print(json.dumps(report.content(), indent=2) if args.json else report.text())
    return 0


def _base(args: argparse.Namespace, out: Path) -> tuple[Path, bool]:
    """The model that lends the other parts, and whether that is the output itself, which gains one."""
    if (out / models.CARD).is_file() and (args.base is None or models.find(args.base).samefile(out)):
        if "imported" in models.read_card(out).training:
            return out, True
    return models.find(args.base or "loopnet"), False


def _guess(args: argparse.Namespace, file: onnx_file.OnnxFile, sample: np.ndarray) -> Guess:
    given = {key: value for key in OVERRIDES if (value := getattr(args, key)) is not None}
    if args.layout_out:
        given["layout_out"] = LAYOUT_NAMES.get(args.layout_out, args.layout_out)
    if args.output:
        given |= {"name": args.output[0], "names": tuple(args.output)}
    classes = class_list(args.classes) if args.classes else file.names() or None
    try:
        run = load_graph(file.data, EngineSettings())
        guesser = Guesser(file, run, given, classes)
        image = _tensor(sample)
        with torch.inference_mode():
            if args.kind == "segmentation":
                return guesser.segmentation(image)
            if args.kind == "detector":
                return guesser.detector(image)
            return guesser.derainer(image, _tensor(_rainy(sample)))
    except (EngineError, ValueError) as error:
        raise ModelError(f"{args.file}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{args.file}: {error}") from error


def _part(args: argparse.Namespace, file: onnx_file.OnnxFile, guess: Guess) -> OnnxPart:
    source = {
        "file": args.file.name,
        "sha256": hashlib.sha256(args.file.read_bytes()).hexdigest(),
        "producer": file.producer,
        "opset": str(file.opset),
        "licence": args.licence,
    }
    output = guess.output
    if len(guess.classes) > 255:
        raise ModelError(f"{args.file} has {len(guess.classes)} classes: at most 255 fit a label map")
    return OnnxPart(
        "onnx",
        f"{args.kind}.onnx",
        hashlib.sha256(file.data).hexdigest(),
        guess.input,
        output if isinstance(output, SegmentationOutput) else None,
        output if isinstance(output, DetectorOutput) else None,
        output if isinstance(output, ImageOutput) else None,
        guess.classes,
        source,
    )


def _write(folder: Path, base_folder: Path, base: ModelCard, part: OnnxPart, data: bytes) -> ModelCard:
    """The model folder: the base's other parts, and this one."""
    onnx = dict(base.onnx)
    onnx[part.kind] = part
    used = dict(base.networks)
    if part.kind == "derainer":
        used.pop("derainer", None)
    if {"segmentation", "detector"} <= onnx.keys():
        used.pop("parser", None)
    _, modules = models.load(base_folder, tuple(used))
    classes = part.classes if part.kind == "segmentation" else base.classes
    objects = part.classes if part.kind == "detector" else base.objects
    licences = [f"{name}: {(each.source or {}).get('licence', 'not stated')}" for name, each in onnx.items()]
    training = {
        "imported": {name: each.source for name, each in onnx.items()},
        "base": base.training.get("base", {"name": base.name, "sha256": base.sha256, "parts": sorted(used)}),
        "licence": "; ".join((*licences, "the rest: " + base.training.get("licence", "not stated"))),
    }
    if "imported" in base.training:  # the base's own licence is at the end of its statement
        training["licence"] = "; ".join((*licences, base.training["licence"].rsplit("; ", 1)[-1]))
    card = ModelCard(
        folder.name,
        used,
        classes,
        objects,
        "",
        onnx,
        prior_table(base, used, classes),
        {name: class_colours.colour(name) for name in classes},
        training,
    )
    written = models.save(folder, card, modules)
    for name, each in base.onnx.items():
        if name != part.kind:
            shutil.copyfile(base_folder / each.file, folder / each.file)
    (folder / part.file).write_bytes(data)
    return written


def prior_table(base: ModelCard, used: dict, classes: Sequence[str]) -> PriorTable | None:
    """How the model's classes become those of the derainer; None where they are equal or not needed."""
    own = base.prior.classes if base.prior else base.classes
    derainer = used.get("derainer")
    if derainer is None or not getattr(networks.kind(derainer["network"]), "takes_prior", False):
        return None
    if tuple(own) == tuple(classes):
        return None
    found = {name: class_index(name, own) for name in classes}
    return PriorTable(tuple(own), {name: own[index] for name, index in found.items() if index is not None})


@dataclass(frozen=True)
class Report:
    """What an import found and made.

    Attributes:
        out: the model folder.
        base: name of the model that lent the other parts.
        file: that was imported.
        part: as on the card.
        tried: ways to feed the network, and how good each was.
        card: of the folder.
        sample: what the model makes of the sample image.
    """

    out: Path
    base: str
    file: onnx_file.OnnxFile
    part: OnnxPart
    tried: tuple[str, ...]
    card: ModelCard
    sample: str

    def content(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "model": str(self.out),
            "sha256": self.card.digest,
            "kind": self.part.kind,
            "part": asdict(self.part),
            "tried": list(self.tried),
            "prior": None if self.card.prior is None else asdict(self.card.prior),
            "sample": self.sample,
            "overlay": str(self.out / OVERLAY),
        }

    def text(self) -> str:
        """For a terminal: every guess with the options that override it."""
        rows = [
            ("file", f"opset {self.file.opset}, {self.file.producer or 'unknown producer'}", ""),
            ("inputs", ", ".join(map(str, self.file.inputs)), "--input"),
            ("outputs", ", ".join(map(str, self.file.outputs)), "--output"),
            ("image size", *_size_text(self.part.input)),
            ("pixels", describe_pixels(self.part.input), "--colours --white --mean --std"),
            ("read as", *_output_text(self.part)),
        ]
        if self.part.classes:
            first = ", ".join(self.part.classes[:6]) + (", ..." if len(self.part.classes) > 6 else "")
            rows.append(("classes", f"{len(self.part.classes)}: {first}", "--classes"))
        rows += [("tried", line, "") for line in self.tried]
        if self.card.prior is not None and self.part.kind == "segmentation":
            rows += [("prior", line, "") for line in _prior_text(self.card)]
        rows.append(("sample", self.sample, "--sample"))
        lines = [f"  {name:<11} {text}" + (f"   ({flags})" if flags else "") for name, text, flags in rows]
        end = f"{self.out}: this {self.part.kind}, the rest from {self.base}; look at {self.out / OVERLAY}"
        return "\n".join((*lines, end))


def _size_text(spec: ImageInput) -> tuple[str, str]:
    if spec.size is None:
        return f"its own, padded to multiples of {spec.multiple}", "--size --multiple"
    text = f"{spec.size[0]}x{spec.size[1]}, {spec.fit}"
    if spec.fit != "stretch":
        text += f", border {spec.fill:g}"
    return text, "--size --fit --fill"


def _output_text(part: OnnxPart) -> tuple[str, str]:
    if part.segmentation is not None:
        output = part.segmentation
        return f"{output.values} of {output.name}, {output.layout}", "--output --layout --values"
    if part.detections is not None:
        found = part.detections
        units = "fractions" if found.normalised else "pixels"
        text = f"{found.layout} of {', '.join(found.names)}"
        if found.layout != "yolox_undecoded":
            text += f"; boxes {found.boxes} in {units}; scores: {found.scores}"
        suppressed = "none" if found.overlap >= 1 else f"over an IoU of {found.overlap:g}"
        flags = "--layout --boxes --normalised --scores --overlap"
        return f"{text}; suppression: {suppressed}", flags
    assert part.image is not None
    return f"{part.image.values} at {part.image.name}", "--output --values --tile-overlap"


def _prior_text(card: ModelCard) -> list[str]:
    """The table of classes, several a line, and those whose probability the derainer does not get."""
    assert card.prior is not None
    pairs = [f"{name} -> {card.prior.meaning[name]}" for name in card.classes if name in card.prior.meaning]
    lines = [", ".join(pairs[start : start + 5]) for start in range(0, len(pairs), 5)]
    if dropped := [name for name in card.classes if name not in card.prior.meaning]:
        lines.append(f"without a class of the derainer: {', '.join(dropped)}")
    return lines


# The sample image


def _try(folder: Path, kind: str, sample: np.ndarray) -> str:
    """Run the model on the sample, write what it gives beside the card, and say it in a line.

    Raises:
        ModelError: it does not run, or its output is not finite.
    """
    settings = EngineSettings(model=str(folder), gate=False, prior="none")
    try:
        if kind == "derainer":
            rainy = _rainy(sample)
            scene = Engine.load(settings).process(Frame(0, "sample", rainy))
            if scene.fault:
                raise ModelError(f"the model fails on the sample image: {scene.fault}")
            write_image(folder / OVERLAY, side_by_side([rainy, scene.image]))
            return f"rain of {RATE_MM_H:g} mm/h rendered onto the sample, and what the derainer makes of it"
        interpreter = Interpreter.load(settings)
        found = interpreter.interpret(sample).perception
        write_image(folder / OVERLAY, overlay.draw(sample, found, interpreter.identity.colours, OPACITY))
        return _described(found, interpreter.identity.class_names)
    except (RuntimeError, EngineError) as error:
        raise ModelError(f"the model fails on the sample image: {error}") from error


def _described(found: Perception, names: Sequence[str]) -> str:
    """The largest classes and the boxes."""
    ids, counts = np.unique(found.labels, return_counts=True)
    shares = sorted(zip(counts / found.labels.size, ids, strict=True), reverse=True)[:5]
    labels = ", ".join(
        f"{names[index] if index < len(names) else 'unlabelled'} {share:.0%}" for share, index in shares
    )
    boxes = ", ".join(f"{box.class_name} {box.score:.2f}" for box in found.detections[:8]) or "none"
    return f"labels: {labels}; boxes: {boxes}"


def _rainy(sample: np.ndarray) -> np.ndarray:
    return RainOverlay.of_rate(RATE_MM_H).render(sample, 0.0)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def _three(text: str) -> tuple[float, float, float]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"expected three numbers such as 0.485,0.456,0.406, got {text!r}")
    return values[0], values[1], values[2]


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return text == "yes"
