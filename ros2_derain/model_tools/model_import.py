"""``ros2-derain models import``: a model folder with a checkpoint or an ONNX file from elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from ros2_derain.model_tools import checkpoint_import, onnx_import

EXAMPLES = """examples:
  ros2-derain models import yolox_nano.onnx --as detector --classes coco --out models/mine
  ros2-derain models import segformer.onnx --as segmentation --classes cityscapes --out models/mine
  ros2-derain models import nafnet.onnx --as derainer --out models/mine
  ros2-derain models import net_latest.pth --network sapnet
  ros2-derain models import weights.pth --network mspfn --variant light --out models/mspfn --json

ONNX files: how the network gets an image and how its outputs are read is guessed from shapes and metadata
and by trying it on a sample image; every guess is printed with the option that overrides it. The second
import into a folder adds a part to it. The other parts are copied from --base.

Checkpoints: the network's options must be those of the training. Tensors are assigned by name if the names
are this package's, else by order and shape; the mapping is printed: check it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Make a model folder of a network made elsewhere: a checkpoint, or an ONNX file."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "file", type=Path, help=".onnx, or a checkpoint: .pth, .pt, .safetensors; no code in it is ever run"
    )
    parser.add_argument("--base", help="model for the other parts (default: loopnet, or --out if it is one)")
    parser.add_argument("--out", type=Path, help="model folder to write (default: models/NAME)")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    onnx_import.add_arguments(parser)
    checkpoint_import.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Import the file; returns the exit status."""
    is_onnx = args.kind is not None or args.file.suffix.lower() == ".onnx"
    return (onnx_import if is_onnx else checkpoint_import).main(args)
