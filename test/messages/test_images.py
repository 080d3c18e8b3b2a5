"""Image messages to RGB and back: every encoding, every bad input."""

import re

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros2_derain.messages import images
from ros2_derain.messages.images import ImageError

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id="camera_front")
YUV = ("nv12", "nv21", "uyvy", "yuv422", "yuyv", "yuv422_yuy2")
BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def message(rows, encoding, width=None, step=None, is_bigendian=False, height=None):
    """A message as it comes off the wire, from rows x row-bytes uint8."""
    msg = Image(header=HEADER, encoding=encoding, is_bigendian=int(is_bigendian))
    msg.height = rows.shape[0] if height is None else height
    msg.width = rows.shape[1] if width is None else width
    msg.step = rows.shape[1] if step is None else step
    msg.data.frombytes(np.ascontiguousarray(rows).tobytes())
    return deserialize_message(serialize_message(msg), Image)


def patches(height=72, width=96):
    """Six flat patches of strong, different colours."""
    colours = np.array(
        [[[200, 30, 40], [30, 190, 50], [40, 50, 210]], [[220, 210, 30], [128, 128, 128], [25, 205, 215]]],
        np.uint8,
    )
    return colours.repeat(height // 2, axis=0).repeat(width // 3, axis=1)


def yuv(rgb):
    """BT.601 in the video range, in float: Y, U, V planes (ITU-R BT.601-7, 2.5)."""
    red, green, blue = np.moveaxis(rgb.astype(float), 2, 0) / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = 16 + 219 * luma, 128 + 112 / 0.886 * (blue - luma), 128 + 112 / 0.701 * (red - luma)
    return [np.rint(plane).astype(np.uint8) for plane in planes]


def mosaic(rgb, pattern):
    """What a sensor with this colour filter sees: pattern names its first 2 x 2."""
    out = np.empty(rgb.shape[:2], np.uint8)
    for i, colour in enumerate(pattern):
        y, x = divmod(i, 2)
        out[y::2, x::2] = rgb[y::2, x::2, "RGB".index(colour)]
    return out


def encode(rgb, encoding):
    """rgb as rows x row-bytes in any encoding, by the encodings' definitions."""
    if encoding.startswith("bayer_"):
        sensor = mosaic(rgb, BAYER[encoding[6:10]])
        return (sensor.astype("<u2") * 257).view(np.uint8) if encoding.endswith("16") else sensor
    if encoding in YUV:
        return encode_yuv(rgb, encoding)
    grey = rgb[..., 1:2]
    alpha = np.full_like(grey, 77)
    order = {
        "rgb": rgb,
        "bgr": rgb[..., ::-1],
        "rgba": np.dstack([rgb, alpha]),
        "bgra": np.dstack([rgb[..., ::-1], alpha]),
        "mono": grey,
        "UC1": grey,
        "UC3": rgb[..., ::-1],
        "UC4": np.dstack([rgb[..., ::-1], alpha]),
        "FC1": grey,
        "FC3": rgb[..., ::-1],
    }
    kind = re.sub("^8|^32|8$|16$", "", encoding)
    samples = order[kind]
    if encoding.endswith("16"):
        samples = samples.astype("<u2") * 257
    if encoding.startswith("32F"):
        samples = (samples / 255).astype("<f4")
    return np.ascontiguousarray(samples).reshape(len(rgb), -1).view(np.uint8)


def encode_yuv(rgb, encoding):
    luma, u, v = yuv(rgb)
    if encoding in ("nv12", "nv21"):
        pair = [u, v] if encoding == "nv12" else [v, u]
        chroma = np.dstack([plane[::2, ::2] for plane in pair]).reshape(len(rgb) // 2, -1)
        return np.vstack([luma, chroma])
    packed = np.empty((*luma.shape, 2), np.uint8)
    at = 1 if encoding in ("uyvy", "yuv422") else 0
    packed[..., at] = luma
    packed[:, ::2, 1 - at], packed[:, 1::2, 1 - at] = u[:, ::2], v[:, ::2]
    return packed.reshape(len(rgb), -1)


def as_message(rgb, encoding, padding=0):
    rows = encode(rgb, encoding)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=173)
    return message(padded, encoding, width=rgb.shape[1], height=rgb.shape[0])


def is_grey(encoding):
    return encoding in ("mono8", "mono16", "8UC1", "32FC1")


@pytest.mark.parametrize("padding", [0, 8, 13])
@pytest.mark.parametrize("encoding", images.ENCODINGS)
def test_every_encoding_gives_the_image_back(encoding, padding):
    rgb = patches()
    expected = rgb[..., 1:2].repeat(3, 2) if is_grey(encoding) else rgb
    seen = images.to_rgb(as_message(rgb, encoding, padding))
    assert seen.shape == rgb.shape and seen.dtype == np.uint8 and seen.flags.c_contiguous
    if encoding.startswith("bayer"):  # bilinear: exact inside the patches
        inside = [s + o for s in (0, 36) for o in range(2, 34)]
        across = [s + o for s in (0, 32, 64) for o in range(2, 30)]
        seen, expected = seen[np.ix_(inside, across)], expected[np.ix_(inside, across)]
    tolerance = 3 if encoding in YUV else 0
    assert np.abs(seen.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16"])
def test_random_pixels_survive_exactly(encoding):
    rgb = np.random.default_rng(5).integers(0, 256, (67, 91, 3), np.uint8)
    assert np.array_equal(images.to_rgb(as_message(rgb, encoding)), rgb)


def test_rgb8_is_a_view_of_the_message():
    msg = images.from_rgb(patches(), HEADER)
    seen = images.to_rgb(msg)
    assert np.shares_memory(seen, np.frombuffer(msg.data, np.uint8))


def test_an_image_does_not_keep_the_padding():
    msg = as_message(patches(), "rgb8", padding=5)
    assert not np.shares_memory(images.to_rgb(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize("encoding", [e for e in images.ENCODINGS if e.endswith("16")])
def test_16_bit_byte_order_is_honoured(encoding):
    little = encode(patches(), encoding).view("<u2")
    little = little // 3 + 5  # low and high byte differ
    big = little.astype(">u2")
    seen = [
        images.to_rgb(message(values.view(np.uint8), encoding, width=96, is_bigendian=flag))
        for values, flag in ((little, False), (big, True))
    ]
    assert np.array_equal(*seen)
    assert not np.array_equal(
        seen[0], images.to_rgb(message(little.view(np.uint8), encoding, 96, is_bigendian=True))
    )


def test_float_byte_order_is_honoured():
    big = encode(patches(), "32FC3").view("<f4").astype(">f4").view(np.uint8)
    msg = message(big, "32FC3", width=96, is_bigendian=True)
    assert np.array_equal(images.to_rgb(msg), patches())


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "uyvy", "nv12", "bayer_rggb8"])
def test_byte_order_means_nothing_for_8_bit(encoding):
    little, big = as_message(patches(), encoding), as_message(patches(), encoding)
    big.is_bigendian = 1
    assert np.array_equal(images.to_rgb(little), images.to_rgb(big))


def test_16_bit_is_scaled_and_rounded():
    values = np.zeros((64, 64), "<u2")
    values[0, :6] = [0, 128, 129, 257, 65406, 65535]
    seen = images.to_rgb(message(values.view(np.uint8), "mono16", width=64))
    assert seen[0, :6, 0].tolist() == [0, 0, 1, 1, 254, 255]


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
@pytest.mark.parametrize("bits", [12, 14, 16])
def test_white_of_16_bit_samples_is_the_depth_that_holds_their_maximum_or_mono16_max(encoding, bits):
    white = (1 << bits) - 1
    values = np.full((64, 64 * (3 if encoding == "rgb16" else 1)), white, "<u2")
    msg = message(values.view(np.uint8), encoding, width=64)
    assert (images.to_rgb(msg) == 255).all()
    assert (images.to_rgb(msg, mono16_max=65535) == round(255 * white / 65535)).all()
    assert (images.to_rgb(msg, mono16_max=4095) == 255).all()


@pytest.mark.parametrize("encoding", images.ENCODINGS)
def test_names_in_other_letters_are_the_same(encoding):
    expected = images.to_rgb(as_message(patches(), encoding))
    for name in (encoding.upper(), encoding.lower(), encoding.title()):
        msg = as_message(patches(), encoding)
        msg.encoding = name
        assert np.array_equal(images.to_rgb(msg), expected)


@pytest.mark.parametrize("encoding", ["nv12", "NV21"])
def test_step_of_a_planar_image_may_count_both_planes(encoding):
    msg = as_message(patches(72, 96), encoding.lower())
    expected = images.to_rgb(msg)
    msg.step, msg.encoding = 144, encoding
    assert np.array_equal(images.to_rgb(msg), expected)
    msg.step = 143
    refused(msg, "length", "10368 bytes")


def refused(msg, cause, *words, convert=images.to_rgb, **options):
    """The message is refused for this cause, and the text names the values."""
    with pytest.raises(ImageError) as caught:
        convert(msg, **options)
    assert caught.value.cause == cause
    assert caught.value.cause in images.CAUSES
    for word in ("image refused: ", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("encoding", ["", "rgb", "yuv420", "16UC1", "8UC2", "8UC", "jpeg", "é" * 300])
def test_unknown_encoding_is_refused(encoding):
    msg = as_message(patches(), "rgb8")
    msg.encoding = encoding
    refused(msg, "encoding", repr(encoding[:40])[:-1], "bgr8")


def test_short_step_is_refused():
    msg = message(np.zeros((480, 1900), np.uint8), "bgr8", width=640)
    refused(msg, "step", "step 1900 is less than width 640 * 3 bytes of encoding bgr8")


@pytest.mark.parametrize("encoding", images.ENCODINGS)
def test_zero_step_is_refused(encoding):
    msg = as_message(patches(), encoding)
    msg.step = 0
    refused(msg, "step", "step 0", encoding)


@pytest.mark.parametrize("change", [-1, 1, -288, 288])
@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "nv12", "yuyv"])
def test_wrong_length_is_refused(encoding, change):
    msg = as_message(patches(), encoding)
    size = len(msg.data)
    msg.data = msg.data[:change] if change < 0 else msg.data + msg.data[:change]
    refused(msg, "length", f"{size + change} bytes", str(size))


def test_missing_data_is_refused():
    msg = as_message(patches(), "rgb8")
    del msg.data[:]
    refused(msg, "length", "0 bytes")


def test_nv12_with_the_height_of_its_buffer_is_refused():
    msg = as_message(patches(72, 96), "nv12")
    msg.height = 108
    refused(msg, "length", "10368 bytes")


@pytest.mark.parametrize("height, width", [(0, 0), (0, 640), (480, 0), (63, 640), (480, 63)])
def test_zero_and_small_sizes_are_refused(height, width):
    msg = message(np.zeros((height, 3 * width), np.uint8), "rgb8", width=width)
    refused(msg, "size", f"{width} x {height}", "at least 64")


@pytest.mark.parametrize(
    "encoding, height, width, side",
    [("uyvy", 72, 97, "width"), ("nv12", 72, 97, "width"), ("nv21", 73, 96, "height")],
)
def test_odd_sizes_are_refused_where_chroma_is_shared(encoding, height, width, side):
    msg = as_message(patches(), encoding)
    msg.height, msg.width = height, width
    refused(msg, "size", f"{width} x {height}", f"even {side}")


def test_too_large_is_refused_before_memory_is_taken():
    msg = Image(encoding="bgr8", height=2**32 - 1, width=2**32 - 1, step=2**32 - 1)
    refused(msg, "too_large", "4294967295 x 4294967295", str(images.MAX_PIXELS))


def test_largest_size_is_the_callers():
    msg = as_message(patches(72, 96), "rgb8")
    assert images.to_rgb(msg, max_pixels=72 * 96).shape == (72, 96, 3)
    refused(msg, "too_large", "96 x 72", "6911", max_pixels=72 * 96 - 1)


@pytest.mark.parametrize("encoding", ["32FC1", "32FC3"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(encoding, value):
    values = encode(patches(), encoding).view("<f4").copy()
    values[40, 50] = value
    refused(message(values.view(np.uint8), encoding, width=96), "not_finite", encoding)


@pytest.mark.parametrize("value", [-0.5, 255.0, 82.5])
def test_depth_in_metres_is_no_camera_image(value):
    values = np.full((64, 64), 0.5, "<f4")
    values[3, 4] = value
    refused(message(values.view(np.uint8), "32FC1", width=64), "range", f"{value:g}")


def test_floats_within_half_a_level_of_the_range_are_clipped():
    values = np.full((64, 64), 1.001, "<f4")
    values[0] = -0.001
    seen = images.to_rgb(message(values.view(np.uint8), "32FC1", width=64))
    assert seen[0, 0].tolist() == [0] * 3 and seen[1, 0].tolist() == [255] * 3


WHOLE = st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.one_of(st.sampled_from(images.ENCODINGS), st.text(max_size=12)),
        "height": WHOLE,
        "width": WHOLE,
        "step": WHOLE,
        "is_bigendian": st.integers(0, 255),
    },
)


@settings(max_examples=400, deadline=None)
@given(
    encoding=st.sampled_from(images.ENCODINGS),
    height=st.integers(30, 50).map(lambda n: 2 * n),
    width=st.integers(30, 50).map(lambda n: 2 * n),
    padding=st.integers(0, 9),
    resize=st.sampled_from([0, 0, 0, -1, 1, 500]),
    changes=CHANGES,
    seed=st.integers(0, 99),
)
def test_whatever_arrives_is_whole_or_refused(encoding, height, width, padding, resize, changes, seed):
    rows, row = encode(np.zeros((height, width, 3), np.uint8), encoding).shape
    msg = Image(encoding=encoding, height=height, width=width, step=row + padding)
    size = rows * msg.step + resize
    msg.data.frombytes(np.random.default_rng(seed).bytes(size))
    for name, value in changes.items():
        setattr(msg, name, value)
    good = not changes and not resize and min(height, width) >= 64
    try:
        seen = images.to_rgb(msg)
    except ImageError as error:
        assert error.cause in images.CAUSES
        assert not good or error.cause in ("not_finite", "range")
    else:
        assert seen.shape == (msg.height, msg.width, 3) and min(seen.shape[:2]) >= 64
        assert seen.dtype == np.uint8 and seen.flags.c_contiguous


def test_header_and_layout_of_a_written_message():
    msg = images.from_rgb(patches(), HEADER)
    assert msg.header is HEADER
    back = deserialize_message(serialize_message(msg), Image)
    assert back.header == HEADER
    assert (back.height, back.width, back.step) == (72, 96, 288)
    assert (back.encoding, back.is_bigendian) == ("rgb8", 0)
    assert np.array_equal(images.to_rgb(back), patches())


def test_written_bgr8_reads_back():
    msg = images.from_rgb(patches(), HEADER, "bgr8")
    assert msg.encoding == "bgr8" and msg.data[:3].tolist() == [40, 30, 200]
    assert np.array_equal(images.to_rgb(msg), patches())


def test_written_message_is_independent_of_the_array():
    rgb = patches()
    msg = images.from_rgb(rgb, HEADER)
    rgb[:] = 0
    assert np.array_equal(images.to_rgb(msg), patches())


def test_a_cropped_array_can_be_written():
    crop = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)[5:75, ::-1]
    assert np.array_equal(images.to_rgb(images.from_rgb(crop, HEADER)), crop)


def test_mono_reads_back():
    labels = np.random.default_rng(1).integers(0, 256, (30, 41), np.uint8)
    msg = images.from_mono(labels, HEADER)
    assert (msg.encoding, msg.step, msg.header) == ("mono8", 41, HEADER)
    assert np.array_equal(images.to_mono(msg), labels)
    padded = np.pad(labels, ((0, 0), (0, 7)))
    seen = images.to_mono(message(padded, "mono8", width=41))
    assert np.array_equal(seen, labels) and seen.flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 8, 8), (11, 9, 12), (19, 90, 160), (256, 3, 2)])
def test_channels_read_back(shape):
    prior = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    msg = images.from_channels(prior, HEADER)
    assert (msg.encoding, msg.height, msg.width) == (f"8UC{shape[0]}", *shape[1:])
    assert msg.data[: shape[0]].tolist() == prior[:, 0, 0].tolist()
    back = images.to_channels(deserialize_message(serialize_message(msg), Image))
    assert np.array_equal(back, prior) and back.flags.c_contiguous


def test_bad_channel_and_mono_messages_are_refused():
    msg = images.from_channels(np.zeros((11, 9, 12), np.uint8), HEADER)
    refused(msg, "encoding", "'8UC11'", convert=images.to_mono)
    msg.step -= 1
    refused(msg, "step", "step 131", "12 * 11", convert=images.to_channels)
    msg.step += 2
    refused(msg, "length", "1188 bytes", convert=images.to_channels)
    msg.height = 0
    refused(msg, "size", "12 x 0", convert=images.to_channels)
    for encoding in ("8UC", "8UC0", "mono8", "8UC99999"):
        msg.encoding = encoding
        refused(msg, "encoding", repr(encoding), convert=images.to_channels)


@pytest.mark.parametrize(
    "write, array, words",
    [
        (images.from_rgb, np.zeros((64, 64), np.uint8), "H x W x 3 uint8, got 64 x 64 uint8"),
        (images.from_rgb, np.zeros((64, 64, 4), np.uint8), "got 64 x 64 x 4 uint8"),
        (images.from_rgb, np.zeros((64, 64, 3), np.float32), "got 64 x 64 x 3 float32"),
        (images.from_rgb, np.zeros((0, 64, 3), np.uint8), "got 0 x 64 x 3 uint8"),
        (images.from_mono, np.zeros((8, 8, 1), np.uint8), "H x W uint8, got 8 x 8 x 1 uint8"),
        (images.from_mono, np.zeros((8, 8), bool), "got 8 x 8 bool"),
        (images.from_channels, np.zeros((8, 8), np.uint8), "K x h x w uint8, got 8 x 8 uint8"),
        (images.from_channels, np.zeros((4, 8, 8), np.int64), "got 8 x 8 x 4 int64"),
        (images.compress_rgb, np.zeros((64, 64), np.uint8), "got 64 x 64 uint8"),
    ],
)
def test_arrays_that_are_no_image_are_not_written(write, array, words):
    refused(array, "size", words, convert=write, header=HEADER)


def test_encodings_that_are_not_written():
    refused(patches(), "encoding", "'yuyv'", convert=images.from_rgb, header=HEADER, encoding="yuyv")


def test_compressed_message_reads_back_nearly():
    smooth = cv2.resize(patches(), (320, 240), interpolation=cv2.INTER_LINEAR)
    msg = images.compress_rgb(smooth, HEADER, quality=95)
    assert (msg.header, msg.format) == (HEADER, "rgb8; jpeg compressed bgr8")
    error = np.abs(images.compressed_to_rgb(msg).astype(int) - smooth)
    assert error.mean() < 3
    assert len(images.compress_rgb(smooth, HEADER, quality=20).data) < len(msg.data)
