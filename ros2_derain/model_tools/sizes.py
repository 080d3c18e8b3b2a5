"""``ros2-derain models sizes``: parameters and multiply-accumulates of every network's published sizes."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from ros2_derain import networks
from ros2_derain.networks import Derainer
from ros2_derain.reporting.tables import table

SIZE = (512, 512)
"""H x W of the papers' counts, if stated."""

EXAMPLES = """examples:
  ros2-derain models sizes
  ros2-derain models sizes --network danet mspfn --size 720x1280 --json

What the papers call GFlops are multiply-accumulates (GMAC). UBCN's are those of one iteration without its
segmentation network; LoopNet's of one pass with a prior."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "List the derainers' published sizes: parameters, and GMAC for one image."
    parser.epilog = EXAMPLES
    parser.add_argument("--network", nargs="+", choices=networks.derainers(), help="(default: all)")
    parser.add_argument("--size", type=_size, default=SIZE, metavar="HxW", help="of the image (512x512)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    named = args.network or networks.derainers()
    rows = [row(name, variant, args.size) for name in named for variant in variants(name)]
    print(json.dumps(rows, indent=2) if args.json else table(rows))
    return 0


def variants(name: str) -> list[str]:
    """The published sizes of a network; ``""`` if it has only one."""
    module = importlib.import_module(networks.kind(name).__module__)
    return list(getattr(module, "VARIANTS", {"": None}))


def row(name: str, variant: str, size: tuple[int, int] = SIZE) -> dict:
    """Network, variant, million parameters and GMAC for one H x W image."""
    options = {"variant": variant} if variant else {}
    return {"network": name, "variant": variant, **cost(name, options, size)}


def cost(name: str, options: dict, size: tuple[int, int]) -> dict[str, float]:
    """``parameters_m`` (millions) and ``gmac`` of a derainer for one H x W image.

    GMAC are 10^9 multiply-accumulates of ``coarse`` and a ``refine`` with a prior.
    """
    height, width = size
    with torch.device("meta"):
        derainer = cast(Derainer, networks.create(name, **options)).eval()
    classes = getattr(derainer, "classes", 1)
    image = torch.empty(1, 3, height, width, device="meta")
    prior = torch.empty(1, classes, -(-height // 8), -(-width // 8), device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        derainer.refine(image, derainer.coarse(image), prior)
    parameters = sum(p.numel() for p in derainer.parameters())
    return {"parameters_m": parameters / 1e6, "gmac": counter.get_total_flops() / 2e9}


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HxW such as 720x1280, got {text}") from None
    if min(height, width) < 64:
        raise argparse.ArgumentTypeError(f"must be at least 64x64, got {text}")
    return height, width
