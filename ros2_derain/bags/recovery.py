"""mcap files that were cut off, as the recorder leaves them at a power failure: readable up to the cut.

The file itself is not changed. What is read is its complete records, followed by a new end; the
chunk that was being written at the cut is lost.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x89MCAP0\r\n"
_DATA_END, _FOOTER = 0x0F, 0x02
_HEAD = struct.Struct("<BQ")
_END = (
    _HEAD.pack(_DATA_END, 4)
    + bytes(4)  # no checksum of the data
    + _HEAD.pack(_FOOTER, 20)
    + bytes(20)  # no summary, no checksum
    + MAGIC
)


class RecoveredFile:
    """A cut-off mcap file, with the methods of a path that the rosbags library uses to read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complete = _complete_bytes(path)

    @property
    def lost(self) -> int:
        """Bytes after the last complete record."""
        return self._path.stat().st_size - self._complete

    def exists(self) -> bool:
        """As of a path."""
        return True

    def is_dir(self) -> bool:
        """As of a path."""
        return False

    def open(self, *_, **__) -> BinaryIO:
        """The complete records and a new end."""
        return io.BufferedReader(_Joined(self._path, self._complete))

    @property
    def suffix(self) -> str:
        """As of a path."""
        return self._path.suffix

    def __str__(self) -> str:
        return str(self._path)


def profile_of(path: Path) -> str | None:
    """The profile in an mcap file's header, such as ``ros2``, or ''; None: it is no mcap file."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + _HEAD.size + 4)
        if len(head) < len(MAGIC) + _HEAD.size + 4 or not head.startswith(MAGIC):
            return None
        return file.read(int.from_bytes(head[-4:], "little")).decode("utf-8", "replace")


def is_cut_off(path: Path) -> bool:
    """Whether a file begins as an mcap file but does not end as one."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - len(MAGIC)))
        return begins and file.read() != MAGIC


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
    """The first bytes of a file, followed by an end."""

    def __init__(self, path: Path, length: int) -> None:
        self._file, self._length, self._position = path.open("rb"), length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._position, self._length + len(_END))[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._length - self._position))
        else:
            start = self._position - self._length
            data = _END[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
