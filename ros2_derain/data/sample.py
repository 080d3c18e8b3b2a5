"""One picture and what is known of it; how pictures are found and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.data.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Sample:
    """One picture and what is known of it.

    Attributes:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids, 255 = unlabelled; None where there are no labels.
        boxes: M x 5 float32 (class index, x0, y0, x1, y1); None where boxes are unknown.
        driving: a road scene (rain with veil), else a photograph.
    """

    image: np.ndarray
    labels: np.ndarray | None
    boxes: np.ndarray | None
    driving: bool


def read_image(path: Path) -> np.ndarray:
    """H x W x 3 uint8 RGB, as stored: an EXIF orientation is not applied, for labels and boxes know none.

    Raises:
        DataError: the file is missing or no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(f"{path} is missing or not an image")
    return np.ascontiguousarray(image[:, :, ::-1])


def list_images(folder: Path) -> list[Path]:
    """Pictures of a folder in order of name; hidden files are passed over.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the data folder by --data or ROS2_DERAIN_DATA")
    images = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not images:
        raise DataError(f"{folder} holds no .jpg, .png or .webp picture")
    return images


def check_files(paths: list[Path], what: str) -> None:
    """Raises DataError with their number and the first one where files are missing."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} {what} files are missing, the first is {missing[0]}")


def check_same_size(image: np.ndarray, other: np.ndarray, path: Path, other_path: Path) -> None:
    """Raises DataError with both sizes where two pictures of one view differ in height or width."""
    if image.shape[:2] != other.shape[:2]:
        (height, width), (rows, columns) = image.shape[:2], other.shape[:2]
        raise DataError(f"{path} is {width}x{height} but {other_path} is {columns}x{rows}")
