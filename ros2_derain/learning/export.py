"""``ros2-derain export RUN ... --out models/NAME``: the averaged weights of runs as one model folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from ros2_derain import models, networks

from .errors import LearningError
from .sources import CAMVID_CLASSES, OBJECTS

PARTS = {"loop": {"derainer": "loopnet", "parser": "scene_parser"}, "gauge": {"gauge": "rain_gauge"}}
"""For each task the parts of the model that it trains, and their networks."""

DATA = {
    "camvid/train": "CC BY-NC 4.0 (research use)",
    "bsds": "BIDS/BSDS500, research use",
    "boxes/camvid_from_masks": "as camvid",
    "boxes/dawn_fog": "none stated",
    "boxes/coco_traffic": "COCO / Flickr terms",
}

EPILOG = """example:
  ros2-derain export runs/loopnet runs/gauge --out models/loopnet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", type=Path, nargs="+", help="folders that `ros2-derain train` wrote")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write, e.g. models/loopnet")


def main(args: argparse.Namespace) -> int:
    card = export(args.runs, args.out)
    print(f"{args.out}: {card.name}, sha256 {card.sha256[:16]}")
    return 0


def export(runs: list[Path], out: Path) -> models.ModelCard:
    """Write the averaged weights of the runs' last checkpoints as a model folder named like ``out``.

    Raises:
        LearningError: a run has no checkpoint, or together they do not make up a model.
    """
    described: dict[str, dict] = {}
    modules: dict[str, nn.Module] = {}
    recipes = []
    for run in runs:
        path = run / "last.ckpt"
        if not path.exists():
            raise LearningError(f"{path} is missing: is {run} the folder of a run?")
        recipe = json.loads((run / "recipe.json").read_text())
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        recipes.append(recipe | {"steps_done": int(checkpoint["global_step"])})
        for part, network in PARTS[recipe["task"]].items():
            described[part] = {"network": network, "options": recipe[part]}
            modules[part] = _module(part, described[part], checkpoint["state_dict"])
    missing = sorted(set(models.PARTS) - set(modules))
    if missing:
        raise LearningError(f"no run trained the {' and the '.join(missing)}: name a run of each task")
    training = {
        "recipes": recipes,
        "data": DATA,
        "licence": "research use only: some of the data is not licensed for commercial use",
    }
    return models.save(
        out, models.ModelCard(out.name, described, CAMVID_CLASSES, OBJECTS, "", training), modules
    )


def _module(part: str, described: dict, state: dict[str, torch.Tensor]) -> nn.Module:
    module = networks.create(described["network"], **described["options"])
    prefix = f"{part}."
    module.load_state_dict(
        {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    )
    return module
