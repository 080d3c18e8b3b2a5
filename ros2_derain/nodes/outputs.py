"""The one list of outputs: every topic that the pipeline publishes, and how its messages are made.

The nodes publish from this list, and the bag of an offline replay is written from it. To add an
output: a function ``scene, context -> message`` (None: nothing to publish for this frame), an
:class:`Output`, and its place in :data:`OUTPUTS`, which is the order of publication.

The stamp and frame_id of every message with a header are those of the camera's frame, except for
:data:`LABEL_INFO` and :data:`VISION_INFO`, which are about the model. :data:`RAIN_RATE`,
:data:`GLASS_COVERAGE` and :data:`MODE` are of types without a header; :data:`DERAIN_STATUS` has all three
under the frame's header. :data:`ANNOTATIONS` and :data:`MARKERS` have the frame's stamp in each
of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Float32, Header, String
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo, VisionInfo
from visualization_msgs.msg import MarkerArray

from ros2_derain import messages, overlay
from ros2_derain.engine import NOT_PARSED, REGIONS, Mode, ModelIdentity, Perception, Scene
from ros2_derain.messages import images
from ros2_derain.messages.topics import Topic, latched
from ros2_derain.nodes import viewers
from ros2_derain.nodes.planning import PlannerFrame

DERAIN, SEGMENTATION, PLANNER = "derain_node", "segmentation_node", "planner_node"


@dataclass(frozen=True)
class Context:
    """What a message is made of besides the scene.

    Attributes:
        header: of the camera's frame; of the present moment for what is published on start.
        identity: of the model.
        camera_info: calibration of the frame; None: unknown.
        jpeg_quality, overlay_opacity, confidence_threshold: the nodes' parameters.
        label_info_topic: resolved name of :data:`LABEL_INFO`.
    """

    header: Header
    identity: ModelIdentity
    camera_info: CameraInfo | None = None
    jpeg_quality: int = 90
    overlay_opacity: float = 0.45
    confidence_threshold: float = 0.0
    label_info_topic: str = ""


Make = Callable[[Scene, Context], Any]


@dataclass(frozen=True)
class Output(Topic):
    """A topic that the pipeline publishes.

    Attributes:
        node: which node publishes it.
        make: the message of a scene; None: nothing to publish.
        compact: part of a compact recording.
    """

    node: str = DERAIN
    make: Make = lambda scene, context: None
    compact: bool = False


@dataclass(frozen=True)
class StartOutput(Topic):
    """A topic that a node publishes when it is activated; ``make`` gets the context alone."""

    node: str = SEGMENTATION
    make: Callable[[Context], Any] = lambda context: None
    compact: bool = True


@dataclass(frozen=True)
class PlannerOutput(Topic):
    """A topic that planner_node publishes; ``make`` gets the frame in metres, and may have nothing to say."""

    make: Callable[[PlannerFrame], Any] = lambda frame: None
    node: str = PLANNER
    compact: bool = False


def _parsed(make: Callable[[Scene, Perception, Context], Any]) -> Make:
    """For outputs of the parser: nothing where it did not run or failed."""
    return lambda scene, context: scene.perception and make(scene, scene.perception, context)


def _clean_camera_info(_: Scene, context: Context) -> CameraInfo | None:
    if context.camera_info is None:
        return None
    return messages.to_camera_info(context.camera_info, context.header)


def _derain_status(scene: Scene, context: Context) -> DiagnosticArray:
    fault = scene.fault if scene.derain_mode is Mode.PASS_THROUGH else ""
    return messages.to_frame_status(
        DERAIN,
        context.header,
        messages.LEVELS[scene.derain_mode],
        fault or scene.derain_mode.value,
        {
            "mode": scene.derain_mode.value,
            "rain_rate_mm_h": _figure(scene.rain.rate),
            "rain_severity": _figure(scene.rain.severity),
            **_view_values(scene),
            "trust_mean": _figure(cv2.mean(scene.trust)[0]),
            "iterations": str(scene.iterations),
            "prior_missed": str(scene.prior_missed).lower(),
        },
    )


def _view_values(scene: Scene) -> dict[str, str]:
    """What the camera cannot see, before the frame is parsed."""
    view = scene.view
    shares = {"glass_coverage": view.coverage, "contrast_loss": view.contrast_loss, "dirt": view.dirt}
    shares |= {f"hidden.{region}": view.hidden[region] for region in REGIONS if region in view.hidden}
    return {key: _figure(share) for key, share in shares.items()}


def _segmentation_status(scene: Scene, context: Context) -> DiagnosticArray:
    seen = scene.perception
    if seen is not None:
        values = {
            "detections": str(len(seen.detections)),
            "confidence_mean": _figure(cv2.mean(seen.confidence)[0]),
        }
        values |= {f"hidden.{name}": _figure(share) for name, share in hidden_classes(scene).items()}
        return messages.to_frame_status(SEGMENTATION, context.header, messages.OK, "parsed", values)
    if scene.derain_mode in NOT_PARSED:
        text = f"not parsed: mode {scene.derain_mode.value}"
        return messages.to_frame_status(SEGMENTATION, context.header, messages.WARN, text, {})
    text = f"the parser failed: {scene.fault}"
    return messages.to_frame_status(SEGMENTATION, context.header, messages.ERROR, text, {})


def _semantic_prior(scene: Scene, context: Context) -> Image | None:
    return None if scene.prior is None else images.from_channels(scene.prior, context.header)


def _obstruction(scene: Scene, context: Context) -> Image | None:
    return None if scene.obstruction is None else images.from_mono(scene.obstruction, context.header)


def hidden_classes(scene: Scene) -> dict[str, float]:
    """The hidden shares of sky and road, where they are known."""
    return {name: share for name, share in scene.view.hidden.items() if name not in REGIONS}


def _overlay(scene: Scene, seen: Perception, context: Context) -> Image:
    drawn = overlay.draw(scene.image, seen, context.identity.colours, context.overlay_opacity)
    return images.from_rgb(drawn, context.header)


def _figure(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.4g}"


VISION_INFO = StartOutput(
    "vision_info",
    VisionInfo,
    latched,
    make=lambda context: messages.to_vision_info(context.identity, context.label_info_topic, context.header),
)
LABEL_INFO = StartOutput(
    "segmentation/label_info",
    LabelInfo,
    latched,
    make=lambda context: messages.to_label_info(
        context.identity.class_names, context.confidence_threshold, context.header
    ),
)
"""Published again when the confidence threshold changes."""

MODE = Output(
    "derain/mode", String, latched, make=lambda scene, _: String(data=scene.mode.value), compact=True
)
"""Published when it changes."""
DERAIN_STATUS = Output("derain/status", DiagnosticArray, make=_derain_status, compact=True)
OBSTRUCTION = Output("derain/obstruction", Image, make=_obstruction)
"""Before the image: segmentation_node in another process needs it with that."""
CLEAN_IMAGE = Output(
    "derain/image", Image, make=lambda scene, context: images.from_rgb(scene.image, context.header)
)
TRUST = Output(
    "derain/trust", Image, make=lambda scene, context: images.from_mono(scene.trust, context.header)
)
RAIN_RATE = Output(
    "derain/rain_rate", Float32, make=lambda scene, _: Float32(data=scene.rain.rate), compact=True
)
GLASS_COVERAGE = Output(
    "derain/glass_coverage", Float32, make=lambda scene, _: Float32(data=scene.view.coverage), compact=True
)
CLEAN_CAMERA_INFO = Output("derain/camera_info", CameraInfo, make=_clean_camera_info, compact=True)
CLEAN_COMPRESSED = Output(
    "derain/image/compressed",
    CompressedImage,
    make=lambda scene, context: images.compress_rgb(scene.image, context.header, context.jpeg_quality),
    compact=True,
)

SEMANTIC_PRIOR = Output("semantic_prior", Image, node=SEGMENTATION, make=_semantic_prior)
LABEL_MAP = Output(
    "segmentation/label_map",
    Image,
    node=SEGMENTATION,
    make=_parsed(lambda _, seen, context: images.from_mono(seen.labels, context.header)),
)
DETECTIONS = Output(
    "detections",
    Detection2DArray,
    node=SEGMENTATION,
    make=_parsed(lambda _, seen, context: messages.to_detections(seen.detections, context.header)),
    compact=True,
)
CONFIDENCE = Output(
    "segmentation/confidence",
    Image,
    node=SEGMENTATION,
    make=_parsed(lambda _, seen, context: images.from_mono(seen.confidence, context.header)),
)
SEGMENTATION_STATUS = Output(
    "segmentation/status", DiagnosticArray, node=SEGMENTATION, make=_segmentation_status, compact=True
)
OVERLAY = Output("segmentation/overlay", Image, node=SEGMENTATION, make=_parsed(_overlay))
ANNOTATIONS = Output(
    "detections/annotations",
    viewers.ImageAnnotations,
    node=SEGMENTATION,
    make=lambda scene, context: viewers.to_annotations(scene, context.header.stamp),
    compact=True,
)
"""Where foxglove_msgs is installed; of every frame, parsed or not."""
ANNOTATED = () if viewers.ImageAnnotations is None else (ANNOTATIONS,)

ON_START = (VISION_INFO, LABEL_INFO)
PER_FRAME = (
    DERAIN_STATUS,
    OBSTRUCTION,
    CLEAN_IMAGE,
    TRUST,
    RAIN_RATE,
    GLASS_COVERAGE,
    CLEAN_CAMERA_INFO,
    CLEAN_COMPRESSED,
    SEMANTIC_PRIOR,
    LABEL_MAP,
    DETECTIONS,
    CONFIDENCE,
    SEGMENTATION_STATUS,
    OVERLAY,
    *ANNOTATED,
)
OUTPUTS: tuple[Output | StartOutput, ...] = (*ON_START, MODE, *PER_FRAME)
"""Everything that is published about the camera's frames, without diagnostics, in order of publication."""

POINTS = PlannerOutput("segmentation/points", PointCloud2, make=PlannerFrame.points)
DETECTIONS_3D = PlannerOutput(
    "detections_3d", Detection3DArray, make=PlannerFrame.detections_3d, compact=True
)
POINTS_LABEL_MAP = PlannerOutput("segmentation/points/label_map", Image, make=PlannerFrame.strided_labels)
POINTS_CONFIDENCE = PlannerOutput(
    "segmentation/points/confidence", Image, make=PlannerFrame.strided_confidence
)
MARKERS = PlannerOutput("detections_3d/markers", MarkerArray, make=viewers.to_markers, compact=True)

IN_METRES = (POINTS, POINTS_LABEL_MAP, POINTS_CONFIDENCE, DETECTIONS_3D, MARKERS)
"""What planner_node publishes, where it runs."""

AnyOutput = Output | StartOutput | PlannerOutput


def of_node(node: str) -> tuple[AnyOutput, ...]:
    """The outputs of one node."""
    every: tuple[AnyOutput, ...] = (*OUTPUTS, *IN_METRES)
    return tuple(output for output in every if output.node == node)
