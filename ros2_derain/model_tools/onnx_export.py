"""``ros2-derain models export``: a model's networks as ONNX files, compared with PyTorch on every runtime."""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ros2_derain import engine_options, models, options, resources
from ros2_derain.data import read_image
from ros2_derain.engine import Engine
from ros2_derain.engine.backends import GraphError, compile_graph, installed
from ros2_derain.model_tools.onnx_import import SAMPLE
from ros2_derain.models import ModelError
from ros2_derain.networks import onnx_export
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.tables import Column, fixed, percentage, table

SIZE = (1280, 720)
RUNTIMES = ("openvino", "onnxruntime")
CARD = "export.json"
TIMED_SECONDS, MAX_CALLS = 2.0, 30

FILES = {
    "gauge": "gauge",
    "water": "gauge_water",
    "parse": "parse",
    "once": "derain",
    "coarse": "derain_coarse",
}
"""File names of graphs; others are called ``derain_NAME``. A network without a prior is ``derain``."""

EXAMPLES = """examples:
  ros2-derain models export loopnet out/loopnet-onnx
  ros2-derain models export ubcn out/ubcn-onnx --size 640x360 --check samples/highway/000175.jpg
  ros2-derain models export loopnet out/loopnet-onnx --dynamic --opset 18
  ros2-derain models export loopnet --build --size 1280x720

gauge.onnx (rain rate), gauge_water.onnx (water on the glass, from an image and the mean of those before
it), parse.onnx, and derain.onnx: one pass with the prior and the state of the previous frame as inputs, and
the next state as an output. For the closed loop derain_coarse.onnx, derain_refine.onnx and, where the
network has it, derain_again.onnx. Images are N x 3 x H x W RGB in 0..1. Metadata: classes, objects, hash.
parse.onnx takes images as they are; the engine enlarges small ones before (enlarged_below on the card).

--build writes no ONNX: it compiles what a node needs for images of this size into the cache, so that a
vehicle does not compile at its first start."""

COLUMNS = (
    Column("graph", "graph", str),
    Column("runtime", "runtime", str),
    Column("milliseconds", "ms", fixed(1)),
    Column("largest_difference", "largest difference", lambda value: f"{value:.1e}"),
    Column("psnr_db", "PSNR dB", fixed(1)),
    Column("equal_labels", "equal labels %", percentage(2)),
    Column("error", "error", str, none=""),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Write a model's networks as ONNX files, and compare every runtime with PyTorch."
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="NAME", help="model name or folder")
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="folder to write")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", type=options.image_size, default=SIZE, metavar="WxH", help="(1280x720)")
    size.add_argument("--dynamic", action="store_true", help="files for images of any size and number")
    parser.add_argument("--opset", type=int, default=onnx_export.OPSET, help="of ONNX (17)")
    parser.add_argument("--check", type=Path, metavar="IMAGE", help="to compare on (default: of the samples)")
    parser.add_argument("--build", action="store_true", help="compile into the cache instead")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    engine_options.add_device(parser)


def main(args: argparse.Namespace) -> int:
    """Export or build; returns the exit status: 1 if a runtime failed."""
    if args.build:
        return _build(args)
    if args.out is None:
        raise ModelError("name the folder to write, such as out/onnx, or compile only by --build")
    folder = models.find(args.model)
    card = models.read_card(folder)
    card, modules = models.load(folder, tuple(card.networks))
    image = _image(args)
    rows: list[dict] = []
    with staged(args.out, args.force, CARD) as stage:
        made = stage / args.out.name
        made.mkdir()
        graphs = [(part, name) for part in modules for name in onnx_export.graph_names(part, modules[part])]
        with Progress("graphs", len(graphs)) as progress:
            for part, name in graphs:
                file = made / f"{file_stem(name, part, modules[part])}.onnx"
                data = _exported(args, card, part, name, modules[part])
                file.write_bytes(data)
                rows += [{"graph": file.stem, **row} for row in compare(data, modules[part], name, image)]
                progress.step()
        result = {"model": card.name, "sha256": card.sha256, "size": list(image.shape[:1:-1]), "rows": rows}
        (made / CARD).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2) if args.json else table(rows, COLUMNS))
    if foreign := ", ".join(part.file for part in card.onnx.values()):
        print(f"{card.name}'s {foreign} are ONNX files already, in {folder}")
    return int(any("error" in row for row in rows))


def file_stem(name: str, part: str, network: nn.Module) -> str:
    """The name of a graph's file."""
    if part == "derainer" and onnx_export.graph_names(part, network) == (name,):
        return "derain"
    return FILES.get(name, f"derain_{name}")


def _build(args: argparse.Namespace) -> int:
    """Compile as a node does at configure."""
    started = time.perf_counter()
    width, height = args.size
    engine = Engine.load(engine_options.settings(args))
    engine.warm_up(height, width)
    seconds = time.perf_counter() - started
    print(f"{engine.identity.name}: ready for {width}x{height} after {seconds:.1f} s")
    return 0


def _image(args: argparse.Namespace) -> Tensor:
    pixels = read_image(args.check or resources.path(SAMPLE))
    if not args.dynamic:
        pixels = cv2.resize(pixels, args.size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def _exported(
    args: argparse.Namespace, card: models.ModelCard, part: str, name: str, network: nn.Module
) -> bytes:
    """The ONNX file with metadata, checked.

    Raises:
        ModelError: the package onnx is missing, or the opset does not do.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModelError("export needs the package onnx: pip install 'ros2_derain[onnx]'") from error
    size = None if args.dynamic else args.size[::-1]
    try:
        model = onnx.load_model_from_string(onnx_export.export(network, name, size, opset=args.opset))
    except onnx_export.ExportError as error:
        raise ModelError(f"{card.name} in opset {args.opset}: {error}") from error
    metadata = {
        "model": card.name,
        "sha256": card.sha256,
        "part": part,
        "graph": name,
        "network": card.networks[part]["network"],
        "classes": json.dumps(card.prior.classes if card.prior and part == "derainer" else card.classes),
        "objects": json.dumps(card.objects),
        "images": "N x 3 x H x W RGB in 0..1",
    }
    onnx.helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"the {name} graph of {card.name} is invalid in opset {args.opset}: {reason}"
        ) from error
    return model.SerializeToString()


def compare(data: bytes, network: nn.Module, name: str, image: Tensor) -> list[dict]:
    """A graph on every installed runtime, compared with PyTorch in float32.

    Args:
        data: the ONNX file.
        network: that it was made of.
        name: of the graph.
        image: 1 x 3 x H x W in 0..1.

    Returns:
        a row for each runtime: ``milliseconds`` a call, the ``largest_difference`` of any output, PSNR of
        images in dB, share of ``equal_labels`` of class scores; ``error`` where it does not run.
    """
    network = copy.deepcopy(network).float().eval()
    inputs = onnx_export.example(network, name, image.shape[-2], image.shape[-1])
    inputs |= {key: image for key in ("image", "recent", "rain") if key in inputs}
    with torch.inference_mode():
        expected = onnx_export.outputs(network, name, inputs)
        milliseconds = _timed(lambda: onnx_export.outputs(network, name, inputs))
        rows: list[dict[str, Any]] = [{"runtime": "torch", "milliseconds": milliseconds}]
    for runtime in filter(installed, RUNTIMES):
        try:
            shapes = {key: tuple(values.shape) for key, values in inputs.items()}
            graph = compile_graph(data, runtime, shapes=shapes)
            found, milliseconds = graph(inputs), _timed(partial(graph, inputs))
        except GraphError as error:
            rows.append({"runtime": runtime, "error": str(error)})
            continue
        rows.append({"runtime": runtime, "milliseconds": milliseconds, **difference(found, expected)})
    return rows


def difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Any]:
    """How far outputs are from the expected ones; see :func:`compare`."""
    pairs = {name: (found[name].float(), values.float()) for name, values in expected.items()}
    row: dict[str, Any] = {
        "largest_difference": max(float((ours - theirs).abs().max()) for ours, theirs in pairs.values())
    }
    if "image" in pairs:
        ours, theirs = pairs["image"]
        error = float((ours.clamp(0, 1) - theirs.clamp(0, 1)).square().mean())
        row["psnr_db"] = -10 * math.log10(error) if error > 0 else math.inf
    if "logits" in pairs:
        ours, theirs = pairs["logits"]
        row["equal_labels"] = float((ours.argmax(1) == theirs.argmax(1)).float().mean())
    return row


def _timed(call: Callable[[], Any]) -> float:
    """Milliseconds of a call: the median of several after the first, or the first where that is long."""
    seconds: list[float] = []
    while not seconds or sum(seconds) < TIMED_SECONDS and len(seconds) < MAX_CALLS:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[1:] or seconds))
