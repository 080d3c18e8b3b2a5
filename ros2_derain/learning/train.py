"""``ros2-derain train RECIPE``: runs a recipe, resumes it, keeps its checkpoints."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from .clips import Clips
from .errors import LearningError
from .recipe import Recipe, load
from .sources import Boxes, CamVid, Photographs
from .task import TASKS

EPILOG = """examples:
  ros2-derain train config/recipes/loopnet.yaml --data ~/data --out runs/loopnet
  ros2-derain train config/recipes/loopnet.yaml --data ~/data --out runs/loopnet --resume
  ros2-derain train config/recipes/loopnet.yaml --data ~/data --steps 1 --out /tmp/one-step
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", type=Path, help="YAML file, see config/recipes/")
    parser.add_argument("--data", type=Path, help="data folder (default: the environment's ROS2_DERAIN_DATA)")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name of the recipe>)")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument(
        "--steps", type=int, help="stop after this many steps (the schedule stays the recipe's)"
    )
    parser.add_argument("--minutes", type=float, help="stop after this time; --resume goes on")


def main(args: argparse.Namespace) -> int:
    recipe = load(args.recipe)
    out = args.out or Path("runs") / recipe.name
    last = out / "last.ckpt"
    if args.resume and not last.exists():
        raise LearningError(f"nothing to resume: {last} is missing")
    if not args.resume and last.exists():
        raise LearningError(f"{out} holds a run already; add --resume to go on or choose another --out")
    run(recipe, data_folder(args.data), out, last if args.resume else None, args.steps, args.minutes)
    return 0


def data_folder(given: Path | None) -> Path:
    """The data folder from the argument or the environment.

    Raises:
        LearningError: neither is given, or it is no folder.
    """
    folder = given or (Path(os.environ["ROS2_DERAIN_DATA"]) if "ROS2_DERAIN_DATA" in os.environ else None)
    if folder is None:
        raise LearningError("where is the data? give --data DIR or set ROS2_DERAIN_DATA")
    if not folder.is_dir():
        raise LearningError(f"{folder} is not a folder")
    return folder


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    resume: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train; leaves ``last.ckpt``, ``metrics.csv`` and ``recipe.json`` in ``out``."""
    if recipe.task not in TASKS:
        raise LearningError(f"unknown task {recipe.task}; known: {', '.join(TASKS)}")
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(recipe.as_dict(), indent=1))
    stream = Clips(
        _sources(recipe, data), recipe.clips, seed=recipe.seed + int(time.time()) if resume else recipe.seed
    )
    loader = DataLoader(stream, recipe.batch, num_workers=1, prefetch_factor=3, persistent_workers=True)
    trainer = lightning.Trainer(
        max_steps=min(recipe.steps, steps or recipe.steps),
        max_time={"minutes": minutes} if minutes else None,
        accelerator="auto",
        devices="auto" if torch.cuda.is_available() else 1,
        precision="bf16-mixed",
        gradient_clip_val=1.0,
        logger=CSVLogger(out, name="", version=""),
        log_every_n_steps=25,
        callbacks=[
            EMAWeightAveraging(decay=recipe.decay),
            ModelCheckpoint(
                out, filename="step", every_n_train_steps=200, save_last=True, enable_version_counter=False
            ),
            TQDMProgressBar(refresh_rate=5),
        ],
        enable_model_summary=False,
    )
    task = TASKS[recipe.task](recipe, _class_pixels(data)).to(memory_format=torch.channels_last)
    trainer.fit(task, loader, ckpt_path=resume)
    trainer.save_checkpoint(out / "last.ckpt")


def _sources(recipe: Recipe, data: Path) -> list:
    makers = {
        "camvid": lambda: CamVid(data / "camvid" / "train", data / "boxes" / "camvid_from_masks"),
        "photographs": lambda: Photographs(data / "bsds" / "images"),
        "fog": lambda: Boxes(data / "boxes" / "dawn_fog"),
        "coco": lambda: Boxes(data / "boxes" / "coco_traffic"),
    }
    unknown = sorted(set(recipe.sources) - set(makers))
    if unknown:
        raise LearningError(f"unknown source {', '.join(unknown)}; known: {', '.join(makers)}")
    return [(makers[name](), weight) for name, weight in recipe.sources.items()]


def _class_pixels(data: Path) -> list[int]:
    counts = json.loads((data / "camvid" / "classes.json").read_text())["pixels_per_class"]["train"]
    return [counts[str(index)] for index in range(11)]
