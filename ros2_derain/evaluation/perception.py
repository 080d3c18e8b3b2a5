"""``ros2-derain evaluate``: what rain costs perception and what the loop gives back.

A folder of consecutive labelled images is played as a clip with rain of several rates
rendered onto it, and everything is compared with the clean images and the labels:

* ``rain``: the scene parser fed the rainy image,
* ``loop``: the whole engine.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ros2_derain.engine import Engine, EngineError, EngineSettings, Frame
from ros2_derain.metrics.image import psnr
from ros2_derain.metrics.segmentation import confusion, iou_per_class, mean_iou, pixel_accuracy
from ros2_derain.rain import Rain, RainRenderer

EPILOG = """example (CamVid's labelled 15 Hz clip):
  ros2-derain evaluate --images DATA/camvid/val/images --labels DATA/camvid/val/labels --rates 0,50,150,250 --json F
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive images")
    parser.add_argument("--labels", type=Path, required=True, help="folder of 8-bit label PNGs of equal stems")
    parser.add_argument("--void", type=int, default=11, help="label id that means unlabelled (default: 11)")
    parser.add_argument("--rates", default="0,150", help="rain rates in mm/h, comma-separated (default: 0,150)")
    parser.add_argument("--fps", type=float, default=15.0, help="frames per second of the clip (default: 15)")
    parser.add_argument("--seed", type=int, default=1, help="of the rain (default: 1)")
    parser.add_argument("--model", default="loopnet", help="model name or folder (default: loopnet)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--prior", default="temporal", help="closed_loop, temporal or none (default: temporal)")
    parser.add_argument("--iterations", type=int, default=3, help="of the closed loop, 1..5 (default: 3)")
    parser.add_argument("--frames", type=int, help="only the first N images")
    parser.add_argument("--json", type=Path, help="write the figures here too")


def main(args: argparse.Namespace) -> int:
    pairs = _pairs(args.images, args.labels)[: args.frames]
    engine = Engine.load(
        EngineSettings(model=args.model, device=args.device, prior=args.prior, iterations=args.iterations)
    )
    rates = [float(rate) for rate in args.rates.split(",")]
    rows = [measure(engine, pairs, rate, args) for rate in rates]
    identity = engine.identity
    report = {
        "model": identity.name, "sha256": identity.sha256, "device": identity.device,
        "precision": identity.precision, "prior": args.prior, "iterations": args.iterations,
        "images": str(args.images), "frames": len(pairs), "seed": args.seed, "rows": rows,
    }
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    return 0


def measure(engine: Engine, pairs: list[tuple[Path, Path]], rate: float, args: argparse.Namespace) -> dict:
    """Figures of one rain rate over the clip; PSNR is the mean over the frames, in dB (null = equal images)."""
    engine.reset()
    classes = len(engine.identity.class_names)
    matrices = {"rain": np.zeros((classes, classes + 1), int), "loop": np.zeros((classes, classes + 1), int)}
    psnrs: dict[str, list[float]] = {"rain": [], "loop": []}
    estimated, open_gate, renderer = [], 0, None
    for index, (image_path, label_path) in enumerate(
        tqdm(pairs, desc=f"{rate:g} mm/h", disable=not sys.stderr.isatty())
    ):
        clean = cv2.imread(str(image_path))[:, :, ::-1].copy()
        truth = cv2.imread(str(label_path), cv2.IMREAD_GRAYSCALE)
        truth = np.where(truth == args.void, 255, truth).astype(np.uint8)
        if renderer is None or (renderer.height, renderer.width) != clean.shape[:2]:
            renderer = RainRenderer(Rain(rate), *clean.shape[:2], seed=args.seed)
        rainy = renderer.render(clean, index / args.fps)
        scene = engine.process(Frame(int(index / args.fps * 1e9), "camera", rainy))
        fed_rain = engine.interpreter.interpret(rainy).perception
        matrices["rain"] += confusion(fed_rain.labels, truth, classes)
        matrices["loop"] += confusion(scene.perception.labels, truth, classes)
        psnrs["rain"].append(psnr(rainy, clean))
        psnrs["loop"].append(psnr(scene.image, clean))
        estimated.append(scene.rain.rate)
        open_gate += scene.mode.value != "dry"
    row: dict = {"rate_mm_h": rate, "estimated_mm_h": float(np.mean(estimated)), "gate_open": open_gate / len(pairs)}
    for name, matrix in matrices.items():
        ious = iou_per_class(matrix)
        row[name] = {
            "psnr_db": _finite(float(np.mean(psnrs[name]))),
            "miou": mean_iou(matrix), "pixel_accuracy": pixel_accuracy(matrix),
            "iou": {label: _finite(float(iou)) for label, iou in zip(engine.identity.class_names, ious)},
        }
    return row


def table(rows: list[dict]) -> str:
    """The figures for a person."""
    lines = [f"{'mm/h':>6} {'read':>6} {'gate':>5} | {'PSNR rain':>9} {'loop':>6} {'gain':>6} | {'mIoU rain':>9} {'loop':>6}"]
    for row in rows:
        rain, loop = row["rain"], row["loop"]
        gain = "" if None in (rain["psnr_db"], loop["psnr_db"]) else f"{loop['psnr_db'] - rain['psnr_db']:+.2f}"
        values = [f"{v:.2f}" if v is not None else "inf" for v in (rain["psnr_db"], loop["psnr_db"])]
        lines.append(
            f"{row['rate_mm_h']:6g} {row['estimated_mm_h']:6.1f} {row['gate_open']:5.0%} | {values[0]:>9} {values[1]:>6} "
            f"{gain:>6} | {100 * rain['miou']:9.2f} {100 * loop['miou']:6.2f}"
        )
    return "\n".join(lines)


def _pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    found = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        raise EngineError(f"{images} holds no .jpg or .png image")
    pairs = [(path, labels / f"{path.stem}.png") for path in found]
    missing = [label for _, label in pairs if not label.exists()]
    if missing:
        raise EngineError(f"{len(missing)} label files are missing, the first is {missing[0]}")
    return pairs


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
