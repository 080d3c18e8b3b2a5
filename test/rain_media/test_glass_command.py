"""``ros2-derain rain --glass``: wet glass on images, folders, videos and bags, and the masks."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_bags import FIRST_NS, SCENE, of, raw_image, read_bag, write_bag

from ros2_derain import cli
from ros2_derain.rain import Glass, GlassRenderer, Rain, RainRenderer, glass_preset

HEIGHT, WIDTH = SCENE.shape[:2]


def rain(*arguments) -> int:
    return cli.main(["rain", *map(str, arguments)])


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image[:, :, ::-1]


def table(folder: Path) -> dict[str, dict]:
    with (folder / "glass.csv").open() as file:
        return {row["mask"]: row for row in csv.DictReader(file)}


def test_glass_on_an_image_without_streaks_and_its_mask(street, tmp_path):
    options = ["--glass", 0.08, "--focus", 6, "--wiper", 0.8, "--masks", tmp_path / "masks"]
    assert rain(street, tmp_path / "wet.png", *options) == 0
    expected = GlassRenderer(Glass(coverage=0.08, focus=6, wiper=0.8), HEIGHT, WIDTH).render(SCENE)
    assert (read(tmp_path / "wet.png") == expected.image).all()
    assert (read(tmp_path / "masks" / "street.png")[:, :, 0] == expected.mask).all()
    row = table(tmp_path / "masks")["street.png"]
    assert float(row["coverage"]) == pytest.approx(expected.coverage, abs=1e-5)


def test_streaks_come_before_the_glass(street, tmp_path):
    assert rain(street, tmp_path / "wet.png", "--rate", 50, "--glass", 0.1, "--seed", 5) == 0
    rainy = RainRenderer(Rain(50), HEIGHT, WIDTH, seed=5).render(SCENE)
    expected = GlassRenderer(Glass(coverage=0.1, seed=5), HEIGHT, WIDTH).render(rainy)
    assert (read(tmp_path / "wet.png") == expected.image).all()


def test_a_folder_and_a_video_get_the_glass_of_their_times(clip, tmp_path):
    options = ["--glass-preset", "heavy_windscreen", "--film", 0.5, "--masks"]
    assert rain(clip, tmp_path / "wet", *options, tmp_path / "masks") == 0
    glass = GlassRenderer(Glass(**{**vars(glass_preset("heavy_windscreen")), "film": 0.5}), HEIGHT, WIDTH)
    views = [glass.render(SCENE, index / 10) for index in range(3)]
    for index, view in enumerate(views):
        assert (read(tmp_path / "wet" / f"{index}.png") == view.image).all()
        assert (read(tmp_path / "masks" / f"{index}.png")[:, :, 0] == view.mask).all()
        row = table(tmp_path / "masks")[f"{index}.png"]
        assert float(row["contrast_loss"]) == pytest.approx(view.contrast_loss, abs=1e-5)
    writer = cv2.VideoWriter(
        str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT)
    )
    for _ in range(3):
        writer.write(SCENE[:, :, ::-1])
    writer.release()
    assert rain(tmp_path / "drive.avi", tmp_path / "wet.avi", *options, tmp_path / "of_video") == 0
    for index, view in enumerate(views):
        assert (read(tmp_path / "of_video" / f"{index:06d}.png")[:, :, 0] == view.mask).all()


def test_cameras_of_a_bag_have_glass_of_their_own_at_the_time_of_their_stamps(tmp_path):
    stamps = [FIRST_NS + index * 40_000_000 for index in range(2)]
    listed = [(topic, raw_image(stamp)) for stamp in stamps for topic in ("/left/image", "/right/image")]
    source = write_bag(tmp_path / "night", listed)
    options = ["--glass", 0.15, "--runs", 2, "--masks", tmp_path / "masks"]
    assert rain(source, tmp_path / "wet", *options) == 0
    seeds = json.loads((tmp_path / "wet" / "rain.json").read_text())["outputs"][0]["cameras"]
    after = read_bag(tmp_path / "wet")
    for camera in ("/left/image", "/right/image"):
        glass = GlassRenderer(Glass(coverage=0.15, runs=2, seed=seeds[camera]), HEIGHT, WIDTH)
        for index, stamp in enumerate(stamps):
            view = glass.render(SCENE, stamp / 1e9)
            message = of(after, camera)[index]
            pixels = message.data.reshape(HEIGHT, WIDTH, 3)
            assert (pixels[:, :, :: -1 if message.encoding == "bgr8" else 1] == view.image).all()
            name = f"{camera.strip('/').replace('/', '_')}_{stamp}.png"
            assert (read(tmp_path / "masks" / name)[:, :, 0] == view.mask).all()


def test_several_values_make_one_output_and_one_folder_of_masks_each(street, tmp_path):
    options = ["--glass", "0.05,0.2", "--focus", "0,6", "--strip", tmp_path / "strip.png"]
    assert rain(street, tmp_path / "out", *options, "--masks", tmp_path / "masks") == 0
    for coverage in (0.05, 0.2):
        for focus in (0, 6):
            label = f"glass{coverage:g}_focus{focus}"
            expected = GlassRenderer(Glass(coverage=coverage, focus=focus), HEIGHT, WIDTH).render(SCENE)
            assert (read(tmp_path / "out" / label / "street.png") == expected.image).all()
            assert (read(tmp_path / "masks" / label / "street.png")[:, :, 0] == expected.mask).all()
    assert read(tmp_path / "strip.png").shape[1] > 4 * WIDTH
    assert rain(street, tmp_path / "again", "--like", tmp_path / "out" / "rain.json") == 0
    for path in (tmp_path / "out").rglob("*.png"):
        assert (read(path) == read(tmp_path / "again" / path.relative_to(tmp_path / "out"))).all()


def test_auto_takes_the_coverage_from_the_rate_and_the_wiper(street, tmp_path):
    options = ["--rate", "5,100", "--glass", "auto", "--wiper", 2]
    assert rain(street, tmp_path / "out", *options) == 0
    outputs = json.loads((tmp_path / "out" / "rain.json").read_text())["outputs"]
    for output, rate in zip(outputs, (5, 100), strict=True):
        expected = Glass.in_rain(rate, wiper=2)
        assert output["glass"]["coverage"] == pytest.approx(expected.coverage)
        assert output["glass"]["size"] == pytest.approx(expected.size)
    assert outputs[1]["glass"]["coverage"] > outputs[0]["glass"]["coverage"] > 0


def test_start_is_the_time_of_the_first_image(clip, tmp_path):
    assert rain(clip, tmp_path / "wet", "--glass", 0.1, "--runs", 1, "--rate", 30, "--start", "0,2.5") == 0
    glass = GlassRenderer(Glass(coverage=0.1, runs=1), HEIGHT, WIDTH)
    streaks = RainRenderer(Rain(30), HEIGHT, WIDTH)
    for start in (0, 2.5):
        expected = glass.render(streaks.render(SCENE, start + 0.2), start + 0.2).image
        assert (read(tmp_path / "wet" / f"30_glass0.1_start{start:g}" / "2.png") == expected).all()
    assert rain(clip, tmp_path / "again", "--like", tmp_path / "wet" / "rain.json") == 0
    assert (read(tmp_path / "again" / "30_glass0.1_start2.5" / "2.png") == expected).all()


def test_film_alone_hides_nothing_but_lowers_the_contrast(street, tmp_path):
    assert rain(street, tmp_path / "hazy.png", "--film", 0.6, "--masks", tmp_path / "masks") == 0
    assert not read(tmp_path / "masks" / "street.png").any()
    assert float(table(tmp_path / "masks")["street.png"]["contrast_loss"]) > 0.3
    assert read(tmp_path / "hazy.png").std() < 0.8 * SCENE.std()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--glass", "1.5"], "coverage 1.5"),
        (["--focus", "6"], "--focus describes drops"),
        (["--glass", "auto"], "--rate"),
        (["--glass-preset", "fog"], "heavy_windscreen"),
        (["--glass", "0.1", "--wiper", "0.01"], "wiper 0.01"),
        (["--glass", "0.1,0.1"], "twice"),
        (["--glass", "0.1", "--masks", "{out}/masks"], "name a folder beside it"),
        (["--glass", "0.1", "--masks", "{folder}"], "name another output"),
        (["--glass", "0.1", "--like", "{card}"], "leave out"),
    ],
)
def test_a_bad_call_is_one_line_and_writes_nothing(street, clip, tmp_path, capsys, arguments, said):
    assert rain(street, tmp_path / "before.png", "--glass", 0.1) == 0
    names = {"out": tmp_path / "out.png", "folder": clip, "card": tmp_path / "before.rain.json"}
    before = sorted(tmp_path.rglob("*"))
    assert rain(street, tmp_path / "out.png", *(argument.format(**names) for argument in arguments)) == 2
    assert sorted(tmp_path.rglob("*")) == before
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ros2-derain rain: ")]
    assert said in line


@pytest.mark.parametrize("values", [("--glass", "wet"), ("--focus", "soft")])
def test_an_option_that_is_no_number_is_a_usage_error(street, tmp_path, capsys, values):
    with pytest.raises(SystemExit):
        rain(street, tmp_path / "new.png", *values)
    assert values[1] in capsys.readouterr().err
