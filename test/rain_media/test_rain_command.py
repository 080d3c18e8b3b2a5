"""``ros2-derain rain`` on real files: images, folders, videos and bags; invalid input."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_bags import FIRST_NS, SCENE, compressed_image, encoded, of, raw_image, read_bag, text, write_bag
from rosbags.rosbag2 import StoragePlugin

from ros2_derain import cli
from ros2_derain.rain import Rain, RainRenderer, preset


def rain(*arguments) -> int:
    return cli.main(["rain", *map(str, arguments)])


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image[:, :, ::-1]


# Images and folders


def test_an_image_gets_the_rain_of_its_rate_and_seed(street, tmp_path):
    assert rain(street, tmp_path / "rainy.png", "--rate", 150, "--seed", 4, "--wind", -3) == 0
    expected = RainRenderer(Rain(150, wind=-3), 96, 128, seed=4).render(SCENE)
    assert (read(tmp_path / "rainy.png") == expected).all()


def test_a_folder_is_a_clip_whose_rain_moves_on(clip, tmp_path):
    out = tmp_path / "rainy"
    assert rain(clip, out, "--rate", 80, "--no-veil", "--mask") == 0
    renderer = RainRenderer(Rain(80, veil=0), 96, 128)
    for index in range(3):
        assert (read(out / f"{index}.png") == renderer.render(SCENE, index / 10)).all()
        streaks = np.round(255 * renderer.streaks(index / 10))
        assert (read(out / "streaks" / f"{index}.png")[:, :, 0] == streaks).all()
    assert (out / "clip.yaml").read_text() == "fps: 10\n"


def test_streaks_that_would_have_one_name_are_refused(clip, tmp_path, capsys):
    cv2.imwrite(str(clip / "1.jpg"), SCENE)
    assert rain(clip, tmp_path / "rainy", "--rate", 80) == 0
    assert rain(clip, tmp_path / "masked", "--rate", 80, "--mask") == 2
    assert "1.jpg and 1.png: keep one of them" in capsys.readouterr().err
    assert not (tmp_path / "masked").exists()


def test_one_broken_image_of_a_folder_is_named_and_the_others_keep_their_time(clip, tmp_path, capsys):
    (clip / "1.png").write_bytes((clip / "0.png").read_bytes()[:-40])
    assert rain(clip, tmp_path / "rainy", "--rate", 80) == 0
    assert "1 of 3 left out" in (said := capsys.readouterr().out) and "1.png" in said
    assert "cut off" in json.loads((tmp_path / "rainy/rain.json").read_text())["outputs"][0]["left_out"][0]
    expected = RainRenderer(Rain(80), 96, 128).render(SCENE, 2 / 10)
    assert (read(tmp_path / "rainy/2.png") == expected).all()
    assert not (tmp_path / "rainy/1.png").exists()


def test_a_folder_in_natural_order_with_hidden_files_and_a_name_that_is_not_utf_8(tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "rainy"
    folder.mkdir()
    ok, png = cv2.imencode(".png", SCENE[:, :, ::-1])
    names = [b"1.png", b"2.png", b"10.png", b"stra\xdfe 11.png"]
    for name in (*names, b"._1.png", b".DS_Store"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(png if ok else b"")
    assert rain(folder, out, "--rate", 90, "--fps", 10) == 0
    renderer = RainRenderer(Rain(90), 96, 128)
    for index, name in enumerate(names):
        made = np.frombuffer((out / os.fsdecode(name)).read_bytes(), np.uint8)
        image = cv2.imdecode(made, cv2.IMREAD_COLOR)[:, :, ::-1]
        assert (image == renderer.render(SCENE, index / 10)).all()
    assert len(list(out.iterdir())) == len(names) + 1  # and rain.json


def test_several_rates_make_one_folder_each_and_a_strip(street, tmp_path):
    strip = tmp_path / "strip.png"
    assert rain(street, tmp_path / "out", "--rate", "0,25,150", "--strip", strip) == 0
    assert (read(tmp_path / "out" / "0" / "street.png") == SCENE).all()
    for rate in (25, 150):
        expected = RainRenderer(Rain(rate), 96, 128).render(SCENE)
        assert (read(tmp_path / "out" / str(rate) / "street.png") == expected).all()
    cells = read(strip)
    assert cells.shape[1] > 3 * 128 and cells.shape[0] > 96
    assert (cells[:96, :128] == SCENE).all() and (cells[:96, 132 : 132 + 128] != SCENE).any()


def test_a_preset_keeps_what_no_option_changes(street, tmp_path):
    assert rain(street, tmp_path / "out.png", "--preset", "rain100h", "--breadth", 1.0) == 0
    card = json.loads((tmp_path / "out.rain.json").read_text())["outputs"][0]
    expected = preset("rain100h")
    assert card["rain"]["breadth"] == 1.0 and card["rain"]["rate"] == expected.rate
    assert tuple(card["rain"]["directions"]) == expected.directions


def test_like_makes_the_same_rain_again(street, tmp_path):
    options = ["--preset", "xu-1-3,ubcn", "--rate", "60,90", "--seed", 3, "--exposure", "1/30"]
    assert rain(street, tmp_path / "first", *options) == 0
    assert rain(street, tmp_path / "again", "--like", tmp_path / "first" / "rain.json") == 0
    made = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.png"))
    assert len(made) == 4
    for path in made:
        assert (read(tmp_path / "first" / path) == read(tmp_path / "again" / path)).all()


# Videos


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_stays_as_long_and_as_fast(tmp_path, suffix):
    source, out = tmp_path / f"drive{suffix}", tmp_path / f"rainy{suffix}"
    codec = cv2.VideoWriter.fourcc(*{".avi": "MJPG", ".mp4": "mp4v"}[suffix])
    writer = cv2.VideoWriter(str(source), codec, 12.0, (128, 96))
    for _ in range(5):
        writer.write(SCENE[:, :, ::-1].copy())
    writer.release()
    assert rain(source, out, "--rate", 200) == 0
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    frames = [capture.read()[1][:, :, ::-1].astype(int) for _ in range(5)]
    assert not capture.read()[0]
    for index in (0, 4):
        expected = RainRenderer(Rain(200), 96, 128).render(SCENE, index / 12).astype(int)
        assert np.abs(frames[index] - expected).mean() < 12 < np.abs(frames[index] - SCENE).mean()


# Bags


def messages() -> list[tuple[str, object]]:
    """Two cameras, the left one compressed too, a depth image, and a string, at two times."""
    jpeg, png = encoded("jpg"), encoded("png")
    listed = []
    for stamp in (FIRST_NS, FIRST_NS + 40_000_000):
        listed += [
            ("/left/image_raw", raw_image(stamp, SCENE[:, :, ::-1], "bgr8")),
            ("/left/image_raw/compressed", compressed_image(stamp, png, "rgb8; png compressed bgr8")),
            ("/right/image_raw", raw_image(stamp)),
            ("/rear", compressed_image(stamp, jpeg)),
            ("/depth", raw_image(stamp, np.full((96, 128), 3000, np.uint16), "16UC1")),
            ("/note", text(f"at {stamp}")),
        ]
    listed.append(("/rear", compressed_image(FIRST_NS + 80_000_000, jpeg[: len(jpeg) // 2])))
    return listed


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_keeps_everything_but_the_pixels(tmp_path, plugin):
    source = write_bag(tmp_path / "night", messages(), plugin)
    assert rain(source, tmp_path / "rainy", "--rate", 120) == 0
    before, after = read_bag(source), read_bag(tmp_path / "rainy")
    suffix = {StoragePlugin.MCAP: "mcap", StoragePlugin.SQLITE3: "db3"}[plugin]
    assert (tmp_path / "rainy" / f"rainy.{suffix}").is_file()
    assert [(topic, t) for topic, t, *_ in after] == [(topic, t) for topic, t, *_ in before]
    for (topic, _, raw, old), (_, _, new_raw, new) in zip(before, after, strict=True):
        if topic in ("/depth", "/note"):
            assert raw == new_raw
        else:
            assert repr(new.header) == repr(old.header)


def test_each_camera_has_its_own_rain_at_the_time_of_its_stamps(tmp_path):
    assert (
        rain(write_bag(tmp_path / "night", messages()), tmp_path / "rainy", "--rate", 120, "--seed", 2) == 0
    )
    after = read_bag(tmp_path / "rainy")
    seeds = json.loads((tmp_path / "rainy" / "rain.json").read_text())["outputs"][0]["cameras"]
    assert len({seeds[camera] for camera in ("/left/image_raw", "/right/image_raw", "/rear")}) == 3
    for index in range(2):
        time_s = (FIRST_NS + index * 40_000_000) / 1e9
        left, right = (
            RainRenderer(Rain(120), 96, 128, seed=seeds[camera]).render(SCENE, time_s)
            for camera in ("/left/image_raw", "/right/image_raw")
        )
        raw, png = of(after, "/left/image_raw")[index], of(after, "/left/image_raw/compressed")[index]
        assert raw.encoding == "bgr8" and (raw.data.reshape(96, 128, 3)[:, :, ::-1] == left).all()
        assert (cv2.imdecode(png.data, cv2.IMREAD_COLOR)[:, :, ::-1] == left).all()
        assert (of(after, "/right/image_raw")[index].data.reshape(96, 128, 3) == right).all()
        assert (left != right).any()


def test_images_that_cannot_be_read_are_copied_and_counted(tmp_path, capsys):
    assert rain(write_bag(tmp_path / "night", messages()), tmp_path / "rainy", "--rate", 50) == 0
    outputs = json.loads((tmp_path / "rainy" / "rain.json").read_text())["outputs"][0]
    assert outputs["copied_unread"]["/rear"]["images"] == 1 and outputs["rainy"]["/rear"] == 2
    assert outputs["copied_unread"]["/depth"]["images"] == 2
    assert "cut off" in capsys.readouterr().out
    kept, cut = (of(read_bag(tmp_path / name), "/rear")[2].data for name in ("rainy", "night"))
    assert (kept == cut).all()


def test_topics_choose_the_cameras(tmp_path):
    source = write_bag(tmp_path / "night", messages())
    assert rain(source, tmp_path / "rainy", "--topics", "/right/image_raw") == 0
    before, after = read_bag(source), read_bag(tmp_path / "rainy")
    changed = {old[0] for old, new in zip(before, after, strict=True) if old[2] != new[2]}
    assert changed == {"/right/image_raw"}


def test_a_single_mcap_file_is_a_bag(tmp_path):
    source = write_bag(tmp_path / "night", messages())
    assert rain(source / "night.mcap", tmp_path / "rainy") == 0
    assert len(read_bag(tmp_path / "rainy")) == len(messages())


def test_a_bag_of_2019_without_metadata_is_read(data_dir, tmp_path):
    assert rain(data_dir / "bags" / "klintan_sample", tmp_path / "rainy", "--rate", 100) == 0
    outputs = json.loads((tmp_path / "rainy" / "rain.json").read_text())["outputs"][0]
    assert outputs["rainy"] == {"/image": 1, "/image/compressed": 1}


# Errors


def refused(capsys, tmp_path: Path, *arguments) -> str:
    """The one line of an error; nothing new may be there afterwards."""
    before = sorted(tmp_path.rglob("*"))
    assert rain(*arguments) == 2
    assert sorted(tmp_path.rglob("*")) == before
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ros2-derain rain: ")]
    return line


def test_an_existing_output_is_kept_unless_forced(street, clip, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert rain(street, out, "--rate", 10) == 0
    assert "--force" in refused(capsys, tmp_path, street, out)
    assert rain(street, out, "--rate", 200, "--force") == 0
    assert (read(out) == RainRenderer(Rain(200), 96, 128).render(SCENE)).all()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    assert "did not make it" in refused(capsys, tmp_path, clip, mine, "--force")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{street}", "{new}", "--rate", "50"], "must end in"),
        (["{street}", "{new}.png", "--rate", "300"], "rate 300"),
        (["{street}", "{new}.png", "--rate", "50,50"], "twice: 50"),
        (["{street}", "{new}.png", "--preset", "rain12"], "rain100l"),
        (["{street}", "{new}.png", "--topics", "/a"], "--topics goes with a bag"),
        (["{street}", "{street}", "--force"], "is the input"),
        (["{street}", "{new}.png", "--like", "{clip}/clip.yaml"], "not a rain.json"),
        (["{street}.jpg", "{new}.jpg"], "does not exist"),
        (["{clip}/clip.yaml", "{new}"], "ends in one of"),
        (["{clip}", "{new}", "--fps", "0"], "--fps 0"),
        (["{clip}", "{new}", "--seed", "-1"], "--seed -1"),
        (["{clip}/0.png", "{clip}", "--rate", "5,10", "--force"], "holds the input"),
        (["{empty}", "{new}"], "holds no image"),
    ],
)
def test_a_bad_call_is_one_line(street, clip, tmp_path, capsys, arguments, said):
    (tmp_path / "empty").mkdir()
    names = {"street": street, "clip": clip, "new": tmp_path / "new", "empty": tmp_path / "empty"}
    assert said in refused(capsys, tmp_path, *(argument.format(**names) for argument in arguments))


def test_a_folder_without_a_readable_image_leaves_nothing(clip, tmp_path, capsys):
    for index in range(3):
        (clip / f"{index}.png").write_bytes(b"no image")
    assert "0.png" in refused(capsys, tmp_path, clip, tmp_path / "out")


def test_a_bag_without_cameras_is_refused_and_of_one_that_was_cut_off_the_loss_is_reported(tmp_path, capsys):
    silent = write_bag(tmp_path / "silent", [m for m in messages() if m[0] == "/note"])
    assert "/note" in refused(capsys, tmp_path, silent, tmp_path / "out")
    whole = write_bag(tmp_path / "whole", messages()) / "whole.mcap"
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:-2000])
    assert rain(cut, tmp_path / "out") == 0
    assert "cut.mcap was cut off" in capsys.readouterr().out


@pytest.mark.parametrize("values", [("--rate", "wet"), ("--exposure", "1/0")])
def test_an_option_that_is_no_number_is_a_usage_error(street, tmp_path, capsys, values):
    with pytest.raises(SystemExit):
        rain(street, tmp_path / "new.png", *values)
    assert values[1] in capsys.readouterr().err
