"""``ros2-derain export RUN --out models/NAME``: a run's averaged weights as a model folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ros2_derain import models, networks

from .errors import LearningError
from .sources import CAMVID_CLASSES, OBJECTS

PARTS = {"derainer": "loopnet", "parser": "scene_parser", "gauge": "rain_gauge"}

DATA = {
    "camvid/train": "CC BY-NC 4.0 (research use)",
    "bsds": "BIDS/BSDS500, research use",
    "boxes/camvid_from_masks": "as camvid",
    "boxes/dawn_fog": "none stated",
    "boxes/coco_traffic": "COCO / Flickr terms",
}

EPILOG = """example:
  ros2-derain export runs/loopnet --out models/loopnet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, help="folder that `ros2-derain train` wrote")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write, e.g. models/loopnet")


def main(args: argparse.Namespace) -> int:
    card = export(args.run, args.out)
    print(f"{args.out}: {card.name}, sha256 {card.sha256[:16]}")
    return 0


def export(run: Path, out: Path) -> models.ModelCard:
    """Write the averaged weights of a run's last checkpoint as a model folder.

    Raises:
        LearningError: the run has no checkpoint.
    """
    path = run / "last.ckpt"
    if not path.exists():
        raise LearningError(f"{path} is missing: is {run} the folder of a run?")
    recipe = json.loads((run / "recipe.json").read_text())
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    state = checkpoint["state_dict"]
    described, modules = {}, {}
    for part, network in PARTS.items():
        described[part] = {"network": network, "options": recipe.get(part, {})}
        modules[part] = networks.create(network, **described[part]["options"])
        prefix = f"{part}."
        modules[part].load_state_dict({k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)})
    training = {
        "recipe": recipe,
        "steps": int(checkpoint["global_step"]),
        "data": DATA,
        "licence": "research use only: some of the data is not licensed for commercial use",
    }
    card = models.ModelCard(recipe["name"], described, CAMVID_CLASSES, OBJECTS, "", training)
    return models.save(out, card, modules)
