"""Runtimes side by side: their speed frame by frame in turn, and how far they agree with PyTorch in float32.

In turn, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import percentiles

STAGES = ("gate", "derain", "parse", "total")
PARITY_FRAMES = 4
"""Consecutive frames that are compared with PyTorch's in float32."""


def compare(
    settings: Sequence[EngineSettings],
    images: Sequence[np.ndarray],
    warm: int,
    frames: Callable[[float], int],
) -> list[dict[str, Any]]:
    """A row for each of the settings, which differ in their runtime.

    Args:
        settings: of the engines; the first one's time is what the others' ratios refer to.
        images: H x W x 3 uint8 RGB of one size, played in a loop as a clip of 25 Hz.
        warm: number of first frames that are not measured.
        frames: gives the number of frames to measure from the frames per second of all together.

    Returns:
        ``runtime``, ``precision``, ``load_s`` (load, compile, warm up), ``frames``, ``fps``, ``latency_ms``
        by stage, ``ratio`` (the first one's median time divided by this one's), ``psnr_db`` of the clean
        image before it is rounded to 8 bits (None: equal) and ``label_agreement`` 0..1.

    Raises:
        EngineError: a runtime cannot run the model; the message says why.
    """
    height, width = images[0].shape[:2]
    engines: list[Engine] = []
    rows: list[dict[str, Any]] = []
    for one in settings:
        started = time.perf_counter()
        engine = Engine.load(one)
        engine.warm_up(height, width)
        engines.append(engine)
        identity = engine.identity
        rows.append({"runtime": identity.runtime, "precision": identity.precision})
        rows[-1]["load_s"] = round(time.perf_counter() - started, 2)
    reference = Engine.load(replace(settings[0], runtime="torch", precision="float32"))
    expected = _outputs(reference, images)
    for row, engine in zip(rows, engines, strict=True):
        row |= _parity(_outputs(engine, images), expected)
    times = _times(engines, images, warm, frames)
    for row, (seconds, spent) in zip(rows, times, strict=True):
        row |= {
            "frames": len(seconds),
            "fps": round(len(seconds) / sum(seconds), 2),
            "latency_ms": {stage: percentiles(spent[stage]) for stage in STAGES},
            "ratio": round(median(times[0][0]) / median(seconds), 3),
        }
    return rows


def table(rows: Sequence[dict]) -> list[str]:
    """The rows of :func:`compare` as lines of text."""
    head = ("runtime", "precision", "load s", *(f"{stage} ms" for stage in STAGES), "times", "dB", "labels %")
    lines = ["".join(f"{word:>12}" for word in head)]
    for row in rows:
        figures = [f"{row['load_s']:.1f}"]
        figures += [f"{row['latency_ms'][stage]['p50']:.1f}" for stage in STAGES]
        figures += [f"{row['ratio']:.2f}", "equal" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"]
        figures += [f"{100 * row['label_agreement']:.2f}"]
        lines.append("".join(f"{word:>12}" for word in (row["runtime"], row["precision"], *figures)))
    return lines


def _times(
    engines: Sequence[Engine], images: Sequence[np.ndarray], warm: int, frames: Callable[[float], int]
) -> list[tuple[list[float], dict[str, list[float]]]]:
    """Of each engine the seconds of every frame, and the milliseconds by stage."""
    found: list[tuple[list[float], dict[str, list[float]]]] = [([], defaultdict(list)) for _ in engines]

    def process(index: int) -> float:
        """Seconds of a frame by all of them; another one begins each time."""
        for turn in range(len(engines)):
            which = (index + turn) % len(engines)
            frame = Frame(index * 40_000_000, "camera", images[index % len(images)])
            started = time.perf_counter()
            scene = engines[which].process(frame)
            found[which][0].append(time.perf_counter() - started)
            for stage, milliseconds in scene.milliseconds.items():
                found[which][1][stage].append(milliseconds)
        return sum(seconds[-1] for seconds, _ in found)

    count = frames(1 / median(process(index) for index in range(warm)))
    for seconds, spent in found:
        seconds.clear()
        spent.clear()
    with Progress("runtimes in turn", count) as progress:
        for index in range(warm, warm + count):
            process(index)
            progress.step()
    return found


def _outputs(engine: Engine, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clean images (3 x H x W, 0..1) and label maps of the first frames."""
    found = []
    for index, image in enumerate(images[:PARITY_FRAMES]):
        restored = engine.restore(Frame(index * 40_000_000, "camera", image))
        scene = engine.interpret(restored)
        if restored.tensor is None or scene.perception is None:
            raise RuntimeError(f"{engine.identity.runtime} failed on a frame: {scene.fault}")
        found.append((restored.tensor[0].float().cpu().numpy(), scene.perception.labels))
    engine.reset()
    return found


def _parity(
    found: list[tuple[np.ndarray, np.ndarray]], expected: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float | None]:
    pairs = list(zip(found, expected, strict=True))
    error = np.mean([np.square(image - other, dtype=np.float64).mean() for (image, _), (other, _) in pairs])
    agreement = np.mean([(labels == other).mean() for (_, labels), (_, other) in pairs])
    return {
        "psnr_db": round(-10 * math.log10(error), 2) if error else None,
        "label_agreement": round(float(agreement), 5),
    }
