"""The job of replaying a bag. Importing this loads no ROS, so that workers can prepare their environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ros2_derain import environment
from ros2_derain.engine import EngineSettings
from ros2_derain.replay.criteria import Criterion


@dataclass(frozen=True)
class Job:
    """What is to be done with a bag.

    Attributes:
        bag: folder or storage file.
        settings: of the engine.
        topics: cameras; empty: all that are found.
        rates: of rain to inject, mm/h.
        seed: of that rain.
        record: which topics the new bag holds: ``all``, ``compact``, ``none``.
        frames: at most this many of each camera; None: all.
        truth: topic or folder of true label maps; '' without.
        truth_boxes: topic or folder of true boxes; '' without.
        references: topic or folder of the expected clean images; '' without.
        classes: file that names the ids of true labels; None: they are the model's.
        title, description: of the report; '': the bag's name, and nothing more.
        known: true values of frame metrics, by key, that hold for the whole bag.
    """

    bag: Path
    settings: EngineSettings
    topics: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    seed: int = 0
    record: str = "all"
    frames: int | None = None
    truth: str = ""
    truth_boxes: str = ""
    references: str = ""
    classes: Path | None = None
    title: str = ""
    description: str = ""
    known: Mapping[str, float] = field(default_factory=dict)

    def bytes(self) -> int:
        """Size of the bag's storage files."""
        from ros2_derain.bags.reader import storage_files  # loads ROS

        files = storage_files(self.bag) if self.bag.is_dir() else [self.bag]
        return sum(file.stat().st_size for file in files)

    def figure_settings(self) -> dict:
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
            "references": self.references,
        }


def run_in_worker(job: Job, folder: Path, criteria: Sequence[Criterion], threads: int | None = None) -> str:
    """Replay a bag in a process whose environment is not prepared for ROS.

    Args:
        job, folder, criteria: as for :func:`fleet.attempt`.
        threads: of one operation of torch; None: as torch has it.

    Returns:
        why it could not be done, or ''.
    """
    environment.prepare()
    import torch

    from ros2_derain.replay import fleet

    if threads:
        torch.set_num_threads(threads)
    return fleet.attempt(job, folder, criteria)
