"""What all ways of scoring share: the evaluation, its outputs and provenance, cached results, the engine."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ros2_derain import machine, models
from ros2_derain.engine import Engine, EngineError, Frame, ModelIdentity, Perception, Restored, Scene
from ros2_derain.evaluate import EvaluationError
from ros2_derain.reporting import page
from ros2_derain.reporting.files import write_json

CAMERA = "camera"


@dataclass(frozen=True)
class Evaluation(ABC):
    """A model and the data it is scored on.

    Attributes:
        provenance: model, data, settings and machine (see :func:`describe_run`); every result begins with it.
        note: files that were left out and classes that were ignored, for the terminal; may be empty.
    """

    provenance: dict
    note: str

    @abstractmethod
    def measure(self, cache: ResultCache) -> dict:
        """The whole result, JSON-ready; ``rows`` are those of its table."""

    @abstractmethod
    def summary(self, result: Mapping) -> str:
        """The result as text for a terminal."""

    @abstractmethod
    def report(self, result: Mapping) -> page.Report:
        """The result as a page."""

    def card_rows(self, result: Mapping) -> list[dict]:
        """The rows to store on a model's card."""
        return result["rows"]


def run(evaluation: Evaluation, json_file: Path | None, html: Path | None, card: str | None = None) -> dict:
    """Measure, print the summary, and write the outputs.

    Args:
        evaluation: what to measure.
        json_file: file of the result, None for none; an interrupted run continues from beside it.
        html: file of the report page, None for none.
        card: name or folder of the model whose card stores the result, None for none.

    Raises:
        EvaluationError: data and model do not fit, or the engine failed.
        FileError: an output cannot be written.
    """
    cache = ResultCache(json_file, comparable(evaluation.provenance))
    result = evaluation.measure(cache)
    print(evaluation.summary(result))
    if evaluation.note:
        print(f"\n{evaluation.note}")
    if json_file:
        write_json(json_file, result)
    if html:
        page.write(evaluation.report(result), html)
    if card:
        store_on_card(models.find(card), result, evaluation.card_rows(result))
    cache.remove()
    return result


def cached_result(path: Path, provenance: dict, measure: Callable[[ResultCache], dict]) -> dict:
    """The result in a file if its model, data and settings are the same; else measured, and written.

    Args:
        path: of the JSON file.
        provenance: of the result (see :class:`Evaluation`).
        measure: as :meth:`Evaluation.measure`.

    Raises:
        FileError: the file cannot be written.
    """
    earlier = _read_result(path)
    identity = comparable(provenance)
    if identity.items() <= earlier.items():
        return earlier
    cache = ResultCache(path, identity)
    result = measure(cache)
    write_json(path, result)
    cache.remove()
    return result


def describe_run(subcommand: str, data: dict, settings: dict, identity: ModelIdentity | None) -> dict:
    """The provenance of an evaluation, JSON-ready: the first keys of its result.

    Args:
        subcommand: of ``ros2-derain evaluate``.
        data: from :func:`describe_data`.
        settings: options that affect the figures.
        identity: of the model; None: no model was used.
    """
    return {
        **origin(f"ros2-derain evaluate {subcommand}", identity),
        "data": data,
        "settings": settings,
    }


def origin(by: str, identity: ModelIdentity | None) -> dict:
    """Command, model, machine and date, JSON-ready."""
    return {
        "by": by,
        "model": identity.name if identity else None,
        "model_sha256": identity.sha256 if identity else None,
        "device": identity.device if identity else None,
        "precision": identity.precision if identity else None,
        "runtime": identity.runtime if identity else None,
        "commit": machine.commit(),
        "machine": machine.describe(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def comparable(described: dict) -> dict:
    """The part of :func:`describe_run` on which the figures depend: equal parts, equal figures."""
    keys = ("by", "model_sha256", "device", "precision", "runtime", "data", "settings")
    return {key: described.get(key) for key in keys}


def describe_data(folder: Path, files: Iterable[Path]) -> dict:
    """Name, number of files and hash (of names and bytes) of the data.

    Args:
        folder: its last two parts are the name of the data.
        files: every file that is read.
    """
    digest, files = hashlib.sha256(), list(files)
    for path in files:
        digest.update(os.fsencode(f"{path.parent.name}/{path.name}\n"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    name = "/".join(folder.resolve().parts[-2:])
    return {"name": name, "files": len(files), "sha256": digest.hexdigest()}


def store_on_card(
    folder: Path, result: dict, rows: list[dict] | None = None, replace_earlier: bool = True
) -> None:
    """Store figures on a model's card, under the name of the data and of the subcommand.

    Args:
        folder: of the model.
        result: a whole result, with its provenance.
        rows: the figures to store; all rows of the result if not given.
        replace_earlier: replace figures of the same data and subcommand.
    """
    card = models.read_card(folder)
    keys = ("by", "frames", "device", "precision", "runtime", "settings", "commit", "date")
    kept = {key: result[key] for key in keys}
    key = f"{result['data']['name']} {result['by'].rsplit(' ', 1)[-1]}"
    if replace_earlier or key not in card.results:
        kept |= {"data_sha256": result["data"]["sha256"], "rows": result["rows"] if rows is None else rows}
        models.write_card(folder, replace(card, results=card.results | {key: kept}))


class ResultCache:
    """Measurements by key, appended to ``.<name>.partial.jsonl`` beside a result file.

    An interrupted run continues from it if model, data and settings are the same; a measurement whose
    line was cut off is repeated.

    Args:
        result: the file that the run writes at its end; None: nothing is cached on disk.
        identity: what the measurements depend on; JSON-ready.
    """

    def __init__(self, result: Path | None, identity: Mapping) -> None:
        self._path = result.with_name(f".{result.name}.partial.jsonl") if result else None
        self._measured: dict[str, dict] = {}
        if self._path is None:
            return
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._measured = _read_cache(self._path, digest)
        lines = [{"identity": digest}, *({"key": key, "found": one} for key, one in self._measured.items())]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def __contains__(self, key: str) -> bool:
        """Whether the measurement is known already."""
        return key in self._measured

    def get(self, key: str, measure: Callable[[], dict]) -> dict:
        """The measurement of this key, taken now unless it is known; it must not hold NaN or infinity."""
        if key not in self._measured:
            self._measured[key] = measure()
            if self._path:
                line = json.dumps({"key": key, "found": self._measured[key]}, allow_nan=False)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        return self._measured[key]

    def remove(self) -> None:
        """Delete the file: the result is written."""
        if self._path:
            self._path.unlink(missing_ok=True)


def restore(engine: Engine, image: np.ndarray, path: Path, time_s: float | None = None) -> Restored:
    """The restored image.

    Args:
        engine: of the model.
        image: H x W x 3 uint8 RGB.
        path: of the image, for the message of an error.
        time_s: of the frame in its clip; None: a single image, and the engine forgets what came before.

    Raises:
        EvaluationError: the image is too small, or the engine failed on it.
    """
    if time_s is None:
        engine.reset()
    try:
        restored = engine.restore(Frame(round((time_s or 0.0) * 1e9), CAMERA, image))
    except EngineError as error:
        raise EvaluationError(f"{path}: {error}") from error
    if restored.fault:
        raise EvaluationError(f"The engine failed on {path}: {restored.fault}")
    return restored


def process(
    engine: Engine, image: np.ndarray, path: Path, time_s: float | None = None
) -> tuple[Scene, Perception]:
    """The scene of an image, and its labels and boxes; arguments and errors are those of :func:`restore`."""
    scene = engine.interpret(restore(engine, image, path, time_s))
    if scene.perception is None:
        raise EvaluationError(f"The engine failed on {path}: {scene.fault}")
    return scene, scene.perception


def model_on(result: Mapping, data: str) -> str:
    """Subtitle of a report: model, device, data, date and commit of a result."""
    model = (
        f"{result['model']} ({result['device']} {result['precision']} {result['runtime']})"
        if result["model"]
        else None
    )
    return f"{model or 'The untouched input'} on {data}. {result['date']}, commit {result['commit']}"


def _read_result(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_cache(path: Path, digest: str) -> dict[str, dict]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(lines[0]) != {"identity": digest}:
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
