"""The folder of a replay: what is in it, and that it never fills the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ros2_derain.bags import BagError
from ros2_derain.bags.scene_writer import COMPACT, CameraScenes, SceneBag
from ros2_derain.engine import LoadedModel
from ros2_derain.errors import EvaluationError
from ros2_derain.nodes import outputs
from ros2_derain.replay.camera import Seen
from ros2_derain.replay.sources import Source
from ros2_derain.reporting.files import check_replaceable

BAG, FRAMES, TIMINGS, SUMMARY, REPORT = (
    "output",
    "frames.jsonl",
    "timings.jsonl",
    "summary.json",
    "report.html",
)
KEPT = {"all": outputs.OUTPUTS, "compact": COMPACT, "none": ()}
"""What ``--record`` says, to the topics that the bag holds."""

BYTES_PER_PIXEL = {"all": 10.0, "compact": 0.5, "none": 0.0}
"""Of the bag, at most: two RGB pictures, three maps, a JPEG and the prior of 32 classes; or the JPEG."""
RESERVE = 64 << 20
"""Bytes that stay free, so that what was written can be completed."""


class DiskFull(EvaluationError):
    """There is no room for what is to be written."""


class Output:
    """The files that grow during a run. Use it as a context manager: they are complete when it is left.

    Args:
        folder: made where it is not there.
        kept: ``all``, ``compact`` or ``none`` of the topics.
        force: replace an earlier replay's files.

    Raises:
        EvaluationError: the folder holds something that may not be replaced.
    """

    def __init__(self, folder: Path, kept: str, force: bool) -> None:
        self.folder, self._kept = folder, kept
        if not (folder.is_dir() and not any(folder.iterdir())):
            check_replaceable(folder, force, FRAMES)
        self._stack = ExitStack()
        self._scenes: dict[str, CameraScenes] = {}

    def require_space(self, pixels: int) -> None:
        """Refuse to begin what would not fit.

        Args:
            pixels: of all frames together.

        Raises:
            DiskFull: less is free than the bag may take.
        """
        wanted, free = pixels * BYTES_PER_PIXEL[self._kept] + RESERVE, self._free()
        if wanted > free:
            raise DiskFull(
                f"{self.folder} has {_size(free)} free and the bag may take {_size(wanted)}: name "
                "another --out, or write less with '--record compact' or '--record none'"
            )

    def open(self, sources: Sequence[Source], model: LoadedModel) -> None:
        """Open the files; the bag with the topics of every camera."""
        self.open_records()
        if self._kept != "none":
            bag = self._stack.enter_context(SceneBag(self.folder / BAG, KEPT[self._kept]))
            self._scenes = {s.topic: bag.camera(s.namespace, model.identity) for s in sources}

    def open_records(self) -> None:
        """Open the files, and leave the bag to somebody else."""
        clear(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._frames, self._timings = (
            self._stack.enter_context((self.folder / name).open("w", encoding="utf-8", buffering=1))
            for name in (FRAMES, TIMINGS)
        )

    def calibrate(self, source: Source, info: bytes) -> None:
        """Take note of a camera's serialized calibration."""
        if source.topic in self._scenes:
            self._scenes[source.topic].calibrate(info)

    def write(self, source: Source, taken: Seen | dict, received_ns: int, threshold: float) -> None:
        """Write down a frame, and what the pipeline would have published of it.

        Args:
            source: the frame's camera.
            taken: what :meth:`Camera.take` returned.
            received_ns: when the recorder got the frame.
            threshold: of the labels' confidence.

        Raises:
            DiskFull: there is no room; what was written before is complete.
        """
        record = taken.record if isinstance(taken, Seen) else taken
        if self._free() < RESERVE:
            raise DiskFull(
                f"the disk of {self.folder} is full: stopped before frame {record['frame']} of "
                f"{source.topic}; what was written before is complete"
            )
        try:
            if isinstance(taken, Seen):
                if source.topic in self._scenes:
                    self._scenes[source.topic].write(taken.scene, received_ns, threshold)
                self._timings.write(_timing(taken))
            self._frames.write(json.dumps(record, allow_nan=False) + "\n")
        except (BagError, OSError) as error:
            raise DiskFull(f"stopped at frame {record['frame']} of {source.topic}: {error}") from error

    def _free(self) -> int:
        """Bytes on the disk of the folder, or of what it will be made in."""
        existing = next(path for path in (self.folder, *self.folder.resolve().parents) if path.exists())
        return shutil.disk_usage(existing).free

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()


def _timing(seen: Seen) -> str:
    spent = {stage: round(value, 3) for stage, value in seen.milliseconds.items()}
    line = {"camera": seen.record["camera"], "frame": seen.record["frame"], "milliseconds": spent}
    return json.dumps(line) + "\n"


def clear(folder: Path) -> None:
    """Remove an earlier replay's files, and nothing else."""
    for name in (FRAMES, TIMINGS, SUMMARY, REPORT):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / BAG / f"{BAG}.mcap", folder / BAG / "metadata.yaml"):
        path.unlink(missing_ok=True)
    if (folder / BAG).is_dir():
        (folder / BAG).rmdir()


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
