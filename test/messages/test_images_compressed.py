"""Compressed images: real JPEG and PNG files, damaged ones, bombs."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from ros2_derain.messages import images
from ros2_derain.messages.images import ImageError


def scene(height=120, width=160):
    """Smooth in colour and a little noisy, as a camera's image is."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.dstack([x * 255 // width, y * 255 // height, 255 - x * 255 // width])
    noise = np.random.default_rng(3).integers(-6, 7, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def file_of(image, suffix, *options):
    """image (grey, RGB or RGBA) as the bytes of a file."""
    order = {2: ..., 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.ndim if image.ndim == 2 else image.shape[2]]
    done, data = cv2.imencode(suffix, image if order is ... else image[..., order], options)
    assert done
    return data.tobytes()


def message(data, image_format="jpeg"):
    msg = CompressedImage(format=image_format)
    msg.data.frombytes(data)
    return deserialize_message(serialize_message(msg), CompressedImage)


def refused(data, *causes, words=(), image_format="jpeg", **options):
    with pytest.raises(ImageError) as caught:
        images.compressed_to_rgb(message(data, image_format), **options)
    assert caught.value.cause in causes and caught.value.cause in images.CAUSES
    for word in ("image refused: ", *words):
        assert word in str(caught.value)


def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows, *extra):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND"),
        ]
    )


def test_png_is_exact():
    seen = images.compressed_to_rgb(message(file_of(scene(), ".png"), "rgb8; png compressed bgr8"))
    assert np.array_equal(seen, scene())
    assert seen.dtype == np.uint8 and seen.flags.c_contiguous


@pytest.mark.parametrize(
    "options",
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    ],
)
def test_jpeg_is_close(options):
    data = file_of(scene(), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95, *options)
    seen = images.compressed_to_rgb(message(data))
    assert seen.shape == scene().shape
    assert np.abs(seen.astype(int) - scene()).mean() < 5


@pytest.mark.parametrize("image_format", ["", "jpeg", "png", "rgb8; jpeg compressed bgr8", "x" * 500])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_content_decides_not_the_format(suffix, image_format):
    data = file_of(scene(), suffix)
    assert np.array_equal(
        images.compressed_to_rgb(message(data, image_format)), images.compressed_to_rgb(message(data))
    )


def test_grey_files():
    grey = scene()[..., 0]
    exact = images.compressed_to_rgb(message(file_of(grey, ".png"), "mono8; png compressed "))
    assert np.array_equal(exact, np.dstack([grey] * 3))
    close = images.compressed_to_rgb(message(file_of(grey, ".jpg"), "mono8; jpeg compressed "))
    assert close.shape == (120, 160, 3) and np.abs(close[..., 2].astype(int) - grey).mean() < 4


def test_16_bit_png_is_reduced_to_8():
    deep = scene().astype(np.uint16) * 257
    assert np.array_equal(images.compressed_to_rgb(message(file_of(deep, ".png"))), scene())
    grey = images.compressed_to_rgb(message(file_of(deep[..., 1], ".png")))
    assert np.array_equal(grey[..., 0], scene()[..., 1])


def test_alpha_is_dropped_not_blended():
    rgba = np.dstack([scene(), np.zeros((120, 160), np.uint8)])
    assert np.array_equal(images.compressed_to_rgb(message(file_of(rgba, ".png"))), scene())


def test_palette_png():
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    rows = b"".join(b"\0" + bytes([0, 1] * 32) for _ in range(64))
    seen = images.compressed_to_rgb(message(png(64, 64, 8, 3, rows, palette)))
    assert seen[5, 4].tolist() == [10, 20, 30] and seen[5, 5].tolist() == [200, 100, 50]


def test_bilevel_png():
    rows = b"".join(b"\0" + b"\xf0" * 8 for _ in range(64))
    seen = images.compressed_to_rgb(message(png(64, 64, 1, 0, rows)))
    assert seen[0, :8, 1].tolist() == [255] * 4 + [0] * 4


def test_bayer_mosaic_in_a_png_is_demosaiced():
    mosaic = np.zeros((64, 64), np.uint8)
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 200, 50
    mosaic[::2, 1::2] = mosaic[1::2, ::2] = 120
    data = file_of(mosaic, ".png")
    seen = images.compressed_to_rgb(message(data, "bayer_rggb8; png compressed "))
    assert (seen[2:-2, 2:-2] == [200, 120, 50]).all()
    colour = images.compressed_to_rgb(message(file_of(scene(), ".png"), "bayer_rggb8; png compressed bgr8"))
    assert np.array_equal(colour, scene())


def test_exif_orientation_is_not_followed():
    jpeg = file_of(scene(), ".jpg")
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation: rotate by 90 degrees
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + b"\0" * 4
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (160, 120, 3)
    assert np.array_equal(images.compressed_to_rgb(message(turned)), images.compressed_to_rgb(message(jpeg)))


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_files_are_refused_at_every_length(suffix, options):
    data = file_of(scene(), suffix, *(options if suffix == ".jpg" else ()))
    for percent in range(5, 100, 5):
        refused(data[: len(data) * percent // 100], "truncated", words=["cut off"])
    for missing in range(1, 5):
        if suffix == ".png" or options:
            refused(data[:-missing], "truncated")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_files_cut_in_their_header_are_refused(suffix):
    data = file_of(scene(64, 64), suffix)
    for length in range(8, 700):
        refused(data[:length], "truncated", words=[f"{length} bytes"])


def test_fill_bytes_before_a_jpeg_marker_are_skipped():
    jpeg = file_of(scene(), ".jpg")
    filled = jpeg[:2] + b"\xff" * 5 + jpeg[2:]
    assert np.array_equal(images.compressed_to_rgb(message(filled)), images.compressed_to_rgb(message(jpeg)))


def test_cut_jpeg_with_a_thumbnail_is_refused():
    jpeg, thumbnail = file_of(scene(), ".jpg"), file_of(scene(16, 16), ".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg[:2] + segment + jpeg[2:]
    assert images.compressed_to_rgb(message(whole)).shape == (120, 160, 3)
    refused(whole[:-50], "truncated")


def test_webcam_jpeg_without_huffman_tables_is_read():
    """USB cameras leave out the standard tables, as the AVI MJPEG format allows."""
    jpeg = file_of(scene(), ".jpg")
    bare, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        bare += jpeg[at : at + 2 + length] if jpeg[at + 1] != 0xC4 else b""
        at += 2 + length
    bare += jpeg[at:]
    assert len(bare) < len(jpeg) - 100
    assert np.array_equal(images.compressed_to_rgb(message(bare)), images.compressed_to_rgb(message(jpeg)))


def test_padded_jpeg_buffer_is_read_and_a_cut_padded_one_is_refused():
    jpeg = file_of(scene(), ".jpg")
    whole = images.compressed_to_rgb(message(jpeg + b"\0" * 1000))
    assert np.array_equal(whole, images.compressed_to_rgb(message(jpeg)))
    refused(jpeg[:-300] + b"\0" * 1000, "truncated")


def test_damaged_png_is_refused_wherever_the_damage_is():
    data = file_of(scene(64, 64), ".png")
    for at in range(8, len(data), max(1, len(data) // 97)):
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        refused(bytes(damaged), "decode", "truncated")


def test_damaged_jpeg_header_is_refused():
    jpeg = bytearray(file_of(scene(), ".jpg"))
    jpeg[4:6] = b"\0\2"
    refused(bytes(jpeg), "decode", words=["no marker at byte 6"])


@pytest.mark.parametrize("width, height", [(60000, 60000), (2**31 - 1, 2**31 - 1), (8193, 8192)])
def test_png_bomb_is_refused_by_its_header(width, height):
    refused(png(width, height, 8, 2, bytes(2_000_000)), "too_large", words=[f"{width} x {height}"])


def test_jpeg_bomb_is_refused_by_its_header():
    jpeg = bytearray(file_of(scene(), ".jpg"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65500, 65500)
    refused(bytes(jpeg), "too_large", words=["65500 x 65500"])


def test_largest_size_is_the_callers():
    for suffix in (".jpg", ".png"):
        data = file_of(scene(), suffix)
        assert images.compressed_to_rgb(message(data), max_pixels=160 * 120).shape == (120, 160, 3)
        refused(data, "too_large", max_pixels=160 * 120 - 1)


def test_small_files_are_refused():
    refused(file_of(scene(63, 100), ".jpg"), "size", words=["100 x 63"])
    refused(file_of(scene(100, 63), ".png"), "size", words=["63 x 100"])
    refused(png(0, 64, 8, 2, b""), "size", words=["0 x 64"])


def test_other_content_is_refused():
    refused(b"", "length", words=["'jpeg' is empty"])
    refused(b"\xff", "format", words=["1 bytes", "ff"])
    refused(file_of(scene(), ".bmp"), "format", words=["none of JPEG, PNG, TIFF and WebP", "42 4d"])
    for named, start in (("h264", b"\0\0\0\x01\x67"), ("video/HEVC", b"\x01\x02"), ("", b"\0\0\x01\x40")):
        refused(start + bytes(300), "format", image_format=named, words=["image_transport republish"])
    depth = struct.pack("<Iff", 0, 0.0, 0.0) + file_of(scene()[..., 0], ".png")
    refused(depth, "format", image_format="16UC1; compressedDepth png", words=["compressedDepth"])


def test_jpeg_without_end_marker_and_with_bytes_before_it_is_read_like_any():
    for options in ((), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)):
        jpeg = file_of(scene(), ".jpg", *options)
        expected = images.compressed_to_rgb(message(jpeg))
        unusual = {
            jpeg[:-2]: "no end marker",
            jpeg[:-1]: "no end marker",
            jpeg[:-2] + bytes(99): "no end marker",
        }
        unusual[b"HEAD\xff\xd8\0" * 9 + jpeg] = "63 bytes before its start"
        for data, note in unusual.items():
            assert np.array_equal(images.compressed_to_rgb(message(data)), expected)
            assert note in images.note(message(data))
        assert images.note(message(jpeg)) == ""


def test_grey_pixels_at_the_end_of_a_jpeg_are_read_where_it_has_an_end():
    grey = scene()
    grey[-32:] = 128
    jpeg = file_of(grey, ".jpg")
    assert (images.compressed_to_rgb(message(jpeg))[-1, -1] == 128).all()
    refused(jpeg[:-2], "truncated")


@pytest.mark.parametrize("suffix", [".tiff", ".webp"])
def test_tiff_and_webp(suffix):
    for image in (scene(), scene()[..., 0]):
        data = file_of(image, suffix, *((cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()))
        seen = images.compressed_to_rgb(message(data, f"bgr8; {suffix[1:]} compressed bgr8"))
        assert np.array_equal(seen, image if image.ndim == 3 else np.dstack([image] * 3))
        refused(data, "too_large", max_pixels=160 * 120 - 1)
        for percent in range(0, 100, 7):
            refused(data[: len(data) * percent // 100], "truncated", "length", "format", "decode")
    lossy = images.compressed_to_rgb(message(file_of(scene(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 80)))
    assert np.abs(lossy.astype(int) - scene()).mean() < 6
    refused(file_of(scene(63, 100), suffix), "size", words=["100 x 63"])


def test_tiff_of_16_bits_is_reduced_and_of_floats_refused():
    deep = scene()[..., 1].astype(np.uint16) * 257
    assert np.array_equal(images.compressed_to_rgb(message(file_of(deep, ".tiff")))[..., 0], scene()[..., 1])
    refused(file_of(scene()[..., 0].astype(np.float32), ".tiff"), "format", words=["float32"])


def test_12_bits_in_a_png_of_16_are_scaled_to_white():
    seen = images.compressed_to_rgb(
        message(file_of(scene()[..., 1].astype(np.uint16) * 16, ".png"), "mono16; png")
    )
    assert np.abs(seen[..., 0].astype(int) - scene()[..., 1]).max() <= 1


def test_png_without_pixels_is_refused():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    refused(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND"), "decode")
    refused(b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"), "truncated")
    refused(png(64, 64, 8, 2, b"\0" * 193 * 10), "decode")


JPEG, PNG = (file_of(scene(64, 64), suffix) for suffix in (".jpg", ".png"))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([JPEG, PNG]), st.integers(0, 20_000), st.binary(max_size=9), st.integers(0, 9))
def test_whatever_arrives_is_whole_or_refused(data, at, inserted, removed):
    at = at % len(data)
    try:
        seen = images.compressed_to_rgb(
            message(data[:at] + inserted + data[at + removed :]), max_pixels=10_000
        )
    except ImageError as error:
        assert error.cause in images.CAUSES
    else:
        assert seen.dtype == np.uint8 and seen.ndim == 3 and seen.shape[2] == 3


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=300))
def test_noise_is_refused(start, noise):
    refused(start + noise, "length", "format", "truncated", "decode", "size", "too_large")


def test_real_files(data_dir):
    for path in [
        *sorted((data_dir / "camvid/val/images").glob("*.jpg"))[:5],
        *sorted((data_dir / "rain_pairs").rglob("*.png"))[:5],
        *sorted((data_dir / "camvid/val/labels").glob("*.png"))[:2],
    ]:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        expected = cv2.imread(str(path), flags)[..., ::-1]
        seen = images.compressed_to_rgb(message(path.read_bytes()))
        assert np.array_equal(seen, expected), path
