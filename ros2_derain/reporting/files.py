"""Files and folders that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FileError(Exception):
    """An output cannot be written, or may not be replaced; the message names it and says what to do."""


@contextmanager
def staged(out: Path, force: bool, marker: str) -> Iterator[Path]:
    """A temporary folder for an output; when the block succeeds, everything in it is moved beside ``out``.

    Args:
        out: the file or folder to make: write it as ``<the folder>/<out.name>``.
        force: replace an existing output.
        marker: name of a file that an output folder contains: a folder without it is never replaced.

    Raises:
        FileError: ``out`` exists and may not be replaced.
    """
    check_replaceable(out, force, marker)
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield stage
        for made in sorted(stage.iterdir()):
            target, replaced = out.parent / made.name, stage / f".{made.name}.replaced"
            if target.is_dir():
                os.replace(target, replaced)
            try:
                os.replace(made, target)
            except OSError:
                if replaced.exists():
                    os.replace(replaced, target)
                raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_replaceable(out: Path, force: bool, marker: str) -> None:
    """Refuse to overwrite what may not be replaced; the arguments are those of :func:`staged`.

    Raises:
        FileError: ``out`` exists and may not be replaced.
    """
    if not out.exists():
        return
    if not force:
        raise FileError(f"{out} exists: name another output, or replace it with --force")
    if out.is_dir() and not (out / marker).is_file():
        raise FileError(
            f"{out} is a folder without {marker}, so this command did not make it and does not replace it: "
            "name another output"
        )


def write_json(path: Path, content: dict) -> None:
    """Write a result as JSON; raises as :func:`write_bytes`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, other bytes of file names as escapes; raises as :func:`write_bytes`."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, data: bytes | memoryview, hint: str = "") -> None:
    """Write a file under a temporary name, flush it to the disk, then rename it.

    Args:
        path: of the file; an existing one stays until the new one is complete. Folders are created.
        data: the whole content.
        hint: end of the error message, e.g. what still exists and what to do.

    Raises:
        FileError: the disk is full, the folder is not writable, ...; no partial file is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FileError(f"Cannot write {path} ({len(data) / 1e6:.1f} MB): {error.strerror}{hint}") from error
