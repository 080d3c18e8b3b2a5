"""Videos whose frames are not evenly spaced, as phones make them: times of presentation are kept."""

import cv2
import numpy as np
import pytest
from made_bags import FIRST_NS, SCENE, of, raw_image, read_bag, stamp_ns, write_bag

from ros2_derain import cli
from ros2_derain.data.clips import VideoWriter

TIMES_S = [0.0, 0.033, 0.067, 0.1, 0.2, 0.3, 0.7, 0.733]


def run(*arguments) -> int:
    return cli.main([*map(str, arguments)])


def shown_s(video) -> list[float]:
    """When OpenCV shows the frames."""
    capture, times = cv2.VideoCapture(str(video)), []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
    return times


@pytest.fixture
def phone_video(tmp_path):
    path = tmp_path / "phone.mp4"
    with VideoWriter(path, 30.0) as video:
        for index, time_s in enumerate(TIMES_S):
            video.write(np.roll(SCENE, 16 * index, 1), time_s)
    assert shown_s(path) == pytest.approx(TIMES_S, abs=1e-3)
    return path


def test_from_video_stamps_frames_when_they_are_shown(phone_video, tmp_path):
    assert run("bag", "from-video", phone_video, tmp_path / "bag", "--start", 5) == 0
    images = of(read_bag(tmp_path / "bag"), "/camera/image_raw")
    assert [stamp_ns(image) / 1e9 - 5 for image in images] == pytest.approx(TIMES_S, abs=1e-3)
    assert run("bag", "from-video", phone_video, tmp_path / "even", "--start", 5, "--fps", 10) == 0
    images = of(read_bag(tmp_path / "even"), "/camera/image_raw")
    assert [stamp_ns(image) / 1e9 - 5 for image in images] == pytest.approx([i / 10 for i in range(8)])


def test_rain_on_a_video_falls_and_is_shown_at_its_times(phone_video, tmp_path):
    assert run("rain", phone_video, tmp_path / "rainy.mp4", "--rate", 100) == 0
    assert shown_s(tmp_path / "rainy.mp4") == pytest.approx(TIMES_S, abs=1e-3)


def test_to_video_shows_frames_at_their_stamps_but_no_jumps(tmp_path):
    stamps = [*(FIRST_NS + round(t * 1e9) for t in TIMES_S), 5]
    listed = [("/image", raw_image(stamp, np.roll(SCENE, 16 * i, 1))) for i, stamp in enumerate(stamps)]
    bag = write_bag(tmp_path / "bag", listed)
    assert run("bag", "to-video", bag, tmp_path / "out.mp4") == 0
    shown = shown_s(tmp_path / "out.mp4")
    assert shown[:8] == pytest.approx(TIMES_S, abs=1e-3) and 0.733 < shown[8] < 0.85
    assert run("bag", "to-video", bag, tmp_path / "even.mp4", "--fps", 10) == 0
    assert shown_s(tmp_path / "even.mp4") == pytest.approx([i / 10 for i in range(9)], abs=1e-3)


@pytest.mark.parametrize("command", [("rain",), ("bag", "to-video")])
def test_avi_repeats_frames_until_the_next_is_shown(phone_video, tmp_path, command):
    source = phone_video
    if command != ("rain",):
        source = tmp_path / "bag"
        assert run("bag", "from-video", phone_video, source) == 0
    options = ["--rate", 0, "--no-veil"] if command == ("rain",) else []
    assert run(*command, source, tmp_path / "out.avi", *options) == 0
    capture, frames = cv2.VideoCapture(str(tmp_path / "out.avi")), []
    while (found := capture.read())[0]:
        frames.append(found[1].astype(int))
    assert len(frames) == pytest.approx(0.733 * 30 + 1, abs=1)
    changes = [i / 30 for i in range(1, len(frames)) if np.abs(frames[i] - frames[i - 1]).mean() > 5]
    assert changes == pytest.approx(TIMES_S[1:], abs=0.034)
