"""Finds the files that ship with the package: ``config/``, ``models/``, ``samples/``.

They are looked for in the package's share directory, where ``colcon build`` and
``pip install`` put them, then in the source tree, where an editable install
leaves them. A file that the share directory lacks is found in the source tree.
"""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = "ros2_derain"


class ResourceError(Exception):
    """A file that ships with the package is missing; the message says where it was sought."""


def path(name: str) -> Path:
    """Absolute path of a shipped file or directory.

    Args:
        name: relative path, e.g. ``"config/pipeline.yaml"``.

    Raises:
        ResourceError: ``name`` is absolute or leaves the package, or no such file ships.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ResourceError(
            f"'{name}' is not the name of a shipped file: give a path relative to the package, "
            "such as 'config/pipeline.yaml'; open other files directly"
        )
    roots = _roots()
    for root in roots:
        if (root / name).exists():
            return root / name
    sought = ", ".join(map(str, roots)) or "no share directory and no source tree"
    raise ResourceError(
        f"'{name}' is missing (sought in {sought}): install the package again, "
        "or source the workspace that holds it"
    )


def models_dirs() -> list[Path]:
    """Every ``models/`` directory there is, the installed one before the source tree's."""
    return [root / "models" for root in _roots() if (root / "models").is_dir()]


def _roots() -> list[Path]:
    """Directories that may hold shipped files, in the order of search, each once."""
    candidates = [_indexed_share(), Path(sys.prefix) / "share" / PACKAGE, _source_tree()]
    found = [root.resolve() for root in candidates if root is not None and root.is_dir()]
    return list(dict.fromkeys(found))


def _indexed_share() -> Path | None:
    """The share directory that the ament index names, or None without an index or entry."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE))
    except (ImportError, LookupError, OSError):
        return None


def _source_tree() -> Path | None:
    """The checkout that this module was imported from, or None when it was installed."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "package.xml").is_file() else None
