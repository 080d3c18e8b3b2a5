"""Folders of pictures: what is in them, and reading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.errors import EvaluationError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
GAP = 4
"""Pixels between pictures side by side."""


def listed(folder: Path) -> list[Path]:
    """The pictures of a folder, in order of name.

    Raises:
        EvaluationError: no such folder, no picture in it, or two of one stem.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder: name one that holds pictures")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise EvaluationError(f"{folder} is empty: it holds no {', '.join(SUFFIXES)} picture")
    by_stem: dict[str, Path] = {}
    for path in found:
        if path.stem in by_stem:
            raise EvaluationError(
                f"{folder} holds {by_stem[path.stem].name} and {path.name}: keep one of them"
            )
        by_stem[path.stem] = path
    return found


def partners(pictures: Sequence[Path], folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """For each picture the file of equal stem in another folder.

    Raises:
        EvaluationError: there is none for some; the message names the first.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder")
    by_stem = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes}
    lonely = [path for path in pictures if path.stem not in by_stem]
    if lonely:
        raise EvaluationError(
            f"{folder} lacks files for {len(lonely)} of {len(pictures)} pictures, the first is "
            f"{lonely[0].stem} ({', '.join(suffixes)})"
        )
    return [by_stem[path.stem] for path in pictures]


def chosen(pictures: Sequence[Path], names: Path | None, except_names: Path | None) -> list[Path]:
    """The pictures that a file of stems names, less those that another one names.

    Raises:
        EvaluationError: a name has no picture, or none is left.
    """
    kept = list(pictures)
    known = {path.stem for path in kept}
    for file, wanted in ((names, True), (except_names, False)):
        if file is None:
            continue
        stems = _stems(file)
        unknown = sorted(stems - known)
        if unknown:
            raise EvaluationError(f"{file} names {unknown[0]}, and there is no such picture")
        kept = [path for path in kept if (path.stem in stems) is wanted]
    if not kept:
        raise EvaluationError("no picture is left: check --names and --except-names")
    return kept


def _stems(file: Path) -> set[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {Path(line).stem if line.lower().endswith(SUFFIXES) else line for line in lines if line}


def read_labels(path: Path) -> np.ndarray:
    """A label map as H x W uint8 ids.

    Raises:
        EvaluationError: it cannot be decoded, or is no 8-bit picture of one channel.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise EvaluationError(f"{path} is not an image that can be decoded: restore it")
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise EvaluationError(
            f"{path} is {labels.shape} {labels.dtype}: wanted are 8-bit class ids in one channel"
        )
    return labels


def same_size(first: np.ndarray, first_path: Path, second: np.ndarray, second_path: Path) -> None:
    """Refuse two pictures of different size.

    Raises:
        EvaluationError: height or width differ.
    """
    if first.shape[:2] != second.shape[:2]:
        raise EvaluationError(
            f"{first_path} is {first.shape[1]}x{first.shape[0]}, {second_path} is "
            f"{second.shape[1]}x{second.shape[0]}: pictures that belong together have one size"
        )


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """H x W x 3 pictures of equal size in a row, a white gap between them."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.hstack(parts[1:])


def apart(strip: np.ndarray, count: int) -> list[np.ndarray]:
    """The pictures of :func:`side_by_side`."""
    step = (strip.shape[1] + GAP) // count
    return [strip[:, k * step : (k + 1) * step - GAP] for k in range(count)]
