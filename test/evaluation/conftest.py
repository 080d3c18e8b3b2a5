from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory) -> Path:
    """Twelve pictures of 160x96, each a little brighter than the one before."""
    folder = tmp_path_factory.mktemp("clips") / "small"
    folder.mkdir()
    (folder / "clip.yaml").write_text("title: Test & pattern\nfps: 25\nsource: made here\n")
    base = np.random.default_rng(0).integers(0, 180, (12, 20, 3), np.uint8)
    base = cv2.resize(base, (160, 96), interpolation=cv2.INTER_CUBIC)
    for index in range(12):
        cv2.imwrite(str(folder / f"{index:06d}.png"), base + np.uint8(5 * index))
    return folder
