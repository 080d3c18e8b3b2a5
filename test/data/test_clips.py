"""Clips on disk: the one that ships, rain on it, and folders that are none."""

import cv2
import numpy as np
import pytest

from ros2_derain import resources
from ros2_derain.data import DataError
from ros2_derain.data.clips import Clip, Video
from ros2_derain.rain import Rain, RainRenderer
from ros2_derain.rain_media.rendering import rain_clip


def test_the_clip_that_ships():
    folder = resources.path("samples/highway")
    shipped = Clip.open(folder)
    assert len(shipped.files) == 75 and shipped.fps == 25
    assert shipped.read(0).shape == (540, 960, 3)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text()
    assert "udacity/CarND-LaneLines-P1" in (folder / "NOTICE").read_text()


def test_rain_falls_at_the_speed_of_the_clip(small_clip, tmp_path):
    source = Clip.open(small_clip)
    rain_clip(source, 150.0, 3, tmp_path / "rainy")
    renderer = RainRenderer(Rain(rate=150.0), 96, 160, seed=0)
    for index in range(3):
        written = cv2.cvtColor(cv2.imread(str(tmp_path / "rainy" / f"{index:06d}.png")), cv2.COLOR_BGR2RGB)
        assert np.array_equal(written, renderer.render(source.read(index), index / 25))


def test_frames_are_scaled_and_start_again_after_the_last(small_clip):
    source = Clip.open(small_clip, (128, 64))
    assert source.read(0).shape == (64, 128, 3)
    assert np.array_equal(source.read(12), source.read(0))


def test_a_folder_without_clip_yaml_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="clip.yaml must give the clip's fps"):
        Clip.open(tmp_path)


def test_a_git_lfs_pointer_in_place_of_a_video_says_what_to_do(tmp_path):
    (tmp_path / "drive.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DataError, match="run 'git lfs pull'"):
        Video.open(tmp_path / "drive.mp4")


def test_a_clip_without_images_is_refused(tmp_path):
    (tmp_path / "clip.yaml").write_text("fps: 25\n")
    with pytest.raises(DataError, match="holds no image"):
        Clip.open(tmp_path)
