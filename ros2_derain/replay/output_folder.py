"""The folder of a replay: what is in it, and that it never fills the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ros2_derain.bags import BagError
from ros2_derain.bags.scene_writer import COMPACT, CameraScenes, SceneBag
from ros2_derain.engine import LoadedModel
from ros2_derain.nodes import outputs
from ros2_derain.nodes.planning import PlannerFrame
from ros2_derain.replay import ReplayError
from ros2_derain.replay.cameras import CameraTopic, FrameResult
from ros2_derain.reporting.files import check_replaceable

BAG, FRAMES, TIMINGS, SUMMARY, REPORT = (
    "output",
    "frames.jsonl",
    "timings.jsonl",
    "summary.json",
    "report.html",
)
RECORDED = {"all": (*outputs.OUTPUTS, *outputs.IN_METRES), "compact": COMPACT, "none": ()}
"""The topics that the bag holds, by ``--record``."""

BYTES_PER_PIXEL = {"all": 10.0, "compact": 0.5, "none": 0.0}
"""Of the bag, at most: two RGB images, three maps, a JPEG and the prior of 32 classes; or the JPEG."""
RESERVE = 64 << 20
"""Bytes that stay free, so that what was written can be completed."""


class DiskFull(ReplayError):
    """There is no room for what is to be written."""


class OutputFolder:
    """The files that grow during a run. Use it as a context manager: they are complete when it is left.

    Args:
        folder: is made if it does not exist.
        record: ``all``, ``compact`` or ``none`` of the topics.
        force: replace an earlier replay's files.

    Raises:
        ReportError: the folder holds something that may not be replaced.
    """

    def __init__(self, folder: Path, record: str, force: bool) -> None:
        self.folder, self._record = folder, record
        if not (folder.is_dir() and not any(folder.iterdir())):
            check_replaceable(folder, force, FRAMES)
        self._stack = ExitStack()
        self._scenes: dict[str, CameraScenes] = {}

    def require_space(self, pixels: int) -> None:
        """Refuse to begin a run that would not fit on the disk.

        Args:
            pixels: of all frames together.

        Raises:
            DiskFull: less is free than the bag may take.
        """
        needed, free = pixels * BYTES_PER_PIXEL[self._record] + RESERVE, self._free()
        if needed > free:
            raise DiskFull(
                f"{self.folder} has {_size(free)} free and the bag may take {_size(needed)}: name "
                "another --out, or write less with '--record compact' or '--record none'"
            )

    def open(
        self, cameras: Sequence[CameraTopic], model: LoadedModel, calibrated: Callable[[CameraTopic], bool]
    ) -> None:
        """Open the files; the bag with the topics of every camera, in metres where it is calibrated."""
        self.open_records()
        if self._record != "none":
            bag = SceneBag(self.folder / BAG, RECORDED[self._record])
            self._stack.enter_context(bag)
            self._scenes = {c.topic: bag.camera(c.namespace, model.identity, calibrated(c)) for c in cameras}

    def open_records(self) -> None:
        """Open the files only: something else writes the bag."""
        clear(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._frames, self._timings = (
            self._stack.enter_context((self.folder / name).open("w", encoding="utf-8", buffering=1))
            for name in (FRAMES, TIMINGS)
        )

    def calibrate(self, camera: CameraTopic, info: bytes) -> None:
        """Take note of a camera's serialized calibration."""
        if camera.topic in self._scenes:
            self._scenes[camera.topic].calibrate(info)

    def write(
        self,
        camera: CameraTopic,
        result: FrameResult,
        received_ns: int,
        threshold: float,
        metres: PlannerFrame | None = None,
    ) -> None:
        """Write a frame's records, and what the pipeline would have published of it.

        Args:
            camera: of the frame.
            result: what :meth:`CameraReplay.take` returned.
            received_ns: when the recorder got the frame.
            threshold: of the labels' confidence.
            metres: the frame in metres; None: nothing is known of them.

        Raises:
            DiskFull: there is no room; what was written before is complete.
        """
        record = result.record
        if self._free() < RESERVE:
            raise DiskFull(
                f"the disk of {self.folder} is full: stopped before frame {record['frame']} of "
                f"{camera.topic}; what was written before is complete"
            )
        try:
            if result.scene is not None:
                if camera.topic in self._scenes:
                    self._scenes[camera.topic].write(result.scene, received_ns, threshold, metres)
                self._timings.write(_timing(result))
            self._frames.write(json.dumps(record, allow_nan=False) + "\n")
        except (BagError, OSError) as error:
            raise DiskFull(f"stopped at frame {record['frame']} of {camera.topic}: {error}") from error

    def _free(self) -> int:
        """Bytes on the disk of the folder, or of what it will be made in."""
        existing = next(path for path in (self.folder, *self.folder.resolve().parents) if path.exists())
        return shutil.disk_usage(existing).free

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()


def _timing(result: FrameResult) -> str:
    spent = {stage: round(value, 3) for stage, value in result.milliseconds.items()}
    line = {"camera": result.record["camera"], "frame": result.record["frame"], "milliseconds": spent}
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
