"""Our conversion against cv_bridge and rosbags-image, wherever they can be imported.

Where ROS 2 is installed ``cv_bridge`` is its own. PyPI's ``cv-bridge`` 1.13 is ROS 1's
Python half with its colour table written anew; it takes ROS 2's messages as they are,
with these gaps, which the tests go round:

* ``yuv422`` is missing from its table of types and ``bayer_grbg8`` is misspelt there:
  its colour conversion is asked directly.
* It changes no bit depth and has no ``yuyv``: ``rosbags-image`` covers those.
* It does not look at ``step`` (ROS 2's does), and its reading of big-endian data needs
  a method that NumPy 2 removed: neither is compared.
"""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from ros2_derain.messages import images

HEIGHT, WIDTH = 66, 98
BY_CV_BRIDGE = (
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "yuv422",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
)
BY_ROSBAGS = (
    *BY_CV_BRIDGE,
    "uyvy",
    "yuyv",
    "yuv422_yuy2",
    "mono16",
    "rgb16",
    "bgr16",
    "rgba16",
    "bgra16",
    "bayer_rggb16",
    "bayer_bggr16",
    "bayer_gbrg16",
    "bayer_grbg16",
)


def random_message(encoding):
    channels = {"r": 3, "b": 3, "m": 1, "y": 2, "u": 2}[encoding[0]]
    channels = 4 if "a" in encoding.split("_")[0][3:] else channels
    channels = 1 if encoding.startswith("bayer") else channels
    msg = Image(encoding=encoding, height=HEIGHT, width=WIDTH)
    msg.step = WIDTH * channels * (2 if encoding.endswith("16") else 1)
    msg.data.frombytes(np.random.default_rng(7).bytes(HEIGHT * msg.step))
    return msg


def by_cv_bridge(msg):
    cv_bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge (PyPI: cv-bridge)")
    from cv_bridge.boost.cv_bridge_boost import cvtColor2

    try:
        return cv_bridge.CvBridge().imgmsg_to_cv2(msg, "rgb8")
    except KeyError:  # one of the gaps of PyPI's
        shape = (msg.height, msg.width, 2)[: 3 if msg.encoding == "yuv422" else 2]
        name = msg.encoding.replace("bayer_grbg8", "bayer_grbg")
        return cvtColor2(np.frombuffer(msg.data, np.uint8).reshape(shape), name, "rgb8")


@pytest.mark.parametrize("encoding", BY_CV_BRIDGE)
def test_as_cv_bridge_converts(encoding):
    msg = random_message(encoding)
    expected = by_cv_bridge(msg)
    assert expected.std() > 20
    assert np.array_equal(images.to_rgb(msg), expected)


@pytest.mark.parametrize("encoding", BY_ROSBAGS)
def test_as_rosbags_image_converts(encoding):
    rosbags = pytest.importorskip("rosbags.image", reason="needs rosbags-image")
    msg = random_message(encoding)
    expected = rosbags.image_to_cvimage(msg, "rgb8").astype(int)
    assert expected.std() > 20
    # It cuts off where cv_bridge and we round: half a level, either way.
    tolerance = 1 if encoding.endswith("16") else 0
    assert np.abs(images.to_rgb(msg) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "encoding, dtype, scale",
    [
        ("mono16", "<u2", 257),
        ("rgb16", "<u2", 257),
        ("bgr16", "<u2", 257),
        ("32FC1", "<f4", 1 / 255),
        ("32FC3", "<f4", 1 / 255),
        ("8UC1", "u1", 1),
        ("8UC3", "u1", 1),
    ],
)
def test_samples_lie_as_cv_bridge_reads_them(encoding, dtype, scale):
    cv_bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge (PyPI: cv-bridge)")
    grey = encoding in ("mono16", "32FC1", "8UC1")
    shape = (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3)
    values = (np.random.default_rng(8).integers(0, 256, shape) * scale).astype(dtype)
    msg = Image(encoding=encoding, height=HEIGHT, width=WIDTH)
    msg.step = values.strides[0]
    msg.data.frombytes(values.tobytes())

    seen = cv_bridge.CvBridge().imgmsg_to_cv2(msg, "passthrough")
    eight = np.rint(seen / scale).astype(np.uint8)
    if grey:
        eight = np.dstack([eight] * 3)
    expected = eight if encoding.startswith("rgb") or grey else eight[..., ::-1]
    assert np.array_equal(images.to_rgb(msg), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_as_cv_bridge_decodes(suffix):
    cv_bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge (PyPI: cv-bridge)")
    rgb = images.to_rgb(random_message("rgb8"))
    msg = CompressedImage(format="jpeg" if suffix == ".jpg" else "png")
    msg.data.frombytes(cv2.imencode(suffix, cv2.GaussianBlur(rgb, (7, 7), 2))[1])
    expected = cv_bridge.CvBridge().compressed_imgmsg_to_cv2(msg)[..., ::-1]
    assert np.array_equal(images.compressed_to_rgb(msg), expected)


def test_cv_bridge_reads_what_we_write():
    rgb = images.to_rgb(random_message("rgb8"))
    for encoding in ("rgb8", "bgr8"):
        msg = images.from_rgb(rgb, Image().header, encoding)
        assert np.array_equal(by_cv_bridge(msg), rgb)
