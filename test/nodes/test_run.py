"""``ros2-derain run``: the pipeline as a user starts it, without the launch package."""

import signal
import subprocess
import sys

import pytest
from limits import HANG_S

from ros2_derain.messages import topics
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing.observer import ACTIVE, Observer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_is_active_by_itself_and_ends_cleanly(rainy_model, tmp_path, number):
    arguments = (
        *("--model", rainy_model, "--device", "cpu", "--namespace", "front", "--image", "/camera/image_raw"),
        *("--compressed", "--ros-args", "-p", "warmup_width:=160", "-p", "warmup_height:=96"),
    )
    log = tmp_path / "log"
    with log.open("wb") as output, Observer("front") as observer:
        process = subprocess.Popen(
            [sys.executable, "-m", "ros2_derain.cli", "run", *arguments], stdout=output, stderr=output
        )
        try:
            for node in ("derain_node", "segmentation_node"):
                assert observer.spin_until(lambda node=node: observer.state(node) == ACTIVE, HANG_S), (
                    log.read_text()
                )
            assert observer.spin_until(lambda: len(observer.status) == 2, HANG_S)
            assert observer.status["derain_node"].values["model"] == "rainy"
            assert observer.spin_until(lambda: observer.publishers(outputs.CLEAN_IMAGE) == 1, HANG_S)
            compressed = Topic("/camera/image_raw/compressed", topics.IMAGE_COMPRESSED.type)
            assert observer.spin_until(lambda: observer.subscribers(compressed) == 1, HANG_S)
            process.send_signal(number)
            assert process.wait(HANG_S) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text()


def test_a_missing_model_is_reported_with_exit_status_1():
    ended = subprocess.run(
        [sys.executable, "-m", "ros2_derain.cli", "run", "--model", "nonsense"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ended.returncode == 1
    assert "no model named 'nonsense'" in ended.stdout + ended.stderr
