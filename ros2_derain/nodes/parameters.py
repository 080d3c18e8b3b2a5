"""The parameters of the nodes: one frozen dataclass per node is their single source.

Descriptors, validation and the files of :mod:`.parameter_files` come from it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from ros2_derain.engine import MAX_ITERATIONS, PRECISIONS, PRIORS, RUNTIMES, EngineSettings
from ros2_derain.nodes.diagnostics import ViewLimits

Value = bool | int | float | str

LARGEST_IMAGE = 4096 * 4096
"""Twice the pixels of the largest cameras on cars; what is larger would only fill the memory."""


class ParameterError(ValueError):
    """A parameter value that cannot be; the message names parameter, value and reason."""


def _parameter(
    default: Value,
    description: str,
    *,
    range: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    live: bool = True,
) -> Any:
    """A dataclass field that is a ROS parameter.

    Args:
        default: also decides its type.
        description: one sentence for users.
        range: smallest and largest value of a number.
        choices: every value of a text that is accepted; empty: any.
        live: may change at any time; otherwise it is read when the node is
            configured and refused until the node has been cleaned up.
    """
    metadata = {"description": description, "range": range, "choices": choices, "live": live}
    return field(default=default, metadata=metadata)


def _setting(name: str, description: str, **options: Any) -> Any:
    """A parameter that is the engine's setting of the same name, with its default."""
    return _parameter(getattr(EngineSettings, name), description, **options)


@dataclass(frozen=True)
class NodeParameters:
    """The parameters that all nodes have."""

    max_pixels: int = _parameter(
        LARGEST_IMAGE,
        "Largest height * width of an image that is accepted; a larger one is refused.",
        range=(64 * 64, 2**31 - 1),
    )
    diagnostics_period_s: float = _parameter(
        1.0, "Time between two messages on /diagnostics [s].", range=(0.1, 60.0), live=False
    )


@dataclass(frozen=True)
class ModelParameters(NodeParameters):
    """The parameters of the nodes that run a model."""

    model: str = _setting("model", "Name of a model under models/, or path of a model's folder.", live=False)
    device: str = _setting("device", "Where the networks run: auto, cpu, cuda or cuda:N.", live=False)
    precision: str = _setting(
        "precision",
        "Number format of derainer and parser; auto takes the fastest that the device is good at. "
        "The gauge computes in float32.",
        choices=PRECISIONS,
        live=False,
    )
    runtime: str = _setting(
        "runtime",
        "What runs the networks; auto takes OpenVINO on a CPU where it is installed, else PyTorch.",
        choices=RUNTIMES,
        live=False,
    )
    warmup_width: int = _parameter(
        1280,
        "Width of the image that the networks are warmed up with [pixels].",
        range=(64, 8192),
        live=False,
    )
    warmup_height: int = _parameter(
        720,
        "Height of the image that the networks are warmed up with [pixels].",
        range=(64, 8192),
        live=False,
    )


@dataclass(frozen=True)
class DerainParameters(ModelParameters):
    """The parameters of derain_node."""

    prior: str = _setting(
        "prior",
        "What the derainer knows of the scene: temporal (the previous frame's parse), closed_loop "
        "(parse and restore in turn), none.",
        choices=PRIORS,
    )
    iterations: int = _setting(
        "iterations", "Refinements per frame with prior closed_loop.", range=(1, MAX_ITERATIONS)
    )
    gate: bool = _setting("gate", "Pass dry frames on untouched.")
    gate_open_mm_h: float = _setting(
        "gate_open_mm_h", "Rain rate above which deraining begins [mm/h].", range=(0.0, 200.0)
    )
    gate_close_mm_h: float = _setting(
        "gate_close_mm_h",
        "Rain rate below which deraining ends; at most gate_open_mm_h [mm/h].",
        range=(0.0, 200.0),
    )
    gate_open_coverage: float = _setting(
        "gate_open_coverage",
        "Share of the view covered by water on the glass, for 1.2 s or since the first frame, at which "
        "restoring begins.",
        range=(0.0, 1.0),
    )
    gate_close_coverage: float = _setting(
        "gate_close_coverage",
        "Share of the view covered below which restoring ends; at most gate_open_coverage.",
        range=(0.0, 1.0),
    )
    gate_open_contrast_loss: float = _setting(
        "gate_open_contrast_loss",
        "Share of the contrast lost to film, spray or fog at which restoring begins.",
        range=(0.0, 1.0),
    )
    gate_close_contrast_loss: float = _setting(
        "gate_close_contrast_loss",
        "Share of the contrast lost below which restoring ends; at most gate_open_contrast_loss.",
        range=(0.0, 1.0),
    )
    water_interval_s: float = _setting(
        "water_interval_s",
        "Least time between two looks of the gauge for water while it sees none; 0: every frame [s].",
        range=(0.0, 60.0),
    )
    obstruction_average_s: float = _setting(
        "obstruction_average_s",
        "Time constant over which each place of derain/obstruction is averaged; 0: not at all [s].",
        range=(0.0, 60.0),
    )
    dirt_after_s: float = _setting(
        "dirt_after_s",
        "What hides a place for this long while the scene moves is dirt, not rain; 0: nothing is [s].",
        range=(0.0, 86400.0),
    )
    fill_hidden: bool = _setting(
        "fill_hidden",
        "Fill what water hides from earlier frames and from around it, while the gate is open.",
    )
    restore_contrast: bool = _setting(
        "restore_contrast",
        "Give back the contrast that a film of water or spray takes, while the gate is open.",
    )
    coverage_warn: float = _parameter(
        ViewLimits.coverage_warn,
        "Share of the view covered by water from which on diagnostics warn.",
        range=(0.0, 1.0),
    )
    coverage_error: float = _parameter(
        ViewLimits.coverage_error,
        "Share of the view covered by water from which on diagnostics report an error.",
        range=(0.0, 1.0),
    )
    contrast_loss_warn: float = _parameter(
        ViewLimits.contrast_loss_warn,
        "Share of the contrast lost from which on diagnostics warn.",
        range=(0.0, 1.0),
    )
    dirt_warn: float = _parameter(
        ViewLimits.dirt_warn,
        "Share of the view hidden by dirt from which on diagnostics warn.",
        range=(0.0, 1.0),
    )
    max_latency_ms: float = _setting(
        "max_latency_ms", "Time budget of one frame; 0: none [ms].", range=(0.0, 10000.0)
    )
    patience: int = _setting("patience", "Frames over budget in a row before a step down.", range=(1, 1000))
    recover_after_s: float = _setting(
        "recover_after_s", "Quiet time before a step up [s].", range=(0.01, 3600.0)
    )
    reset_gap_s: float = _setting(
        "reset_gap_s",
        "A gap between stamps above this, like any step back, forgets what earlier frames showed [s].",
        range=(0.01, 3600.0),
    )
    prior_timeout_ms: float = _parameter(
        50.0,
        "With two processes: longest wait for a prior; then the frame goes on without [ms].",
        range=(0.0, 10000.0),
    )
    stall_ms: float = _parameter(
        3000.0,
        "While a frame is worked on for longer, later ones are passed on raw; 0: never [ms].",
        range=(0.0, 60000.0),
    )
    input_transport: str = _parameter(
        "raw",
        "Subscribe to image (raw) or to image/compressed (compressed).",
        choices=("raw", "compressed"),
        live=False,
    )
    mono16_max: int = _parameter(
        0,
        "Value of white in 16-bit images, such as 4095 for a camera of 12 bits; 0: the depth of 12, 14 or 16 "
        "bits that the image's own maximum fits into.",
        range=(0, 65535),
    )
    jpeg_quality: int = _parameter(90, "Quality of derain/image/compressed.", range=(1, 100))

    def view_limits(self) -> ViewLimits:
        """From which shares on diagnostics report what the camera cannot see."""
        return ViewLimits(**{item.name: getattr(self, item.name) for item in fields(ViewLimits)})


@dataclass(frozen=True)
class SegmentationParameters(ModelParameters):
    """The parameters of segmentation_node."""

    score_threshold: float = _setting(
        "score_threshold",
        "Detections with a lower score are left out, unless they continue a track.",
        range=(0.0, 1.0),
    )
    tracked_score_threshold: float = _setting(
        "tracked_score_threshold",
        "Detections that continue a track are left out below this score; above score_threshold it has no "
        "effect.",
        range=(0.0, 1.0),
    )
    confidence_threshold: float = _setting(
        "confidence_threshold", "Pixels with a lower confidence are unlabelled (255).", range=(0.0, 1.0)
    )
    overlay_opacity: float = _parameter(
        0.45, "Opacity of the class colours in segmentation/overlay.", range=(0.0, 1.0)
    )


def _angle(description: str, limit: float = 180.0) -> Any:
    return _parameter(0.0, description, range=(-limit, limit))


def _metres(description: str, default: float = 0.0, low: float = -100.0, high: float = 100.0) -> Any:
    return _parameter(default, description, range=(low, high))


@dataclass(frozen=True)
class PlannerParameters(NodeParameters):
    """The parameters of planner_node."""

    points_source: str = _parameter(
        "auto",
        "What segmentation/points holds: ground (the image's grid on a flat ground), lidar (the cloud of the "
        "topic points, painted), auto (lidar once clouds arrive, else ground).",
        choices=("auto", "ground", "lidar"),
    )
    stride: int = _parameter(
        4, "The ground is that of every N-th row and column of the label map.", range=(1, 64)
    )
    max_range_m: float = _metres("Greatest distance of ground points and detections [m].", 60.0, 1.0, 1000.0)
    ground_classes: str = _parameter(
        "road, pavement, sidewalk, terrain, parking, ground, rail track",
        "Classes that lie on the ground, separated by commas.",
    )
    foot_classes: str = _parameter(
        "car, truck, bus, train, pedestrian, person, bicyclist, rider, bicycle, motorcycle, pole, fence",
        "Classes that stand on the ground: of these the pixels just above it belong to it.",
    )
    output_frame: str = _parameter(
        "camera",
        "Frame of points and boxes: camera (the image's own frame_id), or base (base_frame).",
        choices=("camera", "base"),
    )
    base_frame: str = _parameter(
        "base_link",
        "The vehicle's frame, x forward and z up; its transforms to camera and lidar are taken from TF where "
        "it has them. '': from the parameters below.",
    )
    transform_max_age_s: float = _parameter(
        0.5, "A moving transform further from the image's stamp is refused [s].", range=(0.0, 60.0)
    )
    ground_z: float = _metres("Height of the ground in base_frame [m].")
    camera_height: float = _metres(
        "Without TF: height of the camera above the ground [m]; 0: not known, 1.5 is assumed and warned of.",
        0.0,
        0.0,
    )
    camera_x: float = _metres("Without TF: the camera is this far ahead of base_frame [m].")
    camera_y: float = _metres("Without TF: the camera is this far to the left of base_frame [m].")
    camera_roll_deg: float = _angle("Without TF: the camera's roll, right side down [degrees].")
    camera_pitch_deg: float = _angle("Without TF: the camera's pitch, looking down [degrees].", 90.0)
    camera_yaw_deg: float = _angle("Without TF: the camera's yaw, to the left [degrees].")
    lidar_x: float = _metres("Without TF: the lidar is this far ahead of base_frame [m].")
    lidar_y: float = _metres("Without TF: the lidar is this far to the left of base_frame [m].")
    lidar_z: float = _metres("Without TF: the lidar is this far above base_frame [m].")
    lidar_roll_deg: float = _angle("Without TF: the lidar's roll, right side down [degrees].")
    lidar_pitch_deg: float = _angle("Without TF: the lidar's pitch, looking down [degrees].", 90.0)
    lidar_yaw_deg: float = _angle("Without TF: the lidar's yaw, to the left [degrees].")
    rectified: bool = _parameter(
        False, "The images are rectified: take P of camera_info without distortion, not K and D."
    )
    pitch_sigma_deg: float = _parameter(
        0.5,
        "Standard deviation of the pitch between camera and ground, for covariances [degrees].",
        range=(0.0, 20.0),
    )
    match_timeout_ms: float = _parameter(
        100.0,
        "Longest wait for the other inputs of a stamp; then the frame goes on without [ms].",
        range=(0.0, 10000.0),
    )
    cloud_max_offset_ms: float = _parameter(
        100.0, "Clouds further from the image's stamp are not painted [ms].", range=(0.0, 10000.0)
    )


P = TypeVar("P", bound=NodeParameters)
M = TypeVar("M", bound=ModelParameters)

NODES: dict[str, type[NodeParameters]] = {
    "derain_node": DerainParameters,
    "segmentation_node": SegmentationParameters,
    "planner_node": PlannerParameters,
}


def declare(node: Node, kind: type[P]) -> P:
    """Declare every parameter of ``kind`` on the node, and read what the user has set.

    Raises:
        rclpy.exceptions.ParameterException: a value of the wrong type or out of range.
        ParameterError: a value that is not one of the choices.
    """
    values = {
        item.name: node.declare_parameter(item.name, item.default, _descriptor(item)).value
        for item in fields(kind)
    }
    return checked(kind, values)


def checked(kind: type[P], values: Mapping[str, Value]) -> P:
    """The parameters with these values.

    Raises:
        ParameterError: one is out of range or not one of its choices.
    """
    for item in fields(kind):
        _check(item, values[item.name])
    return kind(**dict[str, Any](values))


def engine_settings(parameters: ModelParameters) -> EngineSettings:
    """The engine's settings among a node's parameters; the others keep their defaults.

    Raises:
        EngineError: two of them contradict each other.
    """
    known = {item.name for item in fields(EngineSettings)}
    shared = {item.name for item in fields(parameters)} & known
    return EngineSettings(**{name: getattr(parameters, name) for name in shared})


def unknown(node: Node) -> list[str]:
    """A warning for each value that was given at start for a parameter that no node has."""
    known = [item.name for kind in NODES.values() for item in fields(kind)]
    given = [name for name in node._parameter_overrides if not name.startswith("qos_overrides.")]
    warnings = []
    for name in sorted({*given} - {*known, "use_sim_time", "start_type_description_service"}):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]}?" if near else ""
        warnings.append(f"parameter {name} is unknown and ignored{hint}")
    return warnings


def needs_cleanup(kind: type[P], name: str) -> bool:
    """Whether the parameter is read at configure and may not change after it."""
    return any(item.name == name and not item.metadata["live"] for item in fields(kind))


def _check(item: Field, value: Value) -> None:
    range_, choices = item.metadata["range"], item.metadata["choices"]
    if choices and value not in choices:
        raise ParameterError(f"{item.name} is {value!r}; it must be one of {', '.join(choices)}")
    if range_ and not range_[0] <= value <= range_[1]:
        raise ParameterError(f"{item.name} is {value:g}; it must be from {range_[0]:g} to {range_[1]:g}")


def _descriptor(item: Field) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=item.name,
        description=item.metadata["description"],
        additional_constraints=_constraints(item),
    )
    if item.metadata["range"]:
        low, high = item.metadata["range"]
        if isinstance(item.default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
    return descriptor


def _constraints(item: Field) -> str:
    """The part of the contract that a descriptor has no field for."""
    choices = item.metadata["choices"]
    parts = [f"one of {', '.join(choices)}"] if choices else []
    if not item.metadata["live"]:
        parts.append("read at configure; clean the node up to change it")
    return "; ".join(parts)
