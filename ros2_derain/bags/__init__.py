"""rosbag2 bags: one reader for all commands, recovery of damaged files, writing, and conversion.

All errors of this room are :class:`BagError`.
"""

from __future__ import annotations

from pathlib import Path

STORAGES = (".mcap", ".db3")
METADATA = "metadata.yaml"

_COMPRESSED = (".zstd", ".zst")
_ROS_1 = ".bag"


class BagError(Exception):
    """A bag cannot be read or written; the message says why and what to do."""


class BagDamaged(BagError):
    """A bag could be read up to a point and no further; the message says how far and why."""


def storage_files(folder: Path) -> list[Path]:
    """The storage files in a folder; a compressed one counts where its original is not beside it."""
    found = [path for path in folder.iterdir() if is_storage(path)]
    return sorted(p for p in found if p.suffix.lower() in STORAGES or p.with_suffix("") not in found)


def is_storage(path: Path) -> bool:
    """Whether a file's name is that of a storage file, compressed or not."""
    suffix = path.suffix.lower()
    return suffix in STORAGES or suffix in _COMPRESSED and path.with_suffix("").suffix.lower() in STORAGES


def is_bag(path: Path) -> bool:
    """Whether a path is to be opened as a bag: a storage file, or a folder with one or with metadata.

    So are bags of ROS 1 and metadata alone, for which opening them says what to do.
    """
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return is_storage(path) or path.suffix == _ROS_1 or path.name == METADATA
