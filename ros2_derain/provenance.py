"""Provenance of results: model, data, settings, machine and date."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from ros2_derain import machine, models
from ros2_derain.engine import ModelIdentity


def describe(subcommand: str, data: dict, settings: dict, identity: ModelIdentity | None) -> dict:
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
        "commit": machine.commit(),
        "machine": machine.describe(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def comparable(described: dict) -> dict:
    """The part of :func:`describe` on which the figures depend: equal parts, equal figures."""
    return {key: described[key] for key in ("by", "model_sha256", "device", "precision", "data", "settings")}


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
    kept = {key: result[key] for key in ("by", "frames", "device", "precision", "settings", "commit", "date")}
    key = f"{result['data']['name']} {result['by'].rsplit(' ', 1)[-1]}"
    if replace_earlier or key not in card.results:
        kept |= {"data_sha256": result["data"]["sha256"], "rows": result["rows"] if rows is None else rows}
        models.write_card(folder, replace(card, results=card.results | {key: kept}))
