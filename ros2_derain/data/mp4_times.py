"""Presentation times of the frames of an .mp4 file: OpenCV writes evenly spaced ones only.

Layout: ISO/IEC 14496-12. Each box is its length, its name of four letters and its content; the times are
the differences in the box ``stts``, as pairs (number of frames, ticks).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import BinaryIO

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_DURATIONS = {b"mvhd": 20, b"tkhd": 24, b"elst": 12, b"mdhd": 20}
"""Boxes that hold the video's duration, and how many bytes after the name (version 0)."""


def set_presentation_times(path: Path, times_s: Sequence[float], last_s: float) -> None:
    """Change when the frames of a video are shown, in a file that OpenCV's ``VideoWriter`` has written.

    Args:
        path: .mp4 with one track of frames in order, whose description follows the frames.
        times_s: of each frame, increasing.
        last_s: for how long the last frame is shown.
    """
    with path.open("r+b") as file:
        start = _find_description(file)
        file.seek(start)
        data = bytearray(file.read())
        media = data.index(b"mdhd")
        rate, duration = struct.unpack_from(">II", data, media + 16)
        ticks = [round((time_s - times_s[0]) * rate) for time_s in (*times_s, times_s[-1] + last_s)]
        for name, offset in _DURATIONS.items():
            at = data.index(name) + offset
            (before,) = struct.unpack_from(">I", data, at)
            struct.pack_into(">I", data, at, round(before * ticks[-1] / duration))
        _replace_table(data, [max(1, after - before) for before, after in pairwise(ticks)])
        file.seek(start)
        file.write(data)


def _find_description(file: BinaryIO) -> int:
    """Where the box ``moov`` begins, which describes the frames."""
    position, name = 0, b""
    while True:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"moov":
            return position
        position += length if length != 1 else struct.unpack(">Q", file.read(8))[0]


def _replace_table(data: bytearray, ticks: Sequence[int]) -> None:
    """Put the duration of each frame into the description, in which all boxes around become longer."""
    runs = [(len(list(run)), duration) for duration, run in groupby(ticks)]
    table = struct.pack(">I4sII", 16 + 8 * len(runs), b"stts", 0, len(runs))
    table += b"".join(struct.pack(">II", *run) for run in runs)
    at = data.index(b"stts") - 4
    (length,) = struct.unpack_from(">I", data, at)
    data[at : at + length] = table
    for name in _PARENTS:
        place = data.index(name) - 4
        (outer,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, outer + len(table) - length)
