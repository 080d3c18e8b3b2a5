"""The job of replaying a bag. Importing this loads no ROS, so that workers can prepare their environment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ros2_derain.engine import GATE_MEASURES, EngineSettings

HEAD_BYTES = 1 << 14
"""Beginning of a file that is part of its identity."""


@dataclass(frozen=True)
class Job:
    """What is to be done with a bag.

    Attributes:
        bag: folder or storage file.
        settings: of the engine.
        topics: cameras; empty: all that are found.
        rates: of rain to inject, mm/h.
        glasses: wet glass to inject, presets or coverages.
        seed: of that rain and glass.
        record: which topics the new bag holds: ``all``, ``compact``, ``none``.
        frames: at most this many of each camera; None: all.
        truth: topic or folder of true label maps; '' without.
        truth_boxes: topic or folder of true boxes; '' without.
        references: topic or folder of the expected clean images; '' without.
        classes: file that names the ids of true labels; None: they are the model's.
        title, description: of the report; '': the bag's name, and nothing more.
        planner: parameters of planner_node that differ from the defaults.
        known: true values of frame metrics, by key, that hold for the whole bag.
    """

    bag: Path
    settings: EngineSettings
    topics: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    glasses: tuple[str, ...] = ()
    seed: int = 0
    record: str = "all"
    frames: int | None = None
    truth: str = ""
    truth_boxes: str = ""
    references: str = ""
    classes: Path | None = None
    title: str = ""
    description: str = ""
    planner: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, float] = field(default_factory=dict)

    def bytes(self) -> int:
        """Size of the bag's storage files, compressed or not."""
        stored = (path for path in _files(self.bag) if ".mcap" in path.name or ".db3" in path.name)
        return sum(path.stat().st_size for path in stored)

    def fingerprint(self) -> str:
        """Identity of the inputs: a hash of the names, sizes, modification times and beginnings of all files.

        The inputs are the bag, and the folders of truth and the file of classes where there are such.
        """
        digest = hashlib.sha256()
        named = (self.truth, self.truth_boxes, self.references, self.classes)
        for source in (self.bag, *(Path(name) for name in named if name)):
            for path in _files(source):
                found = path.stat()
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                digest.update(repr((os.fsencode(path.name), found.st_size, found.st_mtime_ns, head)).encode())
        return digest.hexdigest()

    def figure_settings(self) -> dict:
        """What the figures depend on, JSON-ready."""
        s = self.settings
        engine = {"prior": s.prior, "iterations": s.iterations, "gate": s.gate}
        engine |= {f"gate_{measure}": list(s.gate_limits(measure)) for measure in GATE_MEASURES}
        water = (
            "water_interval_s",
            "obstruction_average_s",
            "dirt_after_s",
            "fill_hidden",
            "restore_contrast",
        )
        engine |= {name: getattr(s, name) for name in water}
        return {
            "topics": list(self.topics),
            "rates": list(self.rates),
            "glasses": list(self.glasses),
            "seed": self.seed,
            **engine,
            "frames": self.frames,
            "truth": self.truth,
            "truth_boxes": self.truth_boxes,
            "references": self.references,
            "planner": dict(self.planner),
        }


def _files(source: Path) -> list[Path]:
    """The files of an input, by name: those of a folder, or one with what SQLite has yet to write into it.

    SQLite's index (-shm), which reading may change, is left out.
    """
    found = source.iterdir() if source.is_dir() else (source, source.with_name(f"{source.name}-wal"))
    return sorted(path for path in found if path.is_file() and not path.name.endswith("-shm"))
