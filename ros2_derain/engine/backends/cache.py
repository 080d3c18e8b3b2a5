"""Compiled graphs on disk, so that a node does not compile again at every start.

A file is named by what was compiled (graph, shapes, number format) and says in its head with which
version of the runtime, on which machine, and what its content's hash is. One that does not match is
made again. Files appear completely or not at all; a folder that cannot be written costs nothing but time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ros2_derain import machine

FOLDER_VARIABLE = "ROS2_DERAIN_CACHE"

_MAGIC = b"ros2_derain graph 1\n"

_log = logging.getLogger(__name__)


class Cache:
    """A folder of compiled graphs.

    Args:
        folder: by default the one of the environment variable :data:`FOLDER_VARIABLE`, else
            ``ros2_derain`` in the user's cache folder (``XDG_CACHE_HOME``, ``~/.cache``).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._failed = False

    def get(self, what: str, identity: Mapping[str, Any], origin: Mapping[str, Any]) -> bytes | None:
        """What was put under the same identity and origin; None where that must be made.

        Args:
            what: a word or two for the file's name and messages.
            identity: what is compiled; JSON values.
            origin: of what the compiled form depends as well, such as the runtime's version.
        """
        path = self.path(what, identity)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        reason = _unusable(data, _head(origin, b""))
        if reason:
            _log.warning("%s is made again: the one in %s %s", what, path, reason)
            return None
        return data[data.index(b"\n", len(_MAGIC)) + 1 :]

    def put(self, what: str, identity: Mapping[str, Any], origin: Mapping[str, Any], content: bytes) -> None:
        """Keep the content for later; arguments as of :meth:`get`."""
        path = self.path(what, identity)
        head = json.dumps(_head(origin, content), sort_keys=True).encode()
        partial = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + head + b"\n" + content)
            os.replace(partial, path)
        except OSError as error:
            self._complain(error)
            if partial is not None and os.path.exists(partial):
                os.unlink(partial)

    def made(
        self, what: str, identity: Mapping[str, Any], origin: Mapping[str, Any], make: Callable[[], bytes]
    ) -> bytes:
        """What is cached, or else what ``make`` returns, which is cached then."""
        content = self.get(what, identity, origin)
        if content is None:
            content = make()
            self.put(what, identity, origin, content)
        return content

    def path(self, what: str, identity: Mapping[str, Any]) -> Path:
        """Where it is kept."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{what.replace(' ', '-')}-{digest[:16]}.bin"

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            _log.warning(
                "cache folder %s cannot be used (%s): graphs are compiled at every start; set %s to another",
                self.folder,
                error.strerror,
                FOLDER_VARIABLE,
            )


def default_folder() -> Path:
    """The folder that :class:`Cache` uses unless told otherwise."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return home / "ros2_derain"


def _head(origin: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    return {
        "origin": dict(origin),
        "machine": f"{platform.machine()} {machine.processor()}",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _unusable(data: bytes, expected: Mapping[str, Any]) -> str:
    """Why a file must be made again; '' if it need not."""
    if not data.startswith(_MAGIC):
        return "is damaged"
    try:
        end = data.index(b"\n", len(_MAGIC))
        head = json.loads(data[len(_MAGIC) : end])
        digest, origin, host = (head[name] for name in ("sha256", "origin", "machine"))
    except (ValueError, TypeError, KeyError):
        return "is damaged"
    if host != expected["machine"]:
        return f"is of another machine ({host})"
    if origin != expected["origin"]:
        return "is of another version"
    if hashlib.sha256(memoryview(data)[end + 1 :]).hexdigest() != digest:
        return "is damaged"
    return ""
