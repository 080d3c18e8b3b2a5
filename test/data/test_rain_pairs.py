"""Rain/clean pairs in every public set's layout, and the rain between them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import LAYOUTS, DataError, RainLayers, RainPairs

RAIN, CLEAN = 200, 50
FILES = {
    "rain_clean": (["rain/a.png", "rain/b.png"], ["clean/a.webp", "clean/b.png"]),
    "input_target": (["input/1.png", "input/2.png"], ["target/1.png", "target/2.png"]),
    "rain100": (["rain-001.png", "rain-002.png"], ["norain-001.png", "norain-002.png"]),
    "rain100_rainy": (["rainy/rain-001.png", "rainy/rain-002.png"], ["norain-001.png", "norain-002.png"]),
    "rain_norain": (
        ["rain/norain-1.png", "rain/norain-2x2.png"],
        ["norain/norain-1.png", "norain/norain-2.png"],
    ),
    "jorder": (
        ["rain/X2/norain-001x2.png", "rain/X2/norain-002x2.png"],
        ["norain/norain-001.png", "norain/norain-002.png"],
    ),
    "rain14000": (
        ["rainy_image/1_1.png", "rainy_image/1_14.png", "rainy_image/12_1.png"],
        ["ground_truth/1.png", "ground_truth/12.png"],
    ),
}
"""Rainy and clean files of each layout with two files for a pair."""


def write(path: Path, value: int, height: int = 4, width: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if path.suffix == ".webp" else []
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8), quality)


def fill(folder: Path, layout: str) -> Path:
    rain, clean = FILES[layout]
    for number, name in enumerate(rain):
        write(folder / name, RAIN + number)
    for number, name in enumerate(clean):
        write(folder / name, CLEAN + number)
    return folder


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("layout", FILES)
def test_pairs_of_two_files(tmp_path, layout, named):
    pairs = RainPairs(fill(tmp_path, layout), layout if named else None)
    rain, clean = FILES[layout]
    assert len(pairs) == len(rain)
    assert sorted(pair.name for pair in pairs) == sorted(Path(name).stem for name in rain)
    assert {int(pair.rain[0, 0, 0]) for pair in pairs} == {RAIN + number for number in range(len(rain))}
    assert {int(pair.clean[0, 0, 0]) for pair in pairs} == {CLEAN + number for number in range(len(clean))}
    assert pairs[0].rain.shape == pairs[0].clean.shape == (4, 6, 3)


def test_several_rains_share_a_clean_image(tmp_path):
    pairs = RainPairs(fill(tmp_path, "rain14000"))
    assert {pair.name: int(pair.clean[0, 0, 0]) - CLEAN for pair in pairs} == {"1_1": 0, "1_14": 0, "12_1": 1}


@pytest.mark.parametrize("layout, left, right", [("rain800", CLEAN, RAIN), ("rain1200", RAIN, CLEAN)])
def test_pairs_of_two_halves(tmp_path, layout, left, right):
    image = np.full((4, 12, 3), left, np.uint8)
    image[:, 6:] = right
    cv2.imwrite(str(tmp_path / "7.png"), image)
    with pytest.raises(DataError, match="shows no layout of rain/clean pairs; name one: rain_clean"):
        RainPairs(tmp_path)
    (pair,) = RainPairs(tmp_path, layout)
    assert pair.name == "7" and pair.rain.shape == pair.clean.shape == (4, 6, 3)
    assert (pair.rain == RAIN).all() and (pair.clean == CLEAN).all()
    write(tmp_path / "7.png", 0, width=11)
    with pytest.raises(DataError, match="7.png is 11 pixels wide: not two halves"):
        RainPairs(tmp_path, layout)[0]


def test_streak_layers_beside_the_pairs_are_passed_over(tmp_path):
    write(fill(tmp_path, "rain100") / "rainstreak-001.png", 0)
    assert len(RainPairs(tmp_path)) == 2


def test_a_folder_of_two_layouts_asks_for_one(tmp_path):
    fill(fill(tmp_path, "rain_clean"), "input_target")
    with pytest.raises(DataError, match="fits the layouts rain_clean, input_target; name one"):
        RainPairs(tmp_path)
    assert RainPairs(tmp_path, "input_target")[0].name == "1"


def test_the_error_lists_every_layout(tmp_path):
    with pytest.raises(DataError) as raised:
        RainPairs(tmp_path, "rain1000")
    assert "unknown layout rain1000" in str(raised.value)
    assert all(f"{name} (" in str(raised.value) for name in LAYOUTS)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        RainPairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="rain is not a folder"):
        RainPairs(tmp_path, "rain_clean")
    with pytest.raises(DataError, match="holds no image"):
        RainPairs(tmp_path, "rain800")


def test_images_without_counterpart_are_named(tmp_path):
    fill(tmp_path, "rain14000")
    write(tmp_path / "ground_truth/3.png", 0)
    with pytest.raises(DataError, match="1 of 3 have no rainy image in .*rainy_image; .*truth/3.png"):
        RainPairs(tmp_path)
    write(tmp_path / "rainy_image/4_1.png", 0)
    with pytest.raises(DataError, match="1 of 4 have no clean image in .*ground_truth; .*image/4_1.png"):
        RainPairs(tmp_path)
    write(tmp_path / "ground_truth/3.webp", 0)
    with pytest.raises(DataError, match="3.png and .*3.webp are the clean image of the same pair"):
        RainPairs(tmp_path)
    write(tmp_path / "rainy_image/odd.png", 0)
    (tmp_path / "ground_truth/3.webp").unlink()
    with pytest.raises(DataError, match=r"odd.png does not have a name like \(.\+\)_"):
        RainPairs(tmp_path)


def test_pairs_that_do_not_match_are_named(tmp_path):
    fill(tmp_path, "rain_clean")
    write(tmp_path / "rain/a.png", 0, width=8)
    with pytest.raises(DataError, match="rain/a.png is 8x4 but .*clean/a.webp is 6x4"):
        RainPairs(tmp_path)[0]
    (tmp_path / "rain/a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="rain/a.png is not an image that can be decoded"):
        RainPairs(tmp_path)[0]


def test_layers_are_what_rain_adds(tmp_path):
    fill(tmp_path, "rain_clean")
    rain = np.full((4, 6, 3), CLEAN, np.uint8)
    rain[0, 0], rain[1, 1] = (255, 60, 10), (CLEAN, CLEAN, 0)  # BGR
    cv2.imwrite(str(tmp_path / "rain/a.png"), rain)
    layers = RainLayers(tmp_path)
    assert len(layers) == 2 and layers[0].dtype == np.uint8
    assert layers[0][0, 0].tolist() == [0, 10, 205] and layers[0][1, 1].tolist() == [0, 0, 0]
    assert layers[0].sum() == 215


@pytest.mark.parametrize(
    "name, count",
    [("rain100l", 30), ("rain100h", 30), ("jorder_e", 23), ("sirr_val", 17), ("ddn_synth", 3)],
)
def test_the_real_pairs_are_readable(data_dir, name, count):
    pairs, layers = (kind(data_dir / "rain_pairs" / f"{name}_dev") for kind in (RainPairs, RainLayers))
    assert len(pairs) == len(layers) == count
    pair = pairs[count // 2]
    error = np.square(pair.rain.astype(float) - pair.clean).mean()
    assert 20 < error < 10_000  # rain, but the same scene
    assert (layers[count // 2] >= pair.rain.astype(int) - pair.clean).all()
