"""Detections as Foxglove and RViz draw them, for people: boxes over an image, boxes in a 3D scene.

Foxglove draws no vision_msgs; RViz draws them in 3D only, with a plugin. It draws over an image what is of
``foxglove_msgs/ImageAnnotations``, which not every installation has.
"""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ros2_derain import messages, overlay
from ros2_derain.engine import Detection, Scene
from ros2_derain.nodes.planning import PlannerFrame
from ros2_derain.planner import top_view

try:
    from foxglove_msgs.msg import Color, ImageAnnotations, Point2, PointsAnnotation, TextAnnotation
except ImportError:
    ImageAnnotations = None

NO_OBJECTS, NOT_PARSED = "no objects", "not parsed"
LINE_PX = 2.0
FONT_PX = 14.0
NOTE_AT = (4.0, FONT_PX + 4.0)
OPACITY = 0.4
TEXT_M = 1.0


def to_annotations(scene: Scene, stamp: Time) -> Any:
    """The boxes of a scene as a ``foxglove_msgs/ImageAnnotations``, with their classes, scores and ids.

    Foxglove matches annotations with images by the stamps inside them: a frame without boxes has a text that
    says so, or else the boxes of an earlier one would stay.
    """
    seen = scene.perception
    found = () if seen is None else seen.detections
    made = ImageAnnotations(
        points=[_rectangle(item, stamp) for item in found], texts=[_caption(item, stamp) for item in found]
    )
    if not found:
        made.texts = [_text(NOT_PARSED if seen is None else NO_OBJECTS, *NOTE_AT, stamp)]
    if hasattr(made, "timestamp"):  # from foxglove_msgs 3.2.5 on, where it counts for all
        made.timestamp = stamp
    return made


def _rectangle(found: Detection, stamp: Time) -> Any:
    corners = ((found.x0, found.y0), (found.x1, found.y0), (found.x1, found.y1), (found.x0, found.y1))
    return PointsAnnotation(
        timestamp=stamp,
        type=PointsAnnotation.LINE_LOOP,
        points=[Point2(x=float(x), y=float(y)) for x, y in corners],
        outline_color=_colour(overlay.BOX),
        thickness=LINE_PX,
    )


def _caption(found: Detection, stamp: Time) -> Any:
    text = f"{found.class_name} {found.score:.2f}" + (f" #{found.id}" if found.id else "")
    return _text(text, found.x0, found.y0, stamp)


def _text(text: str, x: float, y: float, stamp: Time) -> Any:
    """A text whose lower left corner is at a pixel."""
    return TextAnnotation(
        timestamp=stamp,
        position=Point2(x=float(x), y=float(y)),
        text=text,
        font_size=FONT_PX,
        text_color=_colour(overlay.TEXT),
        background_color=_colour(overlay.BOX),
    )


def _colour(colour: overlay.Colour) -> Any:
    red, green, blue = (part / 255 for part in colour)
    return Color(r=red, g=green, b=blue, a=1.0)


def to_markers(frame: PlannerFrame) -> MarkerArray | None:
    """The boxes of ``detections_3d`` as markers, those of a doubtful place in another colour.

    The first marker deletes those of earlier frames. None where the detections are not known.
    """
    boxes = frame.detections_3d()
    if boxes is None:
        return None
    markers = [Marker(header=boxes.header, action=Marker.DELETEALL)]
    for number, (box, lifted) in enumerate(zip(boxes.detections, frame.lifted[0], strict=True)):
        red, green, blue = (part / 255 for part in (top_view.UNSURE if lifted.marks else top_view.BOX))
        cube = Marker(header=boxes.header, ns="boxes", id=number, type=Marker.CUBE)
        cube.pose, cube.scale = box.bbox.center, box.bbox.size
        cube.color = ColorRGBA(r=red, g=green, b=blue, a=OPACITY)
        text = Marker(header=boxes.header, ns="texts", id=number, type=Marker.TEXT_VIEW_FACING)
        text.text = f"{box.results[0].hypothesis.class_id} #{box.id} {lifted.distance:.0f} m"
        messages.set_pose(
            text.pose, frame.base_to_output, lifted.middle + (0, 0, lifted.size.height / 2 + TEXT_M)
        )
        text.scale.z = TEXT_M
        text.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        markers += [cube, text]
    return MarkerArray(markers=markers)
