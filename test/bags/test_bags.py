"""``ros2-derain bag`` on real files, and the reader on bags that are old, split, cut off or no bags."""

import cv2
import numpy as np
import pytest
from made_bags import (
    FIRST_NS,
    SCENE,
    STEP_NS,
    big_bag,
    detections,
    drive,
    encoded,
    of,
    raw_image,
    read_bag,
    text,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin

from ros2_derain import cli
from ros2_derain.bags import BagDamaged
from ros2_derain.bags.reader import BagReader
from ros2_derain.engine import Detection
from ros2_derain.messages import from_detections


def bag(*arguments) -> int:
    return cli.main(["bag", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path):
    """Four images at 20 frames per second, as JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "clip.yaml").write_text("fps: 20\n")
    for index in range(4):
        (folder / f"{index}.jpg").write_bytes(encoded("jpg", np.roll(SCENE, 8 * index, 1)))
    return folder


def stamps(messages) -> list[int]:
    return [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]


# Conversion


def test_image_files_become_messages_with_a_calibration_each(photos, tmp_path):
    assert bag("from-images", photos, tmp_path / "bag", "--start", 5, "--topic", "/front/image_raw") == 0
    made = read_bag(tmp_path / "bag")
    images, infos = of(made, "/front/image_raw"), of(made, "/front/camera_info")
    assert stamps(images) == stamps(infos) == [5 * 10**9 + index * 50_000_000 for index in range(4)]
    for index, image in enumerate(images):
        expected = cv2.imread(str(photos / f"{index}.jpg"))[:, :, ::-1]
        assert (image.data.reshape(96, 128, 3) == expected).all() and image.encoding == "rgb8"
    assert infos[0].k[0] == pytest.approx(0.9 * 128) and (infos[0].width, infos[0].height) == (128, 96)


def test_compressed_images_are_the_files_own_bytes(photos, tmp_path):
    assert bag("from-images", photos, tmp_path / "bag", "--compressed") == 0
    images = of(read_bag(tmp_path / "bag"), "/camera/image_raw/compressed")
    assert [bytes(image.data) for image in images] == [p.read_bytes() for p in sorted(photos.glob("*.jpg"))]


def test_a_video_becomes_a_bag_and_a_video_again(photos, tmp_path):
    assert bag("from-images", photos, tmp_path / "bag") == 0
    assert bag("to-video", tmp_path / "bag", tmp_path / "drive.avi") == 0
    assert bag("from-video", tmp_path / "drive.avi", tmp_path / "again") == 0
    images = of(read_bag(tmp_path / "again"), "/camera/image_raw")
    assert np.diff(stamps(images)) == pytest.approx(5e7)
    for index, image in enumerate(images):
        first = cv2.imread(str(photos / f"{index}.jpg"))[:, :, ::-1].astype(int)
        assert np.abs(image.data.reshape(96, 128, 3) - first).mean() < 8


def test_a_video_leaves_out_what_cannot_be_read(tmp_path, capsys):
    listed = drive(3)
    listed[1] = ("/image", raw_image(FIRST_NS, SCENE, "no_encoding"))
    assert bag("to-video", write_bag(tmp_path / "bag", listed), tmp_path / "out.avi") == 0
    printed = capsys.readouterr().out
    assert "2 frames" in printed and "1 left out" in printed and "no_encoding" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["from-images", "{photos}", "{tmp}/bag", "--topic", "image raw"], "--topic 'image raw'"),
        (["from-images", "{photos}", "{tmp}/bag", "--fps", "0"], "--fps 0"),
        (["from-images", "{photos}", "{photos}"], "exists"),
        (["to-video", "{bag}", "{tmp}/out.gif"], "must end in one of"),
        (["to-video", "{bag}", "{tmp}/out.avi"], "choose with --topic"),
        (["to-video", "{bag}", "{tmp}/out.avi", "--topic", "/c"], "no image on /c"),
        (["info", "{tmp}"], "is no bag"),
        (["info", "{tmp}/nothing"], "does not exist"),
    ],
)
def test_a_bad_call_is_one_line(photos, tmp_path, capsys, arguments, expected):
    made = write_bag(tmp_path / "two", [*drive(1, "/a"), *drive(1, "/b")])
    names = {"photos": photos, "tmp": tmp_path, "bag": made}
    assert bag(*(argument.format(**names) for argument in arguments)) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("out.*")) and not (tmp_path / "bag").exists()


# Foreign bags


def test_info_lists_topics_and_first_images(tmp_path, capsys):
    listed = [*drive(3), ("/depth", raw_image(FIRST_NS, np.zeros((96, 128), np.uint16), "16UC1"))]
    assert bag("info", write_bag(tmp_path / "bag", listed)) == 0
    _, depth, image = capsys.readouterr().out.splitlines()
    assert "128x96 rgb8" in image and "/image" in image
    assert "not a camera image" in depth and "16UC1" in depth


def test_info_reads_foreign_bags(data_dir, capsys):
    bags = data_dir / "bags"
    assert (
        bag("info", *(bags / n for n in ("klintan_sample", "rosbag2_talker_mcap", "rosbag2_talker_sqlite3")))
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.count("sensor_msgs/msg/Image ") == 1 and printed.count("std_msgs/msg/String") == 3
    assert printed.count("20 messages") == 2 and "5 messages" in printed


def test_info_describes_the_other_bags_where_one_cannot_be_read(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert bag("info", tmp_path / "empty", write_bag(tmp_path / "bag", drive(3))) == 2
    printed = capsys.readouterr()
    assert "128x96 rgb8" in printed.out and "is no bag" in printed.err


def test_an_mcap_that_is_not_of_ros_is_refused_with_its_profile(data_dir, capsys):
    assert bag("info", data_dir / "bags" / "lichtblick_custom_camera") == 2
    assert "holds no ROS 2 messages: its mcap profile is 'custom-camera-models'" in capsys.readouterr().err


def test_a_cut_mcap_is_read_up_to_the_cut(tmp_path, capsys):
    complete = (big_bag(tmp_path / "complete") / "complete.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(complete[: int(0.8 * len(complete))])
    with BagReader(cut) as reader:
        images = [reader.decode(message) for message in reader.messages()]
        assert "was cut off" in reader.cuts[0]
    assert 20 <= len(images) < 40
    assert stamps(images) == [FIRST_NS + i for i in range(len(images))]
    assert bag("info", cut) == 0
    assert "PROBLEM" in capsys.readouterr().out


def test_relative_names_and_stamps_of_a_namespace_s_messages(tmp_path):
    found = detections(FIRST_NS + 5, ("car", 1.0, 2.0, 30.0, 40.0))
    listed = [*drive(2, "/front/image"), ("/front/detections", found), ("/other/mode", text("dry"))]
    with BagReader(write_bag(tmp_path / "bag", listed), namespace="/front") as reader:
        assert [(t.name, t.messages) for t in reader.topics] == [
            ("detections", 1),
            ("image", 2),
            ("other/mode", 1),
        ]
        stamps = [(message.topic, message.stamp_ns) for message in reader.messages()]
        assert stamps == [
            ("image", FIRST_NS),
            ("image", FIRST_NS + STEP_NS),
            ("detections", FIRST_NS + 5),
            ("other/mode", None),
        ]
        (boxes,) = (reader.decode(message) for message in reader.messages(["detections"]))
        assert from_detections(boxes) == (Detection("car", 1.0, 1.0, 2.0, 30.0, 40.0),)


def test_a_folder_without_metadata_is_all_its_files_in_order_of_time(tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    for name, note, begin_ns in (("b", "first", FIRST_NS), ("a", "second", FIRST_NS + 10**9)):
        made = write_bag(tmp_path / name, [("/note", text(note))], begin_ns=begin_ns)
        (made / f"{name}.mcap").rename(folder / f"{name}.mcap")
    with BagReader(folder) as reader:
        assert [reader.decode(message).data for message in reader.messages()] == ["first", "second"]
        assert reader.topics[0].messages == 2 and reader.span_ns == (FIRST_NS, FIRST_NS + 10**9)


def test_a_damaged_database_is_reported(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 96, 128, 3), np.uint8)
    listed = [("/image", raw_image(FIRST_NS + i, image)) for i, image in enumerate(noise)]
    path = write_bag(tmp_path / "bag", listed, StoragePlugin.SQLITE3) / "bag.db3"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 65536] = bytes(range(256)) * 256
    damaged = tmp_path / "damaged.db3"
    damaged.write_bytes(data)
    with BagReader(damaged) as reader, pytest.raises((BagDamaged, ValueError)):
        for message in reader.messages():
            reader.decode(message)


@pytest.mark.parametrize("name", ["empty.db3", "empty.mcap", "noise.mcap", "noise.db3"])
def test_a_file_that_is_no_bag_is_refused_in_a_line(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else bytes(range(256)) * 40)
    assert bag("info", tmp_path / name) == 2
    assert f"{name} cannot be read as a ROS 2 bag" in capsys.readouterr().err


def test_images_of_a_folder_become_a_bag_in_natural_order_without_the_broken_one(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "bag"
    folder.mkdir()
    for number in (1, 2, 3, 10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((96, 128, 3), number, np.uint8))
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    (folder / "._1.png").write_bytes(b"")
    assert cli.main(["bag", "from-images", str(folder), str(out), "--fps", "10", "--start", "100"]) == 0
    assert "1 of 4 left out:" in (said := capsys.readouterr().out) and "3.png" in said
    images = [(time_ns, message) for topic, time_ns, _, message in read_bag(out) if topic.endswith("raw")]
    assert [int(message.data[0]) for _, message in images] == [1, 2, 10]
    assert [time_ns for time_ns, _ in images] == [100_000_000_000, 100_100_000_000, 100_300_000_000]
