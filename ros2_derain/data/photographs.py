"""Clean pictures without labels: backgrounds to render rain on."""

from __future__ import annotations

from pathlib import Path

from .images import list_images, read_image
from .sample import Sample


class Photographs:
    """A folder of clean pictures without labels.

    Args:
        driving: they are road scenes.

    Raises:
        DataError: the folder is missing or empty.
    """

    classes = ()

    def __init__(self, folder: Path, driving: bool = False):
        self.images = list_images(folder)
        self._driving = driving

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(read_image(self.images[index]), None, None, self._driving)
