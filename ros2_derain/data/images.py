"""Image files: listing the ones of a folder, reading and writing them, and label maps.

Every command lists and reads images here. Files are read by Python and decoded from memory, so that
names that are not UTF-8 work; a truncated JPEG or PNG is refused; an EXIF orientation is applied.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ros2_derain.image_decoding import (
    JPEG_LEAD,
    JPEG_START,
    LFS_POINTER,
    PNG_SIGNATURE,
    ImageError,
    decode_inspected,
    inspect,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of image files, in lower case; capitals are accepted."""

JPEG_QUALITY = 95
GAP = 4
"""Pixels between images side by side."""

_LOSSLESS_WEBP = 101
_FAST_PNG = 1
_GREY, _PALETTE = 0, 3  # colour types of PNGs

T = TypeVar("T")


class DataError(Exception):
    """A dataset, image, label or video file cannot be used; the message says why and what to do."""


class UnreadableError(DataError):
    """An image file is missing, truncated, or not an image: of a folder, it is left out."""


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Sort key by which ``2.jpg`` comes before ``10.jpg``: numbers in a path are compared by value."""
    name = path.as_posix()
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", name)], name


def list_files(folder: Path, suffixes: Sequence[str], recursive: bool = False) -> list[Path]:
    """Files of a folder with one of these suffixes (lower case), in natural order; maybe none.

    Hidden files, such as ``._a.jpg`` and ``.DS_Store``, are left out.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: correct the path")
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        (
            path
            for path in found
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        ),
        key=natural_order,
    )


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """Image files of a folder in natural order, without hidden ones.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    found = list_files(folder, SUFFIXES, recursive)
    if not found:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)}): name the folder that holds them")
    return found


def check_unique_stems(paths: Iterable[Path]) -> None:
    """Refuse two files that differ in their suffix only.

    Raises:
        DataError: two files have one stem.
    """
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            first = by_stem[path.stem]
            raise DataError(f"{path.parent} holds {first.name} and {path.name}: keep one of them")
        by_stem[path.stem] = path


def check_files(paths: Iterable[Path], kind: str) -> None:
    """Raises DataError with the number of missing files and the first of them."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} {kind} files are missing, the first is {missing[0]}")


def check_same_size(first: np.ndarray, second: np.ndarray, first_path: Path, second_path: Path) -> None:
    """Raises DataError with both sizes where two images of one view differ in height or width."""
    if first.shape[:2] != second.shape[:2]:
        (height, width), (rows, columns) = first.shape[:2], second.shape[:2]
        raise DataError(
            f"{first_path} is {width}x{height} but {second_path} is {columns}x{rows}: they must be equal"
        )


def usable(items: Iterable[T], read: Callable[[T], object]) -> tuple[list[T], list[str]]:
    """The items of a folder that can be read, and the errors of the others.

    Args:
        items: files, or groups of files that belong together.
        read: reads one; an :class:`UnreadableError` of it leaves the item out.

    Raises:
        DataError: none can be read; or another error of ``read``.
    """
    kept, errors = [], []
    for item in items:
        try:
            read(item)
        except UnreadableError as error:
            errors.append(str(error))
        else:
            kept.append(item)
    if errors and not kept:
        raise DataError(f"none of {len(errors)} can be read; the first: {errors[0]}")
    return kept, errors


def left_out_note(errors: Sequence[str], total: int) -> str:
    """A note of what :func:`usable` left out, for the end of a command; empty where it left out nothing."""
    lines = (f"{len(errors)} of {total} left out:", *(f"  {error}" for error in errors))
    return "\n".join(lines) if errors else ""


def read_image(path: Path) -> np.ndarray:
    """An image file as H x W x 3 uint8 RGB, upright as its EXIF orientation says; alpha is dropped.

    16-bit samples are reduced to 8 bits.

    Raises:
        DataError: the file is missing, truncated, or cannot be decoded.
    """
    return cv2.cvtColor(_decode(_read_bytes(path), path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_label_map(path: Path) -> np.ndarray:
    """The ids of a label map: H x W uint8. Those of a palette PNG are its indices.

    Raises:
        DataError: the file is missing, truncated, or not an 8-bit image of one channel.
    """
    ids = read_stored(path)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        channels = ids.shape[2] if ids.ndim == 3 else 1
        raise DataError(
            f"{path} has {channels} channels of {ids.dtype}: a label map holds ids in one channel of uint8"
        )
    return ids


def read_stored(path: Path) -> np.ndarray:
    """An image file with the channels (BGR) and bits that are stored; palette PNGs as their indices.

    Raises:
        DataError: the file is missing, truncated, or cannot be decoded.
    """
    data, divisor = _palette_as_grey(_read_bytes(path))
    stored = _decode(data, path, cv2.IMREAD_UNCHANGED)
    return stored if divisor == 1 else stored // divisor


def write_image(path: Path, image: np.ndarray, quality: int = JPEG_QUALITY, fast: bool = False) -> None:
    """Write an H x W x 3 RGB or H x W uint8 image in the format of the file's suffix.

    JPEG has a quality of 1..100; PNG, BMP, TIFF and WebP are lossless. ``fast`` makes larger PNGs.

    Raises:
        DataError: it cannot be written.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    suffix = path.suffix.lower()
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, _FAST_PNG] if fast else [],
    }
    try:
        path.write_bytes(cv2.imencode(suffix, bgr, options.get(suffix, []))[1].tobytes())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    except cv2.error as error:
        raise DataError(f"{path} cannot be written: {error.err}") from error


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """H x W x 3 images of equal size in a row, with a white gap between them."""
    gap = np.full((images[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for image in images for part in (gap, image)]
    return np.hstack(parts[1:])


def split_side_by_side(row: np.ndarray, count: int) -> list[np.ndarray]:
    """The images of :func:`side_by_side`."""
    step = (row.shape[1] + GAP) // count
    return [row[:, k * step : (k + 1) * step - GAP] for k in range(count)]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableError(f"{path} is missing") from None
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror}") from error


def _decode(data: bytes, path: Path, flags: int) -> np.ndarray:
    if data.startswith(LFS_POINTER):
        raise UnreadableError(f"{path} is a Git LFS pointer, not the image: run 'git lfs pull'")
    try:
        inspected = data.startswith((JPEG_START, PNG_SIGNATURE))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and not inspected else None
        if inspected or image is None and JPEG_START in data[:JPEG_LEAD]:
            image = decode_inspected(data, inspect(data, path.suffix), flags)
    except ImageError as error:
        raise UnreadableError(f"{path} cannot be read: {error.detail}; restore it or leave it out") from error
    except cv2.error as error:
        raise UnreadableError(f"{path} cannot be decoded: {error.err}; restore it or leave it out") from error
    if image is None:
        raise UnreadableError(f"{path} is not an image that can be decoded: restore it or leave it out")
    return image


def _palette_as_grey(data: bytes) -> tuple[bytes, int]:
    """A PNG of one channel as a plain grey one, and the number that its decoded samples are divided by.

    OpenCV decodes a palette to its colours, and spreads samples of 1, 2 or 4 bits over 0..255. The indices
    of a palette PNG are stored as the samples of a grey one are: its header is changed, and the chunks
    of colours and transparency are left out.
    """
    start = len(PNG_SIGNATURE)
    if not data.startswith(PNG_SIGNATURE) or len(data) < start + 25:
        return data, 1
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", data, start + 8)
    if colour not in (_GREY, _PALETTE) or depth > 8:
        return data, 1
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, _GREY, *rest)
    parts = [PNG_SIGNATURE, struct.pack(">I", 13), header, struct.pack(">I", zlib.crc32(header))]
    position = start + 25
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"PLTE", b"tRNS"):
            parts.append(data[position:end])
        position = end
    return b"".join(parts), 255 // ((1 << depth) - 1)
