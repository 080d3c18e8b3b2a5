"""A folder of masks: what the water on the glass hides in each image."""

from __future__ import annotations

import csv
from pathlib import Path

from ros2_derain.data.images import write_image
from ros2_derain.rain import GlassView

TABLE = "glass.csv"
"""Coverage and loss of contrast of every image."""


class GlassMasks:
    """Writes ``<name>.png`` for each image (255 = hidden), and at the end :data:`TABLE`.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._rows: list[tuple[str, str, str]] = []

    def write(self, name: str, view: GlassView) -> None:
        """Write the mask of an image."""
        write_image(self.folder / f"{name}.png", view.mask)
        self._rows.append((f"{name}.png", f"{view.coverage:.5f}", f"{view.contrast_loss:.5f}"))

    def close(self) -> None:
        """Write the table."""
        with (self.folder / TABLE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(("mask", "coverage", "contrast_loss"))
            writer.writerows(self._rows)
