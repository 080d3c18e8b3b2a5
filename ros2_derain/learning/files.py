"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import LearningError


def write(path: Path, data: bytes | memoryview, hint: str = "") -> None:
    """Write to a temporary name, bring it to the disk, then give it its name.

    Args:
        path: to write; a former file of that name stays until the new one is complete.
        data: all of it.
        hint: closes the message of the error, e.g. what is still there and what to do.

    Raises:
        LearningError: the disk is full, the folder not writable, ...; nothing partial is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        size = f"{len(data) / 1e6:.1f} MB"
        raise LearningError(f"cannot write {path} ({size}): {error.strerror}{hint}") from error
