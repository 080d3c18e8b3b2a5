"""The composed pipeline, with a log of the engine's time for each frame.

    python -m ros2_derain.bench.timed_pipeline LOG --ros-args ...

The latency of a frame through ROS 2 minus the engine's time for the same frame is the overhead of ROS 2.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from ros2_derain.engine import Engine, Restored, Scene, SharedModel
from ros2_derain.nodes import runtime
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.segmentation_node import SegmentationNode

COLUMNS = ("stamp_ns", "gate", "derain", "parse")


class TimedSegmentationNode(SegmentationNode):
    """segmentation_node that logs the engine's milliseconds of every frame it parses.

    Args:
        log: a writer of CSV rows.
        models: the model of the process.
        options: further arguments of :class:`SegmentationNode`.
    """

    def __init__(self, log: Any, models: SharedModel, **options: Any) -> None:
        self._log = log
        super().__init__(models, **options)

    def interpret(self, engine: Engine, restored: Restored) -> Scene:
        """As the base class; then log the frame."""
        scene = super().interpret(engine, restored)
        if scene.perception is not None:
            spent = (scene.milliseconds.get(stage, 0.0) for stage in COLUMNS[1:])
            self._log.writerow((scene.stamp_ns, *spent))
        return scene


def read(log: Path) -> dict[int, dict[str, float]]:
    """The log: the engine's milliseconds by stage, by stamp in ns."""
    with log.open(newline="") as lines:
        return {
            int(row["stamp_ns"]): {stage: float(row[stage]) for stage in COLUMNS[1:]}
            for row in csv.DictReader(lines)
        }


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit status."""
    log, *arguments = sys.argv[1:] if argv is None else argv
    with open(log, "w", newline="", buffering=1) as lines:
        rows = csv.writer(lines)
        rows.writerow(COLUMNS)

        def create() -> runtime.Nodes:
            models = SharedModel()
            segmentation = TimedSegmentationNode(rows, models)
            return segmentation, DerainNode(models, segmentation)

        return runtime.run(create, arguments, ready=runtime.activate)


if __name__ == "__main__":
    sys.exit(main())
