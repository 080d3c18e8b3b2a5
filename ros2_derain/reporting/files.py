"""Results that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ros2_derain.errors import EvaluationError


@contextmanager
def staged(out: Path, force: bool, mark: str) -> Iterator[Path]:
    """A folder to make a result in; when the block ends well, all that is in it goes beside ``out``.

    Args:
        out: the file or folder that is to be made: make ``<the folder>/<out.name>``.
        force: replace what is there.
        mark: name of a file that such a result holds: a folder without it is never replaced.

    Raises:
        EvaluationError: ``out`` exists and may not be replaced.
    """
    check_replaceable(out, force, mark)
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield stage
        for made in sorted(stage.iterdir()):
            target = out.parent / made.name
            if target.is_dir():
                os.replace(target, stage / f".{target.name}.replaced")
            os.replace(made, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_replaceable(out: Path, force: bool, mark: str) -> None:
    """Refuse to write over what may not be replaced; the arguments are those of :func:`staged`.

    Raises:
        EvaluationError: ``out`` exists and may not be replaced.
    """
    if not out.exists():
        return
    if not force:
        raise EvaluationError(f"{out} exists: name another output, or replace it with --force")
    if out.is_dir() and not (out / mark).is_file():
        raise EvaluationError(
            f"{out} is a folder without {mark}, so this command did not make it and does not replace it: "
            "name another output"
        )


def write_json(path: Path, content: dict) -> None:
    """Write a result; raises as :func:`write_text`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        EvaluationError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}") from error
