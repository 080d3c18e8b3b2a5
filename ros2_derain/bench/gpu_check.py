"""Checks and times the engine on a CUDA device, with every runtime that is installed; needs no ROS.

    python -m ros2_derain.bench.gpu_check --out out/gpu        (make gpu-check)

Parity with PyTorch in float32 on the CPU, milliseconds of a frame by runtime and size, three cameras
together, the share of the measured peak of convolutions, how often a frame waits for the device and how much
device memory is requested anew, as ``gpu_check.json`` and ``gpu_check.md``.
Without a CUDA device it runs on the CPU, at smaller sizes. After ``--seconds`` nothing more is begun,
and what is left is named.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ros2_derain import machine, models
from ros2_derain.bench import engine_timing
from ros2_derain.engine import Engine, EngineError, EngineSettings, Frame, LoadedModel
from ros2_derain.engine.loaded_model import Placement
from ros2_derain.networks.layers import cells
from ros2_derain.networks.rain_gauge import gauge_input
from ros2_derain.reporting.files import write_json

CUDA_SIZES = ((640, 360), (1280, 720), (1920, 1200))
CPU_SIZES = ((160, 90), (320, 180))
RUNTIMES = {
    "cuda": ("torch", "compiled", "onnxruntime", "tensorrt"),
    "cpu": ("torch", "openvino", "onnxruntime"),
}
"""In the order in which they are measured; ``compiled`` is PyTorch with torch.compile."""

CAMERAS = 3
FRAMES = {"cuda": 100, "cpu": 5}
WARM_UP_FRAMES = 5
COUNTED_FRAMES = 10
MAX_WAITS = 3
"""Of a frame: for the gate, for the clean image, which is published before it is parsed, for the labels."""
PARITY_DB, PARITY_LABELS = 45.0, 0.99
"""Least agreement with float32: rounding of half precision and no more."""


@dataclass
class Report:
    """What was found; rows of JSON values.

    Attributes:
        device, peak_tflops: where, and what a large convolution reaches there.
        rows: one for each runtime and size.
        failures: what disagrees, a sentence each.
        skipped: what did not run, and why.
    """

    device: str
    peak_tflops: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def main(argv: list[str] | None = None) -> int:
    """Measure, write both files, print the table; returns 1 where a runtime disagrees, else 0."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="(default: %(default)s)")
    parser.add_argument("--model", default="loopnet", help="(default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=420.0, help="at most (default: 420)")
    args = parser.parse_args(argv)
    end = time.monotonic() + args.seconds
    kind = "cuda" if args.device.startswith("cuda") else "cpu"
    settings = EngineSettings(
        model=args.model, device="cpu", precision="float32", runtime="torch", gate=False
    )
    report = Report(args.device, convolution_peak(torch.device(args.device)))
    for width, height in CUDA_SIZES if kind == "cuda" else CPU_SIZES:
        images = noisy_images(width, height)
        expected = Engine.load(settings).process(Frame(0, "camera", images[0]))
        for runtime in RUNTIMES[kind]:
            what = f"{runtime} at {width}x{height}"
            if time.monotonic() > end:
                report.skipped.append(f"{what}: no time left")
                continue
            print(what, file=sys.stderr)
            try:
                row = measure(args.model, args.device, runtime, images, FRAMES[kind], expected)
            except (EngineError, RuntimeError) as error:
                report.skipped.append(f"{what}: {str(error).strip().splitlines()[0]}")
                continue
            row["peak_share"] = round(row["tflops"] / report.peak_tflops, 4)
            report.rows.append({"size": [width, height], **row})
            if row["psnr_db"] < PARITY_DB or row["label_agreement"] < PARITY_LABELS:
                report.failures.append(f"{what}: {row['psnr_db']} dB, {row['label_agreement']:.2%} of labels")
            if runtime == "torch" and (row.get("waits", 0) > MAX_WAITS or row.get("allocations")):
                counted = f"{row['waits']:g} waits and {row['allocations']:g} allocations"
                report.failures.append(f"{what}: {counted} a frame, at most {MAX_WAITS} and 0 are needed")
    result = {**vars(report), "machine": machine.describe(), "versions": machine.versions()}
    write_json(args.out / "gpu_check.json", result)
    (args.out / "gpu_check.md").write_text(markdown(report))
    print(markdown(report))
    return 1 if report.failures or not report.rows else 0


def measure(
    model: str, device: str, runtime: str, images: list[np.ndarray], frames: int, expected: Any
) -> dict[str, Any]:
    """A row: milliseconds of a frame by stage, three cameras together, parity with ``expected``."""
    height, width = images[0].shape[:2]
    name = "torch" if runtime == "compiled" else runtime
    settings = EngineSettings(model=model, device=device, runtime=name, gate=False)
    loaded = LoadedModel.load(settings)
    if runtime == "compiled":
        compile_networks(loaded)
    started = time.perf_counter()
    engine = Engine.of(loaded, settings)
    engine.warm_up(height, width)
    load_s = time.perf_counter() - started
    scene = engine.process(Frame(0, "camera", images[0]))
    if scene.fault or scene.perception is None:
        raise RuntimeError(scene.fault)
    error = np.mean((scene.image.astype(np.float64) - expected.image) ** 2)
    engine.reset()
    timed = engine_timing.timed(engine, images, WARM_UP_FRAMES, lambda fps: frames)
    together = engine_timing.timed_together(
        loaded, settings, CAMERAS, images, max(2, frames // CAMERAS), timed["fps"]
    )
    seconds = timed["latency_ms"]["total"]["p50"] / 1000
    return {
        "runtime": runtime,
        "precision": engine.identity.precision,
        "warm_up_s": round(load_s, 1),
        "latency_ms": timed["latency_ms"],
        "fps": timed["fps"],
        "fps_of_three": together["fps"],
        "tflops": round(2 * gmac(model, height, width) / 1000 / seconds, 4),
        "psnr_db": round(float(min(99.0, 10 * np.log10(255**2 / max(error, 1e-9)))), 1),
        "label_agreement": float((scene.perception.labels == expected.perception.labels).mean()),
        **(on_device(engine, images) if device.startswith("cuda") else {}),
    }


def on_device(engine: Engine, images: list[np.ndarray]) -> dict[str, float]:
    """Of a frame on a CUDA device: synchronisations that PyTorch counts, and requests for device memory."""
    before = torch.cuda.memory_stats()["segment.all.allocated"]
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            for index in range(COUNTED_FRAMES):
                engine.process(Frame(index * 40_000_000, "counted", images[index % len(images)]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    synchronising = sum("synchronizing" in str(one.message) for one in waits)
    requested = torch.cuda.memory_stats()["segment.all.allocated"] - before
    return {
        "waits": synchronising / COUNTED_FRAMES,
        "allocations": requested / COUNTED_FRAMES,
        "gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    }


def compile_networks(loaded: LoadedModel) -> None:
    """Let torch.compile fuse what the engine calls of the networks."""
    derainer, parser = loaded.networks["derainer"], loaded.networks["parser"]
    derainer.once = torch.compile(derainer.once)
    parser.forward = torch.compile(parser.forward)


def convolution_peak(device: torch.device) -> float:
    """TFLOP/s of 3x3 convolutions of 128 channels in half precision, channels_last."""
    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    side, repeats = (512, 50) if device.type == "cuda" else (96, 3)
    layer = nn.Conv2d(128, 128, 3, padding=1, bias=False).to(device, precision)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(1, 128, side, side, device=device).to(precision, memory_format=torch.channels_last)
    placement = Placement(device, precision)
    best = 0.0
    with torch.inference_mode():
        for _ in range(4):
            placement.synchronize()
            started = time.perf_counter()
            for _ in range(repeats):
                layer(x)
            placement.synchronize()
            best = max(best, repeats * 2 * 9 * 128**2 * side**2 / (time.perf_counter() - started) / 1e12)
    return round(best, 3)


def gmac(model: str, height: int, width: int) -> float:
    """10^9 multiply-accumulates of a frame: gauge, one pass of the derainer with a prior, parser."""
    _, parts = models.load(models.find(model))
    derainer, parser, gauge = (cast(Any, parts[part].to("meta")) for part in models.PARTS)
    image = torch.empty(1, 3, height, width, device="meta")
    prior = torch.empty(1, getattr(derainer, "classes", 1), cells(height, 8), cells(width, 8), device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        gauge(gauge_input(image))
        parser(derainer.once(image, None, prior).image)
    return counter.get_total_flops() / 2e9


def markdown(report: Report) -> str:
    """The report as a page with one table."""
    where = machine.processor() if report.device == "cpu" else torch.cuda.get_device_name()
    lines = [
        f"# {report.device}: {where}",
        "",
        f"3x3 convolutions of 128 channels in half precision: {report.peak_tflops:g} TFLOP/s. "
        "Milliseconds are p50; the whole frame, with all conversions and transfers. Waits: how often a frame "
        "waits for the GPU.",
        "",
        "| size | runtime | precision | gate | derain | parse | total | p99 | fps | fps of three cameras "
        "| of peak | waits | dB | labels |",
        "|" + " --- |" * 3 + " ---: |" * 11,
    ]
    for row in report.rows:
        stages = [f"{row['latency_ms'][stage]['p50']:.1f}" for stage in engine_timing.STAGES]
        figures = [*stages, f"{row['latency_ms']['total']['p99']:.1f}", row["fps"], row["fps_of_three"]]
        figures += [f"{row['peak_share']:.1%}", f"{row['waits']:g}" if "waits" in row else "–"]
        figures += [row["psnr_db"], f"{row['label_agreement']:.2%}"]
        words = ["x".join(map(str, row["size"])), row["runtime"], row["precision"], *map(str, figures)]
        lines.append("| " + " | ".join(words) + " |")
    for heading, sentences in (("Disagrees", report.failures), ("Did not run", report.skipped)):
        if sentences:
            lines += ["", f"{heading}:", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def noisy_images(width: int, height: int) -> list[np.ndarray]:
    """Eight images of smooth noise."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return [np.ascontiguousarray(image.repeat(8, 0).repeat(8, 1)[:height, :width]) for image in small]


if __name__ == "__main__":
    sys.exit(main())
