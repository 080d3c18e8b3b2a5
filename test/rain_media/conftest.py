"""Files that rain is rendered onto."""

from pathlib import Path

import cv2
import pytest
from made_bags import SCENE


@pytest.fixture
def street(tmp_path) -> Path:
    """An image file."""
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), SCENE[:, :, ::-1])
    return path


@pytest.fixture
def clip(tmp_path) -> Path:
    """A folder of three images at 10 frames per second."""
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "clip.yaml").write_text("fps: 10\n")
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), SCENE[:, :, ::-1])
    return folder
