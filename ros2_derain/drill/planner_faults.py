"""Faults of what planner_node needs: calibration, transforms, clouds of the lidar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np

from ros2_derain.drill import CheckFailed
from ros2_derain.drill.test_pipeline import (
    RECOVER_S,
    Outcome,
    Settings,
    TestPipeline,
    fault,
    ros_arguments,
)
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing.planner_probe import PlannerProbe

NODE = "planner_node"
SIZE = (320, 192)
"""Width and height of the probe's images."""
MILLION = 1_000_000


@contextmanager
def with_planner(settings: Settings) -> Iterator[TestPipeline]:
    """A composed pipeline and planner_node in a process of its own, calibrated and ready."""
    fault_file = settings.out / "fault"
    fault_file.write_text("")
    with ExitStack() as stack:
        pipeline = TestPipeline(settings, stack.enter_context(PlannerProbe()), stack, fault_file)
        pipeline.start(NODE, f"ros2_derain.nodes.{NODE}", ros_arguments(settings, camera_height=1.5))
        pipeline.start_composed("pipeline")
        pipeline.change_state(NODE, "configure", "activate")
        pipeline.wait_until_ready()
        _recovery_s(pipeline)
        yield pipeline


def probe(pipeline: TestPipeline) -> PlannerProbe:
    """The pipeline's probe, which is a planner's too."""
    assert isinstance(pipeline.probe, PlannerProbe)
    return pipeline.probe


on_planner = partial(fault, pipeline=with_planner)


@on_planner("nothing in metres is published, and diagnostics say why")
def planner_without_calibration(pipeline: TestPipeline) -> Outcome:
    """A node that starts before any calibration."""
    pipeline.change_state(NODE, "deactivate", "activate")
    text = pipeline.require_message("no camera_info", NODE)
    _require_silence(pipeline)
    return Outcome(text, _recovery_s(pipeline))


@on_planner("refused by name; a pure scaling is used")
def planner_calibration_of_another_size(pipeline: TestPipeline) -> Outcome:
    """A calibration of a cut image, then of one twice as large."""
    probe(pipeline).calibrate(SIZE[0], SIZE[1] + 40)
    text = pipeline.require_message("no pure scaling", NODE)
    _require_silence(pipeline)
    took_s = _recovery_s(pipeline, calibration=(2 * SIZE[0], 2 * SIZE[1]))
    return Outcome(text, max(took_s, _recovery_s(pipeline)))


@on_planner("a height is assumed, and diagnostics say so")
def planner_transform_missing(pipeline: TestPipeline) -> Outcome:
    """Neither TF nor a parameter says where the camera is."""
    _set(pipeline, camera_height=0.0)
    text = pipeline.require_message("pose is assumed", NODE)
    _set(pipeline, camera_height=1.5)
    return Outcome(text, _recovery_s(pipeline))


@on_planner("frames are dropped, and diagnostics say why")
def planner_transform_old(pipeline: TestPipeline) -> Outcome:
    """The last transform of a moving camera is ten seconds old."""
    frame_id = f"moving_{time.time_ns()}"
    if not probe(pipeline).send_transform(frame_id, time.time_ns() - 10 * 10**9):
        return Outcome("not tried: tf2_msgs is not installed")
    text = pipeline.require_message("older than the image", NODE, frame_id=frame_id)
    return Outcome(text, _recovery_s(pipeline))


@on_planner("an empty cloud comes out, and diagnostics say so")
def planner_cloud_empty(pipeline: TestPipeline) -> Outcome:
    """A lidar without a single return."""
    return _with_cloud(pipeline, np.empty((0, 3)), "cloud is empty")


@on_planner("painted as not seen; no error")
def planner_cloud_nan(pipeline: TestPipeline) -> Outcome:
    """A cloud of 1000 points that are not finite."""
    return _with_cloud(pipeline, np.full((1000, 3), np.nan))


@on_planner("painted; no error")
def planner_cloud_of_a_million(pipeline: TestPipeline) -> Outcome:
    """A cloud of a million points."""
    points = np.random.default_rng(0).uniform((-60, -60, -2), (60, 60, 2), (MILLION, 3))
    return _with_cloud(pipeline, points)


@on_planner("points end at the horizon; no error")
def planner_horizon_inside(pipeline: TestPipeline) -> Outcome:
    """A camera that looks up and is rolled: the horizon crosses the image."""
    _set(pipeline, camera_pitch_deg=-5.0, camera_roll_deg=20.0)
    took_s = _recovery_s(pipeline)
    _set(pipeline, camera_pitch_deg=0.0, camera_roll_deg=0.0)
    _require_no_errors(pipeline)
    return Outcome("points of every frame came out", max(took_s, _recovery_s(pipeline)))


def _with_cloud(pipeline: TestPipeline, points: np.ndarray, expected: str = "") -> Outcome:
    """Send frames with a cloud each until points come out of one, then go on without clouds."""
    came_s = _recovery_s(pipeline, points)
    text = f"points of {len(points):,} came out"
    if expected:
        stamp = time.time_ns()
        probe(pipeline).send_cloud(points, stamp)
        text = pipeline.require_message(expected, NODE, stamp_ns=stamp)
    _require_no_errors(pipeline)
    pipeline.change_state(NODE, "deactivate", "activate")  # which forgets the lidar
    return Outcome(text, max(came_s, _recovery_s(pipeline)))


def _recovery_s(
    pipeline: TestPipeline, cloud: np.ndarray | None = None, calibration: tuple[int, int] = SIZE
) -> float:
    """Seconds until points of a frame that is sent from now on come out.

    Args:
        pipeline: under test.
        cloud: is sent with every frame; None: none is.
        calibration: width and height that it is for.

    Raises:
        CheckFailed: none do within the limit.
    """
    began, deadline = time.monotonic(), time.monotonic() + RECOVER_S * pipeline.settings.patience
    while time.monotonic() < deadline:
        probe(pipeline).calibrate(*calibration)
        stamp = time.time_ns()
        if cloud is not None:
            probe(pipeline).send_cloud(cloud, stamp)
            pipeline.wait(lambda: False, 0.2)
        pipeline.probe.send(stamp_ns=stamp)
        came = partial(pipeline.probe.has_output, outputs.POINTS, stamp)
        if pipeline.wait(came, 2.0 / pipeline.settings.patience + 1 / pipeline.fps):
            return time.monotonic() - began
    raise CheckFailed(f"no points came out; {pipeline.message(NODE)}")


def _require_silence(pipeline: TestPipeline) -> None:
    """Check that frames that are sent now have no points.

    Raises:
        CheckFailed: one has.
    """
    sent = pipeline.send_for(1.0)
    pipeline.settle()
    if any(pipeline.probe.has_output(outputs.POINTS, stamp) for stamp in sent):
        raise CheckFailed("points were published all the same")


def _require_no_errors(pipeline: TestPipeline) -> None:
    status = pipeline.probe.status.get(NODE)
    if status is not None and (errors := int(status.number("dropped.error"))):
        raise CheckFailed(f"{errors} frames were dropped by an error")


def _set(pipeline: TestPipeline, **values: float) -> None:
    for name, value in values.items():
        accepted, reason = pipeline.probe.set_parameter(NODE, name, value)
        if not accepted:
            raise CheckFailed(f"{name}={value} was refused: {reason}")
