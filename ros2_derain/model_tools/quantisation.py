"""``ros2-derain models quantise``: a model whose parser computes in whole numbers of 8 bits.

Its layers' ranges are measured on images of the camera (post-training quantisation by NNCF, with bias
correction), and stored in an ONNX file that takes the parser's place in a new model folder.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from ros2_derain import models, options
from ros2_derain.data.images import list_images, read_image
from ros2_derain.model_tools.onnx_export import COLUMNS, compare
from ros2_derain.models import ModelCard, ModelError
from ros2_derain.networks import onnx_export
from ros2_derain.onnx_parts import ImageInput, OnnxPart, ParserOutput
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.tables import table

FILE = "parser.onnx"

EXAMPLES = """examples:
  ros2-derain models quantise loopnet --images photos/ --out models/loopnet-int8
  ros2-derain models quantise loopnet --images photos/ --size 1280x720 --number 300 --out models/loopnet-int8
  ros2-derain evaluate perception --model models/loopnet-int8 --images IMAGES --labels LABELS

Images: a hundred or more, as the camera sees them; no labels are needed. Derainer and gauge stay as they
are. The new folder runs with OpenVINO and ONNX Runtime, as every other model. The table compares both
parsers with PyTorch on an image on which no range was measured, where there is one left. What it costs says
'evaluate perception'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Make a model whose parser computes in int8, in 50 to 75 % of the time on a CPU."
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="NAME", help="model name or folder, with a parser of its own")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of images to measure ranges on"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="model folder to make")
    parser.add_argument(
        "--number", type=options.positive(int), default=200, help="images used, evenly spaced (%(default)s)"
    )
    parser.add_argument(
        "--size", type=options.image_size, metavar="WxH", help="of the images for it (default: their own)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing model folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Quantise, compare, write the folder; returns the exit status."""
    folder = models.find(args.model)
    card = models.read_card(folder)
    if "parser" not in card.networks or card.onnx:
        raise ModelError(f"{card.name} has ONNX parts already: quantise a model with a parser of its own")
    card, modules = models.load(folder, tuple(card.networks))
    parser = modules.pop("parser")
    paths = list_images(args.images)
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, args.number).astype(int))]
    image = torch.from_numpy(_image(next((p for p in paths if p not in chosen), paths[0]), args.size))
    data = onnx_export.export(parser, "parse")
    whole = quantised(data, chosen, args.size)
    with staged(args.out, args.force, models.CARD) as stage:
        made = stage / args.out.name
        made.mkdir()
        write(made, card, modules, whole, {"images": len(chosen), "of": args.images.name})
    rows = [
        {"graph": name, **row}
        for name, graph in (("parse", data), ("parse int8", whole))
        for row in compare(graph, parser, "parse", image)
        if graph is data or row["runtime"] != "torch"
    ]
    print(json.dumps({"model": str(args.out), "rows": rows}, indent=2) if args.json else table(rows, COLUMNS))
    return int(any("error" in row for row in rows))


def quantised(data: bytes, images: Sequence[Path], size: tuple[int, int] | None) -> bytes:
    """The parser's graph in int8, as an ONNX file with QuantizeLinear and DequantizeLinear.

    Args:
        data: its ONNX file in float32.
        images: files to measure the ranges of its layers on.
        size: width and height to which they are scaled; None: their own.

    Raises:
        ModelError: NNCF is not installed.
    """
    try:
        import nncf
        import onnx
    except ImportError as error:
        raise ModelError(
            f"models quantise needs the package {error.name}: pip install 'ros2_derain[quantisation]'"
        ) from error
    model = onnx.load_model_from_string(data)
    _remove_idle_casts(model)
    dataset = nncf.Dataset(list(images), lambda path: {"image": _image(path, size)})
    with contextlib.redirect_stdout(sys.stderr):  # of its progress
        made = nncf.quantize(model, dataset, preset=nncf.QuantizationPreset.MIXED, subset_size=len(images))
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def write(
    folder: Path,
    card: ModelCard,
    modules: dict[str, nn.Module],
    data: bytes,
    source: dict[str, Any],
) -> ModelCard:
    """A model folder whose parser is an ONNX file.

    Args:
        folder: to fill.
        card: of the model that it was made of.
        modules: its other networks.
        data: the ONNX file.
        source: how it was made, for the card.
    """
    below = card.networks["parser"].get("options", {}).get("enlarged_below", 0)
    part = OnnxPart(
        "onnx",
        FILE,
        hashlib.sha256(data).hexdigest(),
        ImageInput("image"),
        parser=ParserOutput(enlarged_below=below),
    )
    changed = replace(
        card,
        name=folder.name,
        networks={name: described for name, described in card.networks.items() if name in modules},
        onnx={"parser": part},
        training={**card.training, "quantised": {"model": card.name, "sha256": card.sha256, **source}},
        results={},
    )
    written = models.save(folder, changed, modules)
    (folder / FILE).write_bytes(data)
    return written


def _image(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """1 x 3 x H x W float32 in 0..1."""
    pixels = read_image(path)
    if size is not None:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


def _remove_idle_casts(model: Any) -> None:
    """Remove conversions from float32 to float32, which NNCF cannot where they make an output."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        each.name for each in graph.value_info if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    outputs = {each.name for each in model.graph.output}
    for cast in [node for node in model.graph.node if node.op_type == "Cast"]:
        given, made = cast.input[0], cast.output[0]
        if given not in floats or cast.attribute[0].i != onnx.TensorProto.FLOAT:
            continue
        model.graph.node.remove(cast)
        old, new = (given, made) if made in outputs else (made, given)
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
