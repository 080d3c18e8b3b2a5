"""Diagnostics of a stuck network, a frozen camera, wrong clocks, wrong QoS and a second instance."""

from dataclasses import replace

import pytest
import rig
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from ros2_derain.engine import Mode, View
from ros2_derain.messages import images, topics
from ros2_derain.nodes import diagnostics, outputs
from ros2_derain.nodes.diagnostics import Condition, Statistics, ViewLimits, judge

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
CLEAN = [outputs.CLEAN_IMAGE]


@pytest.mark.parametrize(
    ("state", "level", "text"),
    [
        ({}, OK, "active"),
        ({"busy_s": 1.9}, OK, "active"),
        ({"busy_s": 2.5}, ERROR, "a frame has been processed for 2.5 s"),
        ({"duplicate_s": 1.0}, WARN, "is it running twice?"),
        ({"duplicate_s": 31.0}, ERROR, "is it running twice?"),
        ({"identical_images": 9}, OK, "active"),
        ({"identical_images": 10}, WARN, "the camera is frozen: the same image 10 times"),
        ({"ahead_s": 0.4}, OK, "active"),
        ({"ahead_s": 3600.0}, WARN, "3600.0 s ahead of this clock"),
        ({"rain_mm_h": 40.0}, OK, "active"),
        ({"rain_mm_h": 60.0}, WARN, "rain of 60 mm/h"),
        ({"rain_mm_h": 120.0}, ERROR, "rain of 120 mm/h"),
        ({"view": View()}, OK, "active"),
        ({"view": View(coverage=0.019, contrast_loss=0.49, dirt=0.009)}, OK, "active"),
        ({"view": View(coverage=0.08)}, WARN, "8 % of the view is covered by water: wipe the lens"),
        ({"view": View(coverage=0.2)}, WARN, "20 % of the view is covered by water"),
        ({"view": View(coverage=0.31)}, ERROR, "31 % of the view is covered by water: wipe the lens"),
        ({"view": View(coverage=0.0, dirt=0.03)}, WARN, "3 % of the view is hidden by what does not move"),
        ({"view": View(coverage=0.0, contrast_loss=0.6)}, WARN, "60 % of the contrast is lost"),
        ({"view": View(coverage=0.08), "view_limits": ViewLimits(coverage_warn=0.1)}, OK, "active"),
        ({"view": View(coverage=0.08), "view_limits": ViewLimits(coverage_error=0.07)}, ERROR, "8 %"),
        ({"view": View(dirt=0.03), "view_limits": ViewLimits(dirt_warn=0.05)}, OK, "active"),
        ({"view": View(contrast_loss=0.6), "view_limits": ViewLimits(contrast_loss_warn=0.7)}, OK, "active"),
    ],
)
def test_every_rule_about_the_camera_gives_its_level(state, level, text):
    judged, message = judge(Condition(Statistics().snapshot(), True, Mode.LOOP, **state))
    assert judged == level and text in message


def test_an_incompatible_publisher_is_named_while_no_frame_arrives():
    counters = Statistics().snapshot()
    text = "a publisher of image offers another reliability"
    assert text in judge(Condition(replace(counters, idle_s=1.5), True, incompatible=text))[1]
    assert text not in judge(Condition(replace(counters, idle_s=0.1), True, incompatible=text))[1]


def test_while_a_frame_is_stuck_later_ones_are_passed_on_raw(active):
    made = active(stall_ms=200.0)
    may_go = rig.stuck(made)
    late = made.send()
    assert made.client.until(lambda: made.derain.busy_s > 0.2)
    image = rig.noise_image(seed=7)
    made.pass_through(image, out=CLEAN)
    assert (images.to_rgb(made.client.last(outputs.CLEAN_IMAGE)) == image).all()
    made.client.expect(made.client.mode, "pass_through")
    assert made.client.until(lambda: "a frame has been processed" in made.client.message("derain_node"))
    may_go.set()
    assert made.client.until(lambda: made.client.counted("derain_node", "dropped.overtaken"))
    assert made.client.until(lambda: made.derain.busy_s == 0)
    made.pass_through(out=CLEAN)
    stamps = made.client.stamps(outputs.CLEAN_IMAGE)
    assert late not in stamps and stamps == sorted(stamps)
    assert made.client.until(lambda: made.is_accounted_for(made.derain))


def test_without_a_limit_a_stuck_frame_is_waited_for(active):
    made = active(stall_ms=0.0)
    may_go = rig.stuck(made)
    late = made.send()
    assert made.client.until(lambda: made.derain.busy_s > 0.1)
    newest = made.send()
    assert not made.client.until(lambda: made.client.count(outputs.CLEAN_IMAGE), 0.3)
    may_go.set()
    assert made.client.until(lambda: made.client.stamps(outputs.CLEAN_IMAGE) == [late, newest])


def test_a_frozen_camera_is_named_until_its_images_change(active):
    made = active()
    for _ in range(diagnostics.FROZEN_AFTER + 1):
        made.pass_through(out=CLEAN)
    assert made.client.until(lambda: "the camera is frozen" in made.client.message("derain_node"))
    made.pass_through(rig.noise_image(seed=1), out=CLEAN)
    assert made.client.until(lambda: "frozen" not in made.client.message("derain_node"))


def test_stamps_ahead_of_the_clock_are_named(active):
    made = active()
    now = made.client.node.get_clock().now().nanoseconds
    made.pass_through(header=rig.messages.to_header(now + 3600 * 10**9, "camera"), out=CLEAN)
    assert made.client.until(lambda: "ahead of this clock" in made.client.message("derain_node"))


def test_a_second_instance_is_named(active):
    made = active()
    twin = made.client.node.create_publisher(Image, outputs.CLEAN_IMAGE.name, topics.recent())
    assert made.client.until(lambda: "is it running twice" in made.client.message("derain_node"))
    made.client.node.destroy_publisher(twin)
    assert made.client.until(lambda: "twice" not in made.client.message("derain_node"))


def test_a_device_out_of_memory_passes_images_through_and_is_reported(active):
    import torch

    made = active()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    rig.replace_derainer(made, lambda call: full)
    made.pass_through(out=CLEAN)
    assert made.client.until(lambda: "CUDA out of memory" in made.client.message("derain_node"))


def test_the_limit_of_a_stall_changes_live(active):
    made = active()
    assert made.set_parameter(made.derain, "stall_ms", 250.0).successful
    assert not made.set_parameter(made.derain, "stall_ms", -1.0).successful
    assert made.derain.parameters.stall_ms == Parameter("stall_ms", value=250.0).value
