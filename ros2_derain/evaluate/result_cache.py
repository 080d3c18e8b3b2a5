"""What a run has found so far, on disk, so that it goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from ros2_derain import provenance
from ros2_derain.reporting.files import write_json


class Journal:
    """Found figures by key, appended to ``.<name>.partial.jsonl`` beside a result file.

    An earlier journal is used when it belongs to the same model, data and settings;
    a line that was cut off is measured again.

    Args:
        result: the file that the run writes in the end; None: nothing is kept.
        identity: what the figures depend on; JSON-ready.
    """

    def __init__(self, result: Path | None, identity: Mapping) -> None:
        self._path = result.with_name(f".{result.name}.partial.jsonl") if result else None
        self._found: dict[str, dict] = {}
        if self._path is None:
            return
        head = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._found = _read(self._path, head)
        lines = [{"identity": head}, *({"key": key, "found": found} for key, found in self._found.items())]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def __contains__(self, key: str) -> bool:
        """Whether an earlier run, or this one, has found the figures under this key."""
        return key in self._found

    def get(self, key: str, measure: Callable[[], dict]) -> dict:
        """The figures under this key, measured now unless they are known.

        Figures that JSON cannot hold (NaN, infinity) are an error of the caller.
        """
        if key not in self._found:
            self._found[key] = measure()
            if self._path:
                line = json.dumps({"key": key, "found": self._found[key]}, allow_nan=False)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        return self._found[key]

    def close(self) -> None:
        """The result is written: the journal has done its work."""
        if self._path:
            self._path.unlink(missing_ok=True)


class Run(Protocol):
    """Something that can be measured; ``head`` says of what, with and on (see :mod:`.provenance`)."""

    head: dict

    def measured(self, journal: Journal) -> dict:
        """The whole result, JSON-ready."""


def kept(path: Path, run: Run) -> dict:
    """The result in a file where it is of the same model, data and settings; else measured, and written.

    Raises:
        EvaluationError: the file cannot be written.
    """
    known = _result(path)
    identity = provenance.comparable(run.head)
    if identity.items() <= known.items():
        return known
    journal = Journal(path, identity)
    result = run.measured(journal)
    write_json(path, result)
    journal.close()
    return result


def _result(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path, head: str) -> dict[str, dict]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(lines[0]) != {"identity": head}:
            return {}
    except (OSError, ValueError, IndexError):
        return {}
    found = {}
    for line in lines[1:]:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        found[entry["key"]] = entry["found"]
    return found
