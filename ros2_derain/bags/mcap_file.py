"""mcap files as the rosbags library can read them: those that were cut off, and those of other writers.

The file itself is not changed. Of one that was cut off, as the recorder leaves it at a power failure, what
is read is its complete records, followed by a new end; the chunk that was being written at the cut is lost.
The header's profile, which writers other than rosbag2's leave empty, is read as ``ros2``.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x89MCAP0\r\n"
_DATA_END, _FOOTER = 0x0F, 0x02
_HEAD = struct.Struct("<BQ")
_PROFILE = struct.pack("<I", 4) + b"ros2"
"""Fits into every header: its two texts, profile and library, have four bytes of length each."""
_END = (
    _HEAD.pack(_DATA_END, 4)
    + bytes(4)  # no checksum of the data
    + _HEAD.pack(_FOOTER, 20)
    + bytes(20)  # no summary, no checksum
    + MAGIC
)


class McapFile:
    """An mcap file, with the methods of a path that the rosbags library uses to read it.

    Attributes:
        profile: as the header has it, such as ``ros2``, or ''.
        lost: bytes after the last complete record of a file that was cut off; 0: it is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._start = file.read(len(MAGIC) + _HEAD.size)
            length = int.from_bytes(file.read(4), "little")
            self.profile = file.read(length).decode("utf-8", "replace")
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - len(MAGIC)))
            complete = file.read() == MAGIC and size > len(MAGIC)
        self._complete = size if complete else _complete_bytes(path)
        self._end = b"" if complete else _END
        self.lost = size - self._complete

    def open(self, *_, **__) -> BinaryIO:
        """The complete records, and a new end where there is none."""
        return io.BufferedReader(_Joined(self._path, self._start + _PROFILE, self._complete, self._end))

    def __str__(self) -> str:
        return str(self._path)


def _complete_bytes(path: Path) -> int:
    """Where the last complete record of the data section ends."""
    size, position = path.stat().st_size, len(MAGIC)
    with path.open("rb") as file:
        while position + _HEAD.size <= size:
            file.seek(position)
            kind, length = _HEAD.unpack(file.read(_HEAD.size))
            if kind in (0, _DATA_END, _FOOTER) or position + _HEAD.size + length > size:
                break
            position += _HEAD.size + length
    return position


class _Joined(io.RawIOBase):
    """The first bytes of a file, with another start, and followed by an end."""

    def __init__(self, path: Path, start: bytes, length: int, end: bytes) -> None:
        self._file, self._start, self._length, self._end = path.open("rb"), start, length, end
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (0, self._position, self._length + len(self._end))[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        at = self._position
        if at < len(self._start):
            data = self._start[at : at + len(buffer)]
        elif at < self._length:
            self._file.seek(at)
            data = self._file.read(min(len(buffer), self._length - at))
        else:
            data = self._end[at - self._length : at - self._length + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
