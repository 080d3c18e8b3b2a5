"""Image files as they are found in the field: order, names, orientation, truncation, label maps."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import DataError, list_images, read_image
from ros2_derain.data.images import SUFFIXES, read_label_map, usable, write_image

ROTATED = 6  # EXIF: the stored image is to be turned by 90 degrees clockwise


@pytest.fixture
def image() -> np.ndarray:
    """40 x 64, red above, noisy blue below."""
    image = np.full((40, 64, 3), (200, 20, 20), np.uint8)
    image[20:] = np.random.default_rng(0).integers(0, 255, (20, 64, 3), np.uint8)
    return image


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF segment that holds nothing else."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def png(path: Path, indices: np.ndarray, depth: int, palette: bool) -> None:
    """A PNG of one channel with 1, 2, 4 or 8 bits, grey or with a palette of arbitrary colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = indices.shape
    rows = b""
    for row in indices:
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    colours = np.random.default_rng(1).integers(0, 255, (1 << depth, 3), np.uint8)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3 if palette else 0, 0, 0, 0))
        + (chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", b"\0") if palette else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_images_are_listed_in_natural_order_without_hidden_files_and_folders(tmp_path):
    names = ["1.jpg", "2.JPG", "10.jpeg", "frame9.tif", "frame10.tiff", "frame11.png", "z.bmp", "z.webp"]
    for name in (*names, "._1.jpg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "3.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == names


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "._1.jpg").touch()
    with pytest.raises(DataError, match="holds no image"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_written_and_read_as_rgb(tmp_path, image, suffix):
    write_image(tmp_path / f"a{suffix}", image)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.shape == image.shape and back.dtype == np.uint8 and back.flags.c_contiguous
    limit = 12 if suffix in (".jpg", ".jpeg") else 0
    assert np.abs(back[:18].astype(int) - image[:18]).max() <= limit


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_truncated_file_is_refused(tmp_path, image, suffix, share):
    path = tmp_path / f"cut{suffix}"
    write_image(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=f"cut{suffix} .*(decoded|cut off)"):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path, image):
    path = tmp_path / "phone.jpg"
    write_image(path, image, 100)
    upright = read_image(path)
    path.write_bytes(with_orientation(path.read_bytes(), ROTATED))
    assert np.array_equal(read_image(path), np.rot90(upright, -1))


def test_a_name_that_is_not_utf_8_is_read_and_written(tmp_path, image):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/stra\xdfe.png"))
    write_image(path, image)
    assert list_images(tmp_path) == [path] and np.array_equal(read_image(path), image)


def test_a_jpeg_file_without_end_marker_or_with_bytes_before_it_is_read(tmp_path, image):
    path = tmp_path / "whole.jpg"
    write_image(path, image)
    for unusual in (path.read_bytes()[:-2], b"HEADER" + path.read_bytes()):
        (tmp_path / "unusual.jpg").write_bytes(unusual)
        assert (read_image(tmp_path / "unusual.jpg") == read_image(path)).all()


def test_a_git_lfs_pointer_says_what_to_do(tmp_path):
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match="a.png is a Git LFS pointer, not the image: run 'git lfs pull'"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_label_maps_hold_their_indices(tmp_path, depth, palette, capfd):
    indices = np.random.default_rng(depth).integers(0, 1 << depth, (7, 11), np.uint8)
    png(tmp_path / "labels.png", indices, depth, palette)
    assert np.array_equal(read_label_map(tmp_path / "labels.png"), indices)
    assert not capfd.readouterr().err, "libpng has nothing to complain of"


def test_label_maps_of_colours_or_16_bits_are_refused(tmp_path, image):
    write_image(tmp_path / "a.png", image)
    with pytest.raises(DataError, match="a.png has 3 channels of uint8: a label map holds ids in one"):
        read_label_map(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((4, 4), np.uint16))
    with pytest.raises(DataError, match="b.png has 1 channels of uint16"):
        read_label_map(tmp_path / "b.png")


def test_what_cannot_be_read_is_left_out_unless_nothing_remains(tmp_path, image):
    for name in ("1.png", "2.png"):
        write_image(tmp_path / name, image)
    (tmp_path / "3.png").write_bytes(b"")
    kept, errors = usable(list_images(tmp_path), read_image)
    assert [path.name for path in kept] == ["1.png", "2.png"]
    assert len(errors) == 1 and "3.png is not an image" in errors[0]
    with pytest.raises(DataError, match="none of 1 can be read; the first: .*3.png"):
        usable([tmp_path / "3.png"], read_image)
