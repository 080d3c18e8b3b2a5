"""What is to be done with a bag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ros2_derain.bags.reader import storage_files
from ros2_derain.engine import EngineSettings


@dataclass(frozen=True)
class Job:
    """What is to be done with a bag.

    Attributes:
        bag: folder or storage file.
        settings: of the engine.
        topics: cameras; empty: all that are found.
        rates: of rain to inject, mm/h.
        seed: of that rain.
        kept: which topics the new bag holds: ``all``, ``compact``, ``none``.
        frames: at most so many of each camera; None: all.
        truth: topic or folder of true label maps; '' without.
        truth_boxes: topic or folder of true boxes; '' without.
        classes: file that names their ids; None: they are the model's.
    """

    bag: Path
    settings: EngineSettings
    topics: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    seed: int = 0
    kept: str = "all"
    frames: int | None = None
    truth: str = ""
    truth_boxes: str = ""
    classes: Path | None = None

    def bytes(self) -> int:
        """Size of the bag's storage files."""
        files = storage_files(self.bag) if self.bag.is_dir() else [self.bag]
        return sum(file.stat().st_size for file in files)

    def asked(self) -> dict:
        """What the figures depend on, JSON-ready."""
        s = self.settings
        engine = {"prior": s.prior, "iterations": s.iterations, "gate": s.gate}
        return {
            "topics": list(self.topics),
            "rates": list(self.rates),
            "seed": self.seed,
            **engine,
            "frames": self.frames,
            "truth": self.truth,
            "truth_boxes": self.truth_boxes,
        }
