"""Tables of how right labels and boxes are, where that is known."""

from __future__ import annotations

from collections.abc import Mapping

from ros2_derain.evaluate.scores import MATCH_IOU, SCORE
from ros2_derain.replay.ground_truth import BOXES, LABELS, WAYS
from ros2_derain.reporting.page import Table
from ros2_derain.reporting.tables import percent

COLUMNS = ("parser on the input", "pipeline")


def truth_tables(found: Mapping) -> list[Table]:
    """A table of each that is known, from ``Truth.figures``; nothing of an empty mapping."""
    made = {LABELS: _labels, BOXES: _boxes}
    return [made[name](figures) for name, figures in found.items()]


def _labels(found: Mapping) -> Table:
    rows = [
        _row("all: mIoU", found, "miou"),
        _row("all: pixel accuracy", found, "pixel_accuracy"),
        *_per_class(found, "iou"),
    ]
    text = f"IoU in % over {found['frames']} frames with true labels."
    return Table("Labels against the truth", text, ("class", *COLUMNS), rows)


def _boxes(found: Mapping) -> Table:
    rows = [
        _row("all: AP50", found, "ap50"),
        _row("all: AP50:95", found, "ap"),
        _row("all: precision", found, "precision"),
        _row("all: recall", found, "recall"),
        *_per_class(found, "ap50_per_class"),
    ]
    text = (
        f"AP50 in % over {found['frames']} frames with true boxes, of the boxes that the pipeline publishes; "
        f"precision and recall at an overlap of {MATCH_IOU:g} and a score of {SCORE:g}."
    )
    return Table("Boxes against the truth", text, ("class", *COLUMNS), rows)


def _row(name: str, found: Mapping, key: str) -> list[str]:
    return [name, *(percent(found[way][key]) for way in WAYS)]


def _per_class(found: Mapping, key: str) -> list[list[str]]:
    return [[name, *(percent(found[way][key][name]) for way in WAYS)] for name in found[WAYS[0]][key]]
