"""``ros2-derain replay`` where something is wrong: with images, stamps, bags, disks, calls."""

import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from made_bags import (
    FIRST_NS,
    SCENE,
    STEP_NS,
    compressed_image,
    drive,
    encoded,
    of,
    pixels,
    raw_image,
    read_bag,
    stamp_ns,
    write_bag,
)
from replaying import records, replay, summary

from ros2_derain.engine import Interpreter
from ros2_derain.replay import output_folder
from ros2_derain.replay.cameras import CameraReplay

# Images and stamps


@pytest.mark.parametrize("stamps", [3 * [0], 3 * [FIRST_NS], [FIRST_NS, 0, 0]])
def test_stamps_that_cannot_be_used_are_replaced_by_the_reception_and_kept_in_the_outputs(
    rainy_model, tmp_path, stamps, capsys
):
    usable = drive(3)
    listed = [
        ("/image", raw_image(stamp, pixels(image))) for stamp, (_, image) in zip(stamps, usable, strict=True)
    ]
    made = {}
    for name, messages in (("usable", usable), ("unusable", listed)):
        bag = write_bag(tmp_path / name, messages, apart_ns=STEP_NS)
        assert replay(bag, tmp_path / "out" / name, rainy_model, "--inject-rain", 50) == 0
        made[name] = of(read_bag(tmp_path / "out" / name / "output"), "/derain/image")
    assert [stamp_ns(image) for image in made["unusable"]] == stamps
    for image, expected in zip(made["unusable"], made["usable"], strict=True):
        assert np.array_equal(image.data, expected.data)
    found, expected = (summary(tmp_path / "out" / name) for name in ("unusable", "usable"))
    assert found["outputs"] == expected["outputs"] and found["injected"] == expected["injected"]
    unusable = sum(stamp == 0 or (index and stamp == stamps[index - 1]) for index, stamp in enumerate(stamps))
    text = f"/image: {unusable} frames have a stamp that is 0 or repeats the one before"
    assert text not in "".join(expected["notes"]) and text in found["notes"][0]
    assert f"NOTE: {text}" in capsys.readouterr().out
    assert text in (tmp_path / "out" / "unusable" / "report.html").read_text()


def test_bad_frames_are_counted_by_cause_and_the_run_goes_on(rainy_model, tmp_path):
    jpeg = encoded("jpg")
    good = [compressed_image(FIRST_NS + index * STEP_NS, jpeg) for index in range(7)]
    listed = [("/cam/compressed", message) for message in good]
    listed[1] = ("/cam/compressed", compressed_image(FIRST_NS + STEP_NS, jpeg[: len(jpeg) // 2]))
    listed[2] = ("/cam/compressed", compressed_image(FIRST_NS + 2 * STEP_NS, b"no image"))
    listed[3] = ("/cam/compressed", compressed_image(FIRST_NS + 3 * STEP_NS, b""))
    tiny = encoded("jpg", np.ascontiguousarray(SCENE[:32, :32]))
    listed[4] = ("/cam/compressed", compressed_image(FIRST_NS + 4 * STEP_NS, tiny))
    assert replay(write_bag(tmp_path / "bag", listed), tmp_path / "out", rainy_model) == 0
    found = summary(tmp_path / "out")["frames"]
    assert found["in"] == 7 and found["read"] == 3
    assert found["unread_by_cause"] == {"format": 1, "length": 1, "size": 1, "truncated": 1}
    assert "unread" in records(tmp_path / "out")[1] and "unread" not in records(tmp_path / "out")[5]
    assert len(of(read_bag(tmp_path / "out" / "output"), "/detections")) == 3
    assert "not read: truncated" in (tmp_path / "out" / "report.html").read_text()


def test_a_damaged_message_is_one_bad_frame(rainy_model, tmp_path):
    listed = drive(3)
    _, image = listed[1]
    listed[1] = ("/image", replace(image, height=5000, data=image.data[:100]))
    assert replay(write_bag(tmp_path / "bag", listed), tmp_path / "out", rainy_model) == 0
    assert [("unread" in record) for record in records(tmp_path / "out")] == [False, True, False]


def test_a_changing_size_and_odd_stamps_are_noted(rainy_model, tmp_path):
    small = np.ascontiguousarray(SCENE[:64, :80])
    stamps = [0, 1, 1, -2, 3, 60, 61]
    images = [SCENE, SCENE, SCENE, SCENE, small, small, SCENE]
    listed = [
        ("/image", raw_image(FIRST_NS + stamp * STEP_NS, image))
        for stamp, image in zip(stamps, images, strict=True)
    ]
    assert replay(write_bag(tmp_path / "bag", listed), tmp_path / "out", rainy_model) == 0
    assert [record["notes"] for record in records(tmp_path / "out")] == [
        [], [], ["stamp repeated"], ["stamp went back"], ["size changed"], ["gap in time"], ["size changed"],
    ]  # fmt: skip
    assert summary(tmp_path / "out")["frames"]["odd"]["size changed"] == 2
    made = of(read_bag(tmp_path / "out" / "output"), "/derain/image")
    assert [stamp_ns(image) for image in made] == [FIRST_NS + stamp * STEP_NS for stamp in stamps]


def test_a_camera_of_which_nothing_can_be_read_fails_with_the_reason(rainy_model, tmp_path, capsys):
    listed = [("/cam/compressed", compressed_image(FIRST_NS, encoded("jpg")[:200]))]
    assert replay(write_bag(tmp_path / "bag", listed), tmp_path / "out", rainy_model) == 1
    assert "PROBLEM: no image could be read" in capsys.readouterr().out


def test_a_parser_that_fails_is_a_warning_and_a_step_down(rainy_model, tmp_path, monkeypatch):
    interpret = Interpreter.interpret

    def failing(self, image):
        if isinstance(image, np.ndarray):  # warming up
            return interpret(self, image)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Interpreter, "interpret", failing)
    assert replay(write_bag(tmp_path / "bag", drive(2)), tmp_path / "out", rainy_model) == 0
    found = summary(tmp_path / "out")
    assert found["modes"] == {"derain_only": 2} and found["frames"]["warned"] == 2
    assert "out of memory" in found["frames"]["first_fault"]
    assert records(tmp_path / "out")[0]["detections"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Steps below the configured mode" in page and "engine fault" in page


# Bags


def test_a_cut_bag_is_replayed_up_to_the_cut(rainy_model, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (20, 192, 256, 3), np.uint8)
    listed = [("/image", raw_image(FIRST_NS + i * STEP_NS, image)) for i, image in enumerate(noise)]
    whole = (write_bag(tmp_path / "whole", listed) / "whole.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(0.5 * len(whole))])
    assert replay(cut, tmp_path / "out", rainy_model) == 1
    assert "was cut off" in capsys.readouterr().out
    found = summary(tmp_path / "out")
    assert 0 < found["frames"]["read"] < 20 and found["passed"] is False


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("klintan_sample", "no image topic /nothing; its image topics: /image, /image/compressed"),
        ("lichtblick_custom_camera", "holds no ROS 2 messages"),
        ("rosbag2_talker_mcap", "its image topics: none"),
        ("rosbag2_talker_sqlite3", "its image topics: none"),
    ],
)
def test_bags_of_others_without_such_a_camera_are_refused(
    data_dir, rainy_model, tmp_path, capsys, name, message
):
    assert replay(data_dir / "bags" / name, tmp_path / "out", rainy_model, "--topic", "/nothing") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_file_is_refused(rainy_model, tmp_path, capsys):
    (tmp_path / "empty.db3").touch()
    assert replay(tmp_path / "empty.db3", tmp_path / "out", rainy_model) == 2
    assert "empty.db3 cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Disks, calls, interruptions


Usage = namedtuple("Usage", "total used free")


def test_a_bag_that_does_not_fit_is_refused_before_anything_is_written(
    rainy_model, tmp_path, capsys, monkeypatch
):
    bag = write_bag(tmp_path / "bag", drive(3))
    free = output_folder.RESERVE + 1000
    monkeypatch.setattr(output_folder.shutil, "disk_usage", lambda path: Usage(10**12, 0, free))
    assert replay(bag, tmp_path / "out", rainy_model) == 2
    assert "67 MB free" in (message := capsys.readouterr().err) and "--record compact" in message
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_ends_the_run_with_everything_before_complete(
    rainy_model, tmp_path, monkeypatch, capsys
):
    asked = []

    def usage(path):
        asked.append(path)
        return Usage(10**12, 0, 10**12 if len(asked) < 4 else output_folder.RESERVE - 1)

    monkeypatch.setattr(output_folder.shutil, "disk_usage", usage)
    assert replay(write_bag(tmp_path / "bag", drive(5)), tmp_path / "out", rainy_model) == 1
    assert "stopped before frame 2 of /image" in capsys.readouterr().out
    assert len(records(tmp_path / "out")) == 2
    assert len(of(read_bag(tmp_path / "out" / "output"), "/detections")) == 2
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_interrupted_run_leaves_a_complete_bag(rainy_model, tmp_path, monkeypatch):
    take = CameraReplay.take

    def interrupted(self, bag, message):
        if self._index == 1:
            raise KeyboardInterrupt
        return take(self, bag, message)

    monkeypatch.setattr(CameraReplay, "take", interrupted)
    assert replay(write_bag(tmp_path / "bag", drive(5)), tmp_path / "out", rainy_model) == 130
    assert len(records(tmp_path / "out")) == 2
    assert len(of(read_bag(tmp_path / "out" / "output"), "/detections")) == 2
    assert not (tmp_path / "out" / "summary.json").exists()


def test_earlier_results_are_replaced_with_force_only(rainy_model, tmp_path, capsys):
    bag, out = write_bag(tmp_path / "bag", drive(1)), tmp_path / "out"
    assert replay(bag, out, rainy_model) == 0
    assert replay(bag, out, rainy_model) == 2 and "--force" in capsys.readouterr().err
    (out / "mine.txt").write_text("kept")
    assert replay(bag, out, rainy_model, "--force") == 0
    assert (out / "mine.txt").read_text() == "kept"
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    assert replay(bag, out, rainy_model, "--force") == 2
    assert "did not make it" in capsys.readouterr().err


def test_a_criterion_that_is_not_met_is_a_named_line_and_status_1(rainy_model, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", drive(1))
    required = tmp_path / "criteria.yaml"
    required.write_text("never rains: rain.max_mm_h < 50\neverything read: frames.unread == 0\n")
    assert replay(bag, tmp_path / "out", rainy_model, "--criteria", required) == 1
    message = capsys.readouterr().out
    assert "FAILED  never rains: rain.max_mm_h < 50" in message and "met     everything read" in message
    page = (tmp_path / "out" / "report.html").read_text()
    assert "✗ Failed" in page and "never rains: rain.max_mm_h is 99.8" in page
    required.write_text("everything read: frames.unread == 0\n")
    assert replay(bag, tmp_path / "out", rainy_model, "--criteria", required, "--force") == 0
    assert "✓ Passed" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inject-rain", "0,50"], "--inject-rain: 0 mm/h is the dry run"),
        (["--inject-rain", "300"], "--inject-rain: '300' is not a rain rate"),
        (["--criteria", "{tmp}/bag/metadata.yaml"], "'rosbag2_bagfile_information'"),
    ],
)
def test_a_bad_call_is_one_line(rainy_model, tmp_path, capsys, options, message):
    bag = write_bag(tmp_path / "bag", drive(1))
    options = [option.format(tmp=tmp_path) for option in options]
    assert replay(bag, tmp_path / "out", rainy_model, *options) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
