"""Input that cannot be used: refused by name, counted, and the next good frame goes through."""

import array

import cv2
import numpy as np
import pytest
import rig
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from ros2_derain.messages import images, topics
from ros2_derain.nodes import outputs


def image(**changes):
    message = images.from_rgb(rig.noise_image(), rig.messages.to_header(1, "camera"))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def floats(value):
    pixels = np.full((64, 96, 3), value, np.float32)
    data = array.array("B", pixels.tobytes())
    return Image(height=64, width=96, encoding="32FC3", step=96 * 12, data=data)


BAD = {
    "encoding": image(encoding="rgb42"),
    "step": image(step=5),
    "length": image(data=array.array("B", bytes(100))),
    "size": image(height=0, width=0, step=0, data=array.array("B")),
    "not_finite": floats(float("nan")),
    "range": floats(17.0),
    "too_large": images.from_rgb(rig.noise_image(200, 200), rig.messages.to_header(1, "camera")),
}


@pytest.mark.parametrize("cause", BAD)
def test_a_bad_image_is_refused_and_the_next_one_goes_through(active, capfd, cause):
    made = active(max_pixels=100 * 100)
    bad, key = BAD[cause], f"dropped.refused.{cause}"
    for times in (1, 2):
        made.client.image.publish(bad)
        assert made.client.until(lambda times=times: made.client.values("derain_node").get(key) == str(times))
    stamp = made.pass_through()
    assert made.client.stamps(outputs.CLEAN_IMAGE) == [stamp], "and nothing came of the bad one"
    log = [line for line in capfd.readouterr().err.splitlines() if "image refused" in line]
    assert len(log) == 1, "logged once, although it came twice"
    assert made.client.until(lambda: made.is_accounted_for(made.derain))


def test_an_error_is_reported_while_every_frame_is_refused(active):
    made = active()
    made.client.image.publish(BAD["encoding"])
    assert made.client.until(lambda: "every frame is refused: encoding" in made.client.message("derain_node"))
    assert made.client.diagnosed("derain_node").level == b"\x02"


def test_a_big_endian_flag_on_bytes_means_nothing(active):
    made = active()
    made.client.image.publish(image(is_bigendian=1))
    assert made.client.until(lambda: made.client.count(outputs.CLEAN_IMAGE) == 1)


def test_a_resolution_that_changes_is_followed(active):
    made = active()
    for height, width in ((64, 96), (90, 161), (64, 96)):
        made.pass_through(rig.noise_image(height, width))
        clean, labels = made.client.last(outputs.CLEAN_IMAGE), made.client.last(outputs.LABEL_MAP)
        assert (clean.height, clean.width) == (labels.height, labels.width) == (height, width)
    assert made.counters().dropped == {}


@pytest.mark.parametrize("step_ms", [0, -5000])
def test_a_stamp_that_does_not_advance_is_processed_and_counted(active, step_ms):
    made = active()
    made.pass_through()
    header = made.next_header(step_ms)
    made.client.got.clear()
    made.pass_through(header=header)
    assert made.client.last(outputs.CLEAN_IMAGE).header == header
    assert made.client.until(lambda: made.client.values("derain_node").get("stamp_jumps") == "1")
    made.pass_through()


def test_compressed_input_is_decoded_or_refused(active):
    made = active(input_transport="compressed")
    good = images.compress_rgb(rig.noise_image(), made.next_header())
    broken = CompressedImage(format="jpeg", data=array.array("B", good.data[:200]))
    other = CompressedImage(format="jpeg", data=array.array("B", b"GIF89a, not a JPEG"))
    for message, cause in ((broken, "truncated"), (other, "format")):
        made.client.jpeg.publish(message)
        key = f"dropped.refused.{cause}"
        assert made.client.until(lambda key=key: made.client.counted("derain_node", key))
    made.client.jpeg.publish(good)
    assert made.client.until(lambda: made.client.count(outputs.LABEL_MAP) == 1)
    assert made.client.last(outputs.CLEAN_IMAGE).header == good.header
    assert made.counters().dropped == {"refused.truncated": 1, "refused.format": 1}


def test_unusual_compressed_images_are_read_and_the_first_is_noted(active, capfd):
    made = active(input_transport="compressed")
    scene = np.full((96, 128, 3), (200, 40, 90), np.uint8)
    files = {
        suffix: cv2.imencode(suffix, scene[:, :, ::-1])[1].tobytes() for suffix in (".jpg", ".tiff", ".webp")
    }
    unusual = (b"HEAD" + files[".jpg"][:-2], files[".tiff"], files[".webp"])
    for number, data in enumerate(unusual, 1):
        message = CompressedImage(header=made.next_header(), format="jpeg", data=array.array("B", data))
        made.client.jpeg.publish(message)
        assert made.client.until(lambda number=number: made.client.count(outputs.CLEAN_IMAGE) == number)
        assert made.client.last(outputs.CLEAN_IMAGE).header == message.header
    assert made.counters().dropped == {}
    log = capfd.readouterr().err
    assert log.count("jpeg with 4 bytes before its start and no end marker") == 1


def test_white_of_mono16_is_by_depth_or_by_parameter(active):
    made = active(gate_open_mm_h=200.0, gate_close_mm_h=200.0)

    def brightness(encoding: str) -> int:
        samples = np.full((64, 96), 4000, "<u2")
        message = Image(header=made.next_header(), height=64, width=96, encoding=encoding, step=192)
        message.data = array.array("B", samples.tobytes())
        made.client.got.clear()
        made.client.image.publish(message)
        assert made.client.until(lambda: made.client.count(outputs.CLEAN_IMAGE) == 1)
        return int(images.to_rgb(made.client.last(outputs.CLEAN_IMAGE))[30, 30, 0])

    assert brightness("mono16") == brightness("MONO16") == round(255 * 4000 / 4095)
    made.derain.set_parameters([Parameter("mono16_max", value=8000)])
    assert brightness("mono16") == 128
    made.derain.set_parameters([Parameter("mono16_max", value=65535)])
    assert brightness("mono16") == round(255 * 4000 / 65535)


def test_segmentation_refuses_bad_images_too(active):
    made = active(rig.separate)
    clean = made.client.node.create_publisher(Image, outputs.CLEAN_IMAGE.name, topics.recent())
    assert made.client.until(lambda: clean.get_subscription_count() == 2)
    clean.publish(BAD["encoding"])
    assert made.client.until(lambda: made.client.counted("segmentation_node", "dropped.refused.encoding"))
    made.pass_through()
