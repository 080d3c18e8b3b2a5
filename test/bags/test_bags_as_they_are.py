"""Bags as recorders, copies and other tools leave them: what ``bag info`` reads, every command reads."""

import json
import os
import signal
import struct
import subprocess
import sys

import pytest
from backports import zstd
from made_bags import (
    FIRST_NS,
    STEP_NS,
    STORE,
    big_bag,
    compressed_image,
    drive,
    of,
    pixels,
    read_bag,
    stamp_ns,
    write_bag,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ros2_derain import cli
from ros2_derain.bags.reader import BagReader

FRAMES = 5
STORAGE = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}


def run(*arguments) -> int:
    return cli.main([*map(str, arguments)])


def check_read_by_all(bag, tmp_path, capsys, frames=FRAMES):
    """The commands find the frames of :func:`drive`, with their stamps and pixels."""
    assert run("bag", "info", bag) == 0
    assert f"{frames} messages" in (described := capsys.readouterr().out) and "128x96 rgb8" in described
    assert run("bag", "to-video", bag, tmp_path / "out.avi") == 0
    assert f"{frames} frames of /image" in capsys.readouterr().out
    assert run("rain", bag, tmp_path / "rainy", "--rate", "0", "--no-veil") == 0
    images = of(read_bag(tmp_path / "rainy"), "/image")
    assert [stamp_ns(image) for image in images] == [FIRST_NS + i * STEP_NS for i in range(frames)]
    for image, (_, expected) in zip(images, drive(frames), strict=True):
        assert (pixels(image) == pixels(expected)).all()


def compressed_bag(path, mode: CompressionMode, storage: str):
    """A bag as ``ros2 bag record --compression-format zstd`` leaves it."""
    writer = Writer(path, version=9, storage_plugin=STORAGE[storage])
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for index, (_, message) in enumerate(drive(FRAMES)):
            writer.write(connection, FIRST_NS + index, STORE.serialize_cdr(message, message.__msgtype__))
    return path


# Compression


@pytest.mark.parametrize("storage", ["mcap", "db3"])
@pytest.mark.parametrize("place", ["with_metadata", "without_metadata", "alone"])
def test_a_file_compressed_as_a_whole(tmp_path, capsys, storage, place):
    bag = compressed_bag(tmp_path / "bag", CompressionMode.FILE, storage)
    if place != "with_metadata":
        (bag / "metadata.yaml").unlink()
    check_read_by_all(bag if place != "alone" else bag / f"bag.{storage}.zstd", tmp_path, capsys)


@pytest.mark.parametrize("place", ["with_metadata", "without_metadata", "alone"])
def test_messages_compressed_one_by_one(tmp_path, capsys, place):
    bag = compressed_bag(tmp_path / "bag", CompressionMode.MESSAGE, "db3")
    if place != "with_metadata":
        (bag / "metadata.yaml").unlink()
    check_read_by_all(bag if place != "alone" else bag / "bag.db3", tmp_path, capsys)


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_file_that_was_compressed_by_hand_beside_its_original_is_read_once(tmp_path, capsys, storage):
    bag = write_bag(tmp_path / "bag", drive(FRAMES), STORAGE[storage])
    original = bag / f"bag.{storage}"
    (bag / f"bag.{storage}.zst").write_bytes(zstd.compress(original.read_bytes()))
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert reader.topics[0].messages == FRAMES
    original.unlink()
    check_read_by_all(bag, tmp_path, capsys)


def test_a_compressed_file_that_was_cut_off_is_read_up_to_the_cut(tmp_path, capsys):
    data = zstd.compress((big_bag(tmp_path / "big") / "big.mcap").read_bytes())
    cut = tmp_path / "cut.mcap.zstd"
    cut.write_bytes(data[: int(0.8 * len(data))])
    assert run("bag", "info", cut) == 0
    assert "PROBLEM" in (printed := capsys.readouterr().out) and "decompressed" in printed
    assert run("rain", cut, tmp_path / "rainy") == 0
    assert "cut off" in capsys.readouterr().out
    facts = json.loads((tmp_path / "rainy" / "rain.json").read_text())["outputs"][0]
    assert len(facts["missing"]) == 2 and 20 <= facts["rainy"]["/image"] < 40
    assert run("bag", "to-video", cut, tmp_path / "out.avi") == 0
    assert "cut off" in capsys.readouterr().out


def test_a_full_temporary_folder_is_named(tmp_path):
    bag = tmp_path / "bag.db3.zstd"
    bag.write_bytes(
        zstd.compress((write_bag(tmp_path / "w", drive(1), STORAGE["db3"]) / "w.db3").read_bytes())
    )
    script = (
        "import resource, sys; from ros2_derain import cli; import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", script, "bag", "info", bag], capture_output=True, text=True, env=environment
    )
    assert found.returncode == 2 and "set TMPDIR to a folder with more space" in found.stderr


# Side files of SQLite


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_a_killed_recorder_left_beside_the_database_counts(tmp_path, capsys, mode):
    """A process is killed in the middle of recording; SQLite's own answer is what must be read."""
    bag = write_bag(tmp_path / "bag", drive(FRAMES), STORAGE["db3"])
    (bag / "metadata.yaml").unlink()
    script = f"""
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
rows = database.execute("select * from messages").fetchall()
if "{mode}" == "wal":
    database.execute("delete from messages where rowid > 2")
    database.execute("pragma journal_mode=wal")
    database.execute("pragma wal_autocheckpoint=0")
    database.executemany("insert into messages values (?, ?, ?, ?)", rows[2:])
else:
    database.execute("pragma cache_size=1")
    database.execute("begin")
    for number in range(50):
        database.execute("insert into messages values (?, ?, ?, ?)", (100 + number, *rows[0][1:]))
    database.execute("update messages set data = x'00'")
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script, bag / "bag.db3"])
    assert killed.returncode == -signal.SIGKILL
    beside = bag / {"wal": "bag.db3-wal", "delete": "bag.db3-journal"}[mode]
    assert beside.stat().st_size > 4096
    before = {path.name: path.read_bytes() for path in bag.iterdir()}
    check_read_by_all(bag, tmp_path, capsys)
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before
    (bag / "bag.db3-shm").unlink(missing_ok=True)
    check_read_by_all(bag / "bag.db3", tmp_path / "again", capsys)


# Metadata that does not fit


@pytest.mark.parametrize("storage", ["mcap", "db3"])
@pytest.mark.parametrize("fault", ["empty", "no_identifier", "garbage", "renamed", "version", "wrong_counts"])
def test_metadata_that_does_not_fit(tmp_path, capsys, storage, fault):
    bag = write_bag(tmp_path / "bag", drive(FRAMES), STORAGE[storage])
    metadata = bag / "metadata.yaml"
    text = metadata.read_text()
    if fault == "renamed":
        (bag / f"bag.{storage}").rename(bag / f"monday.{storage}")
    else:
        identifier = {"mcap": "mcap", "db3": "sqlite3"}[storage]
        changed = {
            "empty": "",
            "no_identifier": text.replace(f"storage_identifier: {identifier}", "storage_identifier: ''"),
            "garbage": "\x00{[",
            "version": text.replace("version: 9", "version: 99"),
            "wrong_counts": text.replace(f"message_count: {FRAMES}", "message_count: 0"),
        }[fault]
        assert changed != text
        metadata.write_text(changed)
    check_read_by_all(bag, tmp_path, capsys)


def test_replay_reads_a_renamed_bag_too(tmp_path, rainy_model):
    bag = write_bag(tmp_path / "bag", drive(2))
    (bag / "bag.mcap").rename(bag / "monday.MCAP")
    assert run("replay", bag, "--out", tmp_path / "out", "--model", rainy_model) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames"]["read"] == 2


def test_a_listed_file_that_is_missing_is_a_problem_and_an_unlisted_part_is_read(tmp_path, capsys):
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(3):
        made = write_bag(tmp_path / f"drive_{number}", drive(2), begin_ns=FIRST_NS + number * 10**9)
        (made / f"drive_{number}.mcap").rename(folder / f"drive_{number}.mcap")
    listed = {"relative_file_paths": ["drive_0.mcap", "drive_1.mcap"]}
    (folder / "metadata.yaml").write_text(json.dumps({"rosbag2_bagfile_information": listed}))
    (folder / "other.mcap").write_bytes((folder / "drive_0.mcap").read_bytes())
    with BagReader(folder) as reader:
        assert reader.topics[0].messages == 6 and not reader.cuts
    for name in ("drive_1.mcap", "drive_2.mcap", "other.mcap"):
        (folder / name).unlink()
    assert run("bag", "info", folder) == 0
    assert "drive_1.mcap" in [line for line in capsys.readouterr().out.splitlines() if "PROBLEM" in line][0]


# mcap files of other writers


def with_profile(data: bytes, profile: bytes, library: bytes) -> bytes:
    """An mcap file with another header, and without the indexes that lie behind it."""
    header = b"".join(struct.pack("<I", len(text)) + text for text in (profile, library))
    records, position = [], 8
    while data[position] != 0x0F:  # the end of the data
        end = position + 9 + int.from_bytes(data[position + 1 : position + 9], "little")
        if data[position] != 0x01:
            records.append(data[position:end])
        position = end
    end = struct.pack("<BQI", 0x0F, 4, 0) + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + data[:8]
    return data[:8] + struct.pack("<BQ", 1, len(header)) + header + b"".join(records) + end


@pytest.mark.parametrize("name", ["drive.mcap", "DRIVE.MCAP"])
@pytest.mark.parametrize("header", [(b"", b""), (b"", b"mcap go v1"), (b"x", b"")])
def test_an_mcap_file_without_the_profile_of_ros_2(tmp_path, capsys, name, header):
    data = (write_bag(tmp_path / "bag", drive(FRAMES)) / "bag.mcap").read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(with_profile(data, *header))
    check_read_by_all(tmp_path / "folder", tmp_path, capsys)


# What is no bag


@pytest.mark.parametrize("command", [("bag", "info"), ("rain",), ("bag", "to-video")])
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("lfs.mcap", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "run 'git lfs pull'"),
        ("lfs.db3", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "run 'git lfs pull'"),
        ("metadata.yaml", b"rosbag2_bagfile_information:\n", "name the folder"),
        ("old.bag", b"#ROSBAG V2.0\n", "rosbags-convert"),
        ("old.mcap", b"#ROSBAG V2.0\n", "rosbags-convert"),
        ("noise.db3", bytes(range(100)), "neither mcap nor SQLite 3"),
    ],
)
def test_what_is_no_bag_is_refused_with_what_to_do(tmp_path, capsys, command, name, content, expected):
    (tmp_path / name).write_bytes(content)
    out = [] if command == ("bag", "info") else [tmp_path / "out.avi"]
    assert run(*command, tmp_path / name, *out) == 2
    assert expected in (error := capsys.readouterr().err) and name in error


def test_video_streams_are_refused_with_what_to_do(tmp_path, capsys):
    stream = compressed_image(FIRST_NS, b"\x00\x00\x00\x01\x67" + bytes(100), "h264")
    bag = write_bag(tmp_path / "bag", [("/image/compressed", stream)])
    assert run("bag", "info", bag) == 0
    assert "republish" in capsys.readouterr().out
    assert run("rain", bag, tmp_path / "rainy") == 2
    assert "republish" in capsys.readouterr().err


def test_a_reason_is_printed_whole(tmp_path, capsys):
    broken = compressed_image(FIRST_NS, b"none of these", "rgb8; jpeg compressed bgr8")
    assert run("bag", "info", write_bag(tmp_path / "bag", [("/image/compressed", broken)])) == 0
    assert "'rgb8; jpeg compressed bgr8' is" in (printed := capsys.readouterr().out)
    assert "begin with 6e 6f 6e 65" in printed
