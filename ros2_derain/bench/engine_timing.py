"""Timing of the engine alone, for one camera and for several that share a model: no transport."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, median

import numpy as np

from ros2_derain.engine import Engine, EngineSettings, Frame, LoadedModel
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.statistics import percentiles

STAGES = ("gate", "derain", "parse", "total")
MIN_FRAMES = 2
"""Frames of each camera, however short the time."""


def timed(engine: Engine, images: Sequence[np.ndarray], warm: int, frames: Callable[[float], int]) -> dict:
    """Frames per second, and milliseconds of each stage.

    Args:
        engine: warmed up for the images' size.
        images: H x W x 3 uint8 RGB, played in a loop as a clip of 25 Hz.
        warm: number of first frames that are not measured.
        frames: gives the number of frames to measure from the throughput of the first ones.

    Returns:
        ``frames``, ``fps``, and ``latency_ms``: by stage p50, p95, p99 and max.
    """
    spent: dict[str, list[float]] = defaultdict(list)

    def process(index: int) -> float:
        """Seconds that a frame takes."""
        frame = Frame(index * 40_000_000, "camera", images[index % len(images)])
        started = time.perf_counter()
        scene = engine.process(frame)
        seconds = time.perf_counter() - started
        for stage, milliseconds in scene.milliseconds.items():
            spent[stage].append(milliseconds)
        return seconds

    count = frames(1.0 / median(process(index) for index in range(warm)))
    spent.clear()
    total = 0.0
    with Progress("engine alone", count) as progress:
        for index in range(warm, warm + count):
            total += process(index)
            progress.step()
    return {
        "frames": count,
        "fps": round(count / total, 2),
        "latency_ms": {stage: percentiles(spent[stage]) for stage in STAGES},
    }


def timed_together(
    model: LoadedModel,
    settings: EngineSettings,
    cameras: int,
    images: Sequence[np.ndarray],
    repeats: int,
    fps_of_one: float,
) -> dict:
    """Throughput of several cameras that share a model, each of which always has a frame waiting.

    Args:
        model, settings: of the engines, one for each camera.
        cameras: their number.
        images: H x W x 3 uint8 RGB; each camera begins at another one.
        repeats: how many times each camera's share of frames is measured.
        fps_of_one: frames per second of a single camera on the same model.

    Returns:
        ``cameras``, ``frames``, ``fps`` of all together, ``cost`` (time for a frame of each camera,
        divided by that for a frame of a single one), and ``least_share`` (fewest frames of a camera,
        divided by the mean).
    """
    sharing = model.sharing(cameras)
    shared = model.shared(sharing)
    shared.prepare(*images[0].shape[:2])
    seconds = repeats * cameras / fps_of_one

    def drive(camera: int) -> int:
        """Frames of a camera until the time is up."""
        engine, index = Engine.of(shared, settings), 0
        while index < MIN_FRAMES or time.perf_counter() < end:
            with sharing.frame():
                image = images[(index + camera) % len(images)]
                engine.process(Frame(index * 40_000_000, f"camera_{camera}", image))
            index += 1
        return index

    with ThreadPoolExecutor(cameras) as pool:
        started = time.perf_counter()
        end = started + seconds
        frames = list(pool.map(drive, range(cameras)))
        took = time.perf_counter() - started
    fps = sum(frames) / took
    return {
        "cameras": cameras,
        "frames": sum(frames),
        "fps": round(fps, 2),
        "cost": round(fps_of_one * cameras / fps, 2),
        "least_share": round(min(frames) / mean(frames), 3),
    }
