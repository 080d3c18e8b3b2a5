"""``ros2-derain bench --planner``: what points and boxes in metres cost, and how true they are.

Synthetic scenes with known poses: an image of a size, a camera of 0.9 image widths of focal length that is
1.5 m above a flat road, a lidar that turns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ros2_derain import messages
from ros2_derain.engine import Detection
from ros2_derain.messages.point_clouds import to_cloud, to_xyz
from ros2_derain.nodes.frames import Placed
from ros2_derain.nodes.parameters import PlannerParameters
from ros2_derain.nodes.planning import PlannerFrame, Seen
from ros2_derain.planner import OPTICAL, BoxSigmas, Calibration, Camera, GroundGrid, Lifter, Pose, View, paint
from ros2_derain.reporting.statistics import percentiles

HEIGHT_M, FOCAL = 1.5, 0.9
DISTANCES_M = (10, 20, 30, 40, 50, 60)
CLOUD_POINTS = 200_000
REPETITIONS = 30


def measure(size: tuple[int, int]) -> dict:
    """Milliseconds on one core, and errors of distances; JSON-ready."""
    camera = _camera(size)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        costs = _costs(camera)
    finally:
        cv2.setNumThreads(before)
    return {"planner": {"size": list(size), "milliseconds": costs, "errors": _errors(camera)}}


def _camera(size: tuple[int, int]) -> Camera:
    width, height = size
    focal = FOCAL * width
    k = (focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0)
    lens = (-0.2, 0.04, 0.0002, 0.0001, 0.0)
    return Calibration(width, height, "plumb_bob", k, lens).camera(width, height)


def _mounted(pitch_deg: float = 0.0) -> Pose:
    return Pose.of_angles(0.0, 0.0, HEIGHT_M, pitch=math.radians(pitch_deg)) @ OPTICAL


def _costs(camera: Camera) -> dict:
    random = np.random.default_rng(0)
    shape = camera.height, camera.width
    labels = random.integers(0, 4, shape, np.uint8)
    view = View(labels, labels, labels, np.zeros((*shape, 3), np.uint8))
    box = Detection("car", 0.9, 100.0, 100.0, 200.0, camera.height * 0.7)
    header = messages.to_header(0, "camera")
    seen = Seen(header, view, (box,) * 20, ("sky", "road", "car", "pole"), shape)
    grid = GroundGrid(camera, 4)
    height = iter(np.linspace(HEIGHT_M, HEIGHT_M + 0.1, 10 * REPETITIONS))

    def frame() -> PlannerFrame:  # a pose of its own: no point is known from the frame before
        body = Pose.of_angles(0.0, 0.0, float(next(height)))
        return PlannerFrame(seen, grid, Placed(body @ OPTICAL, ""), PlannerParameters(), 1.0, None, False)

    azimuth = random.uniform(-np.pi, np.pi, CLOUD_POINTS)
    far, up = random.uniform(2, 80, CLOUD_POINTS), random.uniform(-1.0, 1.5, CLOUD_POINTS)
    around = np.column_stack((far * np.sin(azimuth), up, far * np.cos(azimuth))).astype(np.float32)
    seen_points = around[camera.seen(around)[0]]
    ahead = np.resize(seen_points, (CLOUD_POINTS, 3))
    cloud = to_cloud(_with_intensity(ahead), messages.to_header(0, "lidar"))

    def with_cloud() -> PlannerFrame:  # as planner_node: the message's points, in base
        return replace(frame(), lidar=(_mounted().apply(to_xyz(cloud)), ""), expects_cloud=True)

    return {
        "ground points, stride 4, with the message": _time(lambda: frame().ground_points()),
        "20 boxes in metres, with the message": _time(lambda: frame().detections_3d()),
        "painting 200,000 points around the vehicle": _time(lambda: paint(around, camera, view, HEIGHT_M)),
        "painting 200,000 points, all in view": _time(lambda: paint(ahead, camera, view, HEIGHT_M)),
        "the same from message to message": _time(lambda: with_cloud().painted_points()),
    }


def _with_intensity(points: np.ndarray) -> np.ndarray:
    """N x 3 points as a lidar's structured array."""
    made = np.zeros(len(points), [(name, "<f4") for name in ("x", "y", "z", "intensity")])
    for axis, name in enumerate("xyz"):
        made[name] = points[:, axis]
    return made


def _time(act: Callable[[], object]) -> dict:
    """Percentiles of the processor's time, which other programs do not lengthen much."""
    act()
    times = []
    for _ in range(REPETITIONS):
        began = time.thread_time()
        act()
        times.append(1e3 * (time.thread_time() - began))
    return percentiles(times) or {}


def _errors(camera: Camera) -> list[dict]:
    """By distance: errors of the distance [m] of a foot, without and with a degree of unknown pitch."""
    rows = []
    for distance in DISTANCES_M:
        row: dict[str, float | None] = {"distance_m": distance}
        for name, pitch in (("exact", 0.0), ("looks_down_1_deg", 1.0), ("looks_up_1_deg", -1.0)):
            foot = camera.project(_mounted(pitch).inverse().apply(np.array([[float(distance), 0.0, 0.0]])))[0]
            box = np.array([[foot[0] - 5, foot[1] - 20, foot[0] + 5, foot[1] + 0.5]])
            lifter = Lifter(camera, _mounted(), 0.0, 1000.0, BoxSigmas())
            lifted, _ = lifter.lift(box, ["car"])
            row[name] = round(lifted[0].distance - distance, 3) if lifted else None
        rows.append(row)
    return rows


def table(result: dict) -> str:
    """The results as text for a terminal; the second table is Markdown."""
    found = result["planner"]
    width, height = found["size"]
    lines = [f"in metres, {width}x{height}, one core: milliseconds", f"{'':46}{'p50':>8}{'p95':>8}"]
    for name, times in found["milliseconds"].items():
        lines.append(f"{name:46}{times['p50']:8.2f}{times['p95']:8.2f}")
    lines += [
        "",
        f"errors of the distance of a foot, camera {HEIGHT_M:g} m above the road, in metres:",
        "| distance | known pitch | looks down 1° more | looks up 1° more |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for row in found["errors"]:
        cells = (row[name] for name in ("exact", "looks_down_1_deg", "looks_up_1_deg"))
        written = ("above the horizon" if cell is None else f"{cell:+.2f}" for cell in cells)
        lines.append(f"| {row['distance_m']} | {' | '.join(written)} |")
    return "\n".join(lines)
