"""``ros2-derain evaluate``: what rain costs perception and what the loop gives back.

A folder of consecutive labelled images is played as a clip with rain of several rates
rendered onto it, and everything is compared with the clean images and the labels:

* ``rain``: the scene parser fed the rainy image,
* one row for each way to run the loop: ``temporal``, ``closed_loop``, ``none``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ros2_derain import models
from ros2_derain.engine import Engine, EngineSettings, Frame, Mode, Perception
from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.metrics.image import psnr
from ros2_derain.metrics.segmentation import confusion, iou_per_class, mean_iou, pixel_accuracy
from ros2_derain.rain import Rain, RainRenderer

EPILOG = """example, CamVid's labelled 15 Hz clip:
  ros2-derain evaluate --images DATA/camvid/val/images --labels DATA/camvid/val/labels \\
      --rates 0,50,150,250 --priors temporal,closed_loop,none --json out/camvid.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive images")
    parser.add_argument(
        "--labels", type=Path, required=True, help="folder of 8-bit label PNGs of equal stems"
    )
    parser.add_argument("--void", type=int, default=11, help="label id that means unlabelled (default: 11)")
    parser.add_argument(
        "--rates", default="0,150", help="rain rates in mm/h, comma-separated (default: 0,150)"
    )
    parser.add_argument("--fps", type=float, default=15.0, help="frames per second of the clip (default: 15)")
    parser.add_argument("--seed", type=int, default=1, help="of the rain (default: 1)")
    parser.add_argument("--model", default="loopnet", help="model name or folder (default: loopnet)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--priors", default="temporal", help="ways to run the loop, comma-separated")
    parser.add_argument("--iterations", type=int, default=3, help="of the closed loop, 1..5 (default: 3)")
    parser.add_argument("--no-gate", action="store_true", help="derain dry frames too")
    parser.add_argument("--frames", type=int, help="only the first N images")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--card", action="store_true", help="write the figures into the model's card")


def main(args: argparse.Namespace) -> int:
    clip = LabelledClip(_pairs(args.images, args.labels)[: args.frames], args.void, args.fps)
    settings = EngineSettings(
        model=args.model, device=args.device, iterations=args.iterations, gate=not args.no_gate
    )
    engine = Engine.load(settings)
    rows = []
    for rate in map(float, args.rates.split(",")):
        for prior in args.priors.split(","):
            engine.restorer.settings = replace(settings, prior=prior)
            rows += measure(engine, clip, rate, args.seed, with_rain=prior == args.priors.split(",")[0])
    identity = engine.identity
    report = {
        "model": identity.name,
        "sha256": identity.sha256,
        "device": identity.device,
        "precision": identity.precision,
        "iterations": args.iterations,
        "gate": not args.no_gate,
        "clip": "/".join(args.images.resolve().parts[-3:-1]),
        "frames": len(clip.pairs),
        "seed": args.seed,
        "rows": rows,
    }
    print(table(rows))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1))
    if args.card:
        _note_on_card(models.find(args.model), report)
    return 0


@dataclass(frozen=True)
class LabelledClip:
    """Consecutive images with label maps.

    Attributes:
        pairs: image and label files in order.
        void: label id that means unlabelled.
        fps: frames per second.
    """

    pairs: list[tuple[Path, Path]]
    void: int
    fps: float

    def frames(self) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """Time in seconds, H x W x 3 uint8 RGB image, H x W uint8 labels (255 = unlabelled)."""
        for index, (image_path, label_path) in enumerate(self.pairs):
            image, labels = cv2.imread(str(image_path)), cv2.imread(str(label_path), cv2.IMREAD_GRAYSCALE)
            for path, picture in ((image_path, image), (label_path, labels)):
                if picture is None:
                    raise EvaluationError(f"{path} is not an image")
            labels[labels == self.void] = 255
            yield index / self.fps, np.ascontiguousarray(image[:, :, ::-1]), labels


@dataclass
class Score:
    """What is counted of one way to see a clip."""

    classes: tuple[str, ...]
    matrix: np.ndarray = field(init=False)
    psnr_db: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix = np.zeros((len(self.classes), len(self.classes) + 1), np.int64)

    def add(self, image: np.ndarray, clean: np.ndarray, seen: Perception, truth: np.ndarray) -> None:
        """Count one frame."""
        self.psnr_db.append(psnr(image, clean))
        self.matrix += confusion(seen.labels, truth, len(self.classes))

    def figures(self) -> dict:
        """PSNR in dB (mean over frames; null = all equal), mIoU and PA in 0..1, IoU per class."""
        ious = zip(self.classes, iou_per_class(self.matrix), strict=True)
        return {
            "psnr_db": _finite(float(np.mean(self.psnr_db))),
            "miou": mean_iou(self.matrix),
            "pixel_accuracy": pixel_accuracy(self.matrix),
            "iou": {label: _finite(float(iou)) for label, iou in ious},
        }


def measure(engine: Engine, clip: LabelledClip, rate: float, seed: int, with_rain: bool) -> list[dict]:
    """Rows of one rain rate: the loop as the engine is set, and before it the rainy input if wanted."""
    engine.reset()
    names, prior = engine.identity.class_names, engine.restorer.settings.prior
    rain, loop = Score(names), Score(names)
    read, opened, renderer = [], 0, None
    progress = tqdm(
        clip.frames(), f"{rate:g} mm/h {prior}", total=len(clip.pairs), disable=not sys.stderr.isatty()
    )
    for time_s, clean, truth in progress:
        if renderer is None or (renderer.height, renderer.width) != clean.shape[:2]:
            renderer = RainRenderer(Rain(rate), *clean.shape[:2], seed=seed)
        rainy = renderer.render(clean, time_s)
        scene = engine.process(Frame(round(time_s * 1e9), "camera", rainy))
        if scene.perception is None:
            raise EvaluationError(f"the engine failed at {time_s:.2f} s: {scene.fault}")
        loop.add(scene.image, clean, scene.perception, truth)
        if with_rain:
            rain.add(rainy, clean, engine.interpreter.interpret(rainy).perception, truth)
        read.append(scene.rain.rate)
        opened += scene.mode is not Mode.DRY
    gauge = {"read_mm_h": float(np.mean(read)), "gate_open": opened / len(read)}
    rows = [{"rate_mm_h": rate, "input": prior, **gauge, **loop.figures()}]
    return [{"rate_mm_h": rate, "input": "rain", **gauge, **rain.figures()}, *rows] if with_rain else rows


def table(rows: list[dict]) -> str:
    """The figures for a person."""
    lines = [
        f"{'mm/h':>6} {'parser fed':<12} {'read mm/h':>9} {'gate open':>9} "
        f"{'PSNR dB':>8} {'mIoU %':>7} {'PA %':>6}"
    ]
    for row in rows:
        quality = "inf" if row["psnr_db"] is None else f"{row['psnr_db']:.2f}"
        lines.append(
            f"{row['rate_mm_h']:6g} {row['input']:<12} {row['read_mm_h']:9.1f} {row['gate_open']:9.0%} "
            f"{quality:>8} {100 * row['miou']:7.2f} {100 * row['pixel_accuracy']:6.2f}"
        )
    return "\n".join(lines)


def _note_on_card(folder: Path, report: dict) -> None:
    """Keep the figures in the model's card, under the clip's name."""
    card = models.read_card(folder)
    rows = [{key: value for key, value in row.items() if key != "iou"} for row in report["rows"]]
    measured = {key: report[key] for key in ("frames", "seed", "device", "precision", "iterations", "gate")}
    results = card.results | {report["clip"]: {"by": "ros2-derain evaluate", **measured, "rows": rows}}
    models.write_card(folder, replace(card, results=results))


def _pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    found = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        raise EvaluationError(f"{images} holds no .jpg or .png image")
    pairs = [(path, labels / f"{path.stem}.png") for path in found]
    missing = [label for _, label in pairs if not label.exists()]
    if missing:
        raise EvaluationError(f"{len(missing)} label files are missing, the first is {missing[0]}")
    return pairs


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
