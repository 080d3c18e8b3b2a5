"""``detections/annotations`` over DDS: what Foxglove draws over an image says what ``detections`` say."""

import subprocess
import sys
from pathlib import Path

import pytest
import rig
from std_msgs.msg import Header

from ros2_derain import messages
from ros2_derain.nodes import outputs
from ros2_derain.nodes.viewers import NO_OBJECTS, NOT_PARSED

POLICY = Path(__file__).resolve().parent.parent.parent / "config/security/policy.xml"
needed = pytest.mark.skipif(not outputs.ANNOTATED, reason="foxglove_msgs is not installed")


def annotated(made, out):
    """The annotations of a frame that is sent, which has come out on a topic."""
    made.client.listen(outputs.ANNOTATIONS)
    assert made.client.until(lambda: made.segmentation.has_subscriber(outputs.ANNOTATIONS))
    stamp = made.pass_through(out=out)
    found = made.client.last(outputs.ANNOTATIONS)
    stamps = [found.timestamp, *(part.timestamp for part in (*found.points, *found.texts))]
    assert {messages.stamp_ns(Header(stamp=each)) for each in stamps} == {stamp}
    return found


@needed
def test_every_box_is_drawn_with_its_class_score_and_id(active):
    made = active(score_threshold=0.0)
    found = annotated(made, rig.PER_FRAME)
    boxes = messages.from_detections(made.client.last(outputs.DETECTIONS))
    assert boxes and len(found.points) == len(found.texts) == len(boxes)
    for box, rectangle, text in zip(boxes, found.points, found.texts, strict=True):
        assert rectangle.type == rectangle.LINE_LOOP
        corners = [(point.x, point.y) for point in rectangle.points]
        assert min(corners) == pytest.approx((box.x0, box.y0)) and len(corners) == 4
        assert max(corners) == pytest.approx((box.x1, box.y1))
        assert text.text == f"{box.class_name} {box.score:.2f} #{box.id}"
        assert (text.position.x, text.position.y) == pytest.approx((box.x0, box.y0))


@needed
def test_a_frame_without_boxes_says_so(active):
    found = annotated(active(score_threshold=1.0), rig.PER_FRAME)
    assert not found.points and [text.text for text in found.texts] == [NO_OBJECTS]


@needed
def test_a_frame_that_is_not_parsed_says_so(active):
    found = annotated(rig.with_failing_parser(active()), (outputs.CLEAN_IMAGE, outputs.SEGMENTATION_STATUS))
    assert not found.points and [text.text for text in found.texts] == [NOT_PARSED]


def test_without_foxglove_msgs_the_topic_is_left_out():
    code = """
import sys
sys.modules["foxglove_msgs"] = None
from ros2_derain.nodes import outputs, policy
assert not outputs.ANNOTATED and outputs.ANNOTATIONS not in outputs.of_node(outputs.SEGMENTATION)
policy.main([])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == POLICY.read_text()
