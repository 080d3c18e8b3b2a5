"""Clips: labels and boxes follow the image; an item depends on the seed and its index alone."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import CamVid, Photographs
from ros2_derain.learning import LearningError, sources
from ros2_derain.learning.clips import Clips, ClipSettings, paste
from ros2_derain.learning.random_rain import StreakLayers, StreakStyle, add_streaks


def write_split(folder: Path, count: int = 3) -> Path:
    """A camvid-like split: a bright square of class 8 (car) on road, with its box."""
    for name in ("train/images", "train/labels", "boxes"):
        (folder / name).mkdir(parents=True)
    listed = [f"train/images/{index}.png,320,240" for index in range(count)]
    (folder / "boxes" / "images.csv").write_text("\n".join(["image,width,height", *listed]))
    with (folder / "boxes" / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "class", "xmin", "ymin", "xmax", "ymax"))
        for index in range(count):
            image, labels = np.zeros((240, 320, 3), np.uint8), np.full((240, 320), 3, np.uint8)
            image[100:160, 120:200], labels[100:160, 120:200] = 255, 8
            labels[:10] = 11
            cv2.imwrite(str(folder / f"train/images/{index}.png"), image)
            cv2.imwrite(str(folder / f"train/labels/{index}.png"), labels)
            writer.writerow((f"train/images/{index}.png", "car", 120, 100, 200, 160))
    return folder


def test_labels_and_boxes_follow_the_image(tmp_path):
    folder = write_split(tmp_path)
    source = CamVid(folder / "train", folder / "boxes")
    settings = ClipSettings(height=96, width=128, frames=3, dry=1.0, rains=2)
    boxes_seen = 0
    clips = Clips([(source, 1.0)], settings, seed=1)
    for item in (clips[index] for index in range(12)):
        assert item["clean"].shape == (3, 3, 96, 128) and item["labels"].shape == (3, 96, 128)
        assert (item["rain"] == item["clean"]).all() and item["rate"] == 0
        for clean, labels, boxes in zip(item["clean"], item["labels"], item["boxes"], strict=True):
            bright = clean.float().mean(0) > 100
            agree = (bright == (labels == 8)).float().mean()
            assert agree > 0.97
            for _, x0, y0, x1, y1 in boxes[boxes[:, 0] >= 0]:
                boxes_seen += 1
                inside = bright[int(y0 + 1) : int(y1), int(x0 + 1) : int(x1)]
                assert inside.float().mean() > 0.9
    assert boxes_seen > 10


def test_the_same_seed_gives_the_same_clips(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(height=64, width=64, rains=2)
    begun, resumed = (Clips([(source, 1.0)], settings, seed=3) for _ in range(2))
    for index in range(5):
        begun[index]
    first, second = begun[5], resumed[5]
    assert all((first[key] == second[key]).all() for key in first), "an item depends on nothing before it"
    assert not first["boxes_known"]
    other = Clips([(source, 1.0)], settings, seed=4)[5]
    assert any((first[key] != other[key]).any() for key in ("rain", "clean"))


def test_consecutive_images_are_a_clip_under_one_crop(tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (96, 200, 3), np.uint8)
    for number in range(5):  # a scene that moves by 4 pixels
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), wide[:, 4 * number : 4 * number + 160])
    source = Photographs(tmp_path, driving=True, consecutive=True)
    settings = ClipSettings(height=64, width=96, frames=3, dry=1.0, light=1.0, zoom=(1.0, 1.0), rains=2)
    clips = Clips([(source, 1.0)], settings, seed=2)
    for item in (clips[index] for index in range(4)):
        first, second, third = item["clean"].numpy().astype(int)
        assert item["follows"] and (first != second).mean() > 0.5
        aligned = [
            max((np.roll(later, shift, 2)[:, :, 8:-8] == earlier[:, :, 8:-8]).mean() for shift in (-4, 4))
            for earlier, later in ((first, second), (second, third))
        ]
        assert min(aligned) == 1, "the same crop and the same light of frames that moved by 4 pixels"


def test_streaks_of_real_pairs_fall_on_photographs(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((100, 120, 3), 60, np.uint8))
    layer = np.zeros((80, 90), np.uint8)
    layer[:, ::6] = 90
    style = StreakLayers(StreakStyle(pairs={"few": 0}), [layer])
    settings = ClipSettings(height=64, width=64, frames=2, dry=0.0, light=0.0, layers=1.0, rains=2)
    item = Clips([(Photographs(tmp_path), 1.0)], settings, seed=0, streaks=[style])[0]
    rain, clean = item["rain"].int(), item["clean"].int()
    assert (clean == 60).all() and (rain >= clean).all() and (rain > clean + 40).float().mean() > 0.05
    assert item["raining"] and item["rate"] == -1 and not item["follows"]
    assert (rain[0] != rain[1]).any(), "the views of a photograph get rain of their own"


@pytest.mark.parametrize("heavy, count, gain", [(0, (1, 2), (0.5, 1.3)), (1, (3, 6), (0.6, 1.6))])
def test_patterns_make_light_or_heavy_rain(heavy, count, gain):
    style = StreakLayers(StreakStyle(patterns={"p": 0}, heavy=heavy), [np.full((90, 120), 20, np.uint8)])
    image, random = np.full((64, 80, 3), 10, np.uint8), np.random.default_rng(0)
    added = [int(add_streaks(image, [style], random)[32, 40, 0]) - 10 for _ in range(200)]
    assert min(added) >= count[0] * gain[0] * 20 - 1 and max(added) <= count[1] * gain[1] * 20 + 1
    assert len(set(added)) > 10


def test_styles_are_drawn_by_their_weight():
    styles = [
        StreakLayers(StreakStyle(pairs={"p": 0}, weight=weight), [np.full((9, 9), value, np.uint8)])
        for value, weight in ((10, 1.0), (100, 3.0))
    ]
    image, random = np.zeros((16, 16, 3), np.uint8), np.random.default_rng(0)
    bright = [add_streaks(image, styles, random)[8, 8, 0] > 60 for _ in range(800)]
    assert np.mean(bright) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("doubled, layers", [(0, 1), (1, 2)])
def test_streaks_of_two_pairs_are_added_where_the_style_doubles(doubled, layers):
    style = StreakLayers(StreakStyle(pairs={"p": 0}, doubled=doubled), [np.full((9, 9), 100, np.uint8)])
    image, random = np.zeros((16, 16, 3), np.uint8), np.random.default_rng(0)
    values = [int(add_streaks(image, [style], random)[8, 8, 0]) for _ in range(100)]
    weakest, strongest = (255 * (100 / 255) ** gamma * gain for gamma, gain in ((1.2, 0.8), (0.85, 1.2)))
    assert layers * weakest - 1 <= min(values) and max(values) <= layers * strongest + 1


def test_held_out_pairs_and_patterns_stay_out_of_training(tmp_path):
    for index in range(5):
        for folder in ("rain_pairs/few/rain", "rain_pairs/few/clean", "rain_layers/lines"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            value = 0 if folder.endswith("clean") else 10 * (index + 1)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), np.full((20, 30, 3), value, np.uint8))
    styles = {"a": StreakStyle(pairs={"few": 2}), "b": StreakStyle(patterns={"lines": 2})}
    pairs, patterns = sources.streak_layers(styles, tmp_path)
    assert [layer.max() for layer in pairs.layers] == [20, 40]
    assert [layer.max() for layer in patterns.layers] == [10, 20, 30]
    assert [pair.name for pair in sources.held_out_pairs(styles, tmp_path)] == ["0", "2", "4"]
    with pytest.raises(LearningError, match="lines has 5 patterns, of which 5 are held out: hold out fewer"):
        sources.streak_layers({"b": StreakStyle(patterns={"lines": 5})}, tmp_path)


def test_pasted_objects_bring_their_labels_and_boxes(tmp_path):
    folder = write_split(tmp_path)
    source = CamVid(folder / "train", folder / "boxes")
    empty = replace(
        source[0], image=np.zeros_like(source[0].image), labels=np.full((240, 320), 3, np.uint8),
        boxes=np.zeros((0, 5), np.float32),
    )  # fmt: skip
    pasted = [paste(empty, source[0], np.random.default_rng(seed)) for seed in range(20)]
    cars = [sample for sample in pasted if (sample.labels == 8).any()]
    assert 0 < len(cars) < 20
    for sample in pasted:
        has_car = (sample.labels == 8).any()
        assert len(sample.boxes) == has_car and (sample.image[130, 160] == 255 * has_car).all()
    assert (empty.image == 0).all(), "the sample itself is left alone"


def test_wet_glass_hides_what_its_mask_says_in_every_frame_of_a_clip(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(height=96, width=128, frames=3, dry=1.0, light=0.0, glass=1.0, rains=4)
    clips = Clips([(source, 1.0)], settings, seed=2)
    hidden = 0
    for index in range(12):
        item = clips[index]
        assert item["raining"] and not item["streaked"] and item["rate"] == 0
        assert item["hidden"].shape == (3, 96, 128) and 0 <= item["contrast_loss"] <= 1
        if item["contrast_loss"] == 0:
            changed = (item["rain"].int() - item["clean"].int()).abs().amax(1) > 1
            assert not changed[item["hidden"] == 0].any()
        hidden += int((item["hidden"] > 127).sum())
    assert hidden > 0


def test_drops_stand_still_in_the_mean_of_what_was_seen_before_and_the_scene_does_not(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (2, 120, 160, 3), np.uint8)
    for index, image in enumerate(noise):
        cv2.imwrite(str(tmp_path / f"{index}.png"), cv2.resize(image, None, fx=2, fy=2))
    settings = ClipSettings(
        height=96, width=128, frames=1, dry=1.0, light=0.0, glass=1.0, glass_kinds=("dome",), recent=1.0
    )
    clips = Clips([(Photographs(tmp_path), 1.0)], settings, seed=4)
    still, moving = [], []
    for index in range(30):
        item = clips[index]
        assert item["recent"].shape == (3, 96, 128)
        differs = (item["rain"][0].float() - item["recent"].float()).abs().mean(0)
        hidden = item["hidden"][0] == 255
        if hidden.any() and differs.mean() > 20:
            still.append(float(differs[hidden].mean()))
            moving.append(float(differs[item["hidden"][0] == 0].mean()))
    assert len(still) > 5 and np.mean(still) < 0.6 * np.mean(moving)


def test_without_earlier_images_the_mean_is_the_first_frame(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(height=64, width=64, glass=0.5, recent=0.0)
    clips = Clips([(source, 1.0)], settings, seed=3)
    assert all(np.array_equal(item["recent"], item["rain"][0]) for item in map(clips.__getitem__, range(6)))
    assert "recent" not in Clips([(source, 1.0)], replace(settings, recent=None), seed=3)[0]


def test_restored_glass_shows_more_of_the_scene(tmp_path):
    """In what the glass hides; and nothing is left for a derainer to do."""
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(96, 128, dry=1.0, light=0.0, glass=1.0, glass_kinds=("dome",), rains=4)
    raw, restored = (
        [Clips([(source, 1.0)], replace(settings, restored=share), seed=3)[index] for index in range(12)]
        for share in (0.0, 1.0)
    )
    errors = []
    for wet, clear in zip(raw, restored, strict=True):
        assert all(np.array_equal(wet[key], clear[key]) for key in ("clean", "labels", "hidden"))
        assert wet["raining"] and not clear["raining"]
        hidden = (wet["hidden"] > 200)[:, None].expand_as(wet["clean"])
        errors.append(
            [(clip["rain"].int() - clip["clean"].int())[hidden].abs().sum() for clip in (wet, clear)]
        )
    before, after = np.transpose([pair for pair in errors if pair[0] > 1000])
    assert len(before) > 5 and np.median(after / before) < 0.9


def test_clips_without_glass_hide_nothing(tmp_path):
    item = Clips(
        [(CamVid(write_split(tmp_path) / "train"), 1.0)], ClipSettings(height=64, width=64, rains=2)
    )[0]
    assert (item["hidden"] == 0).all() and item["contrast_loss"] == 0


def test_every_frame_of_a_clip_is_in_the_same_other_condition(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(
        height=64, width=64, frames=2, dry=1.0, light=0.0, conditions=1.0, zoom=(1.0, 1.0)
    )
    plain = replace(settings, conditions=0.0)
    differs = []
    for index in range(8):
        changed, same = (
            Clips([(source, 1.0)], chosen, seed=5)[index]["clean"] for chosen in (settings, plain)
        )
        levels = [float(frame[0].float().mean()) for frame in (*changed, *same)]
        differs.append(abs(levels[0] - levels[2]))
        assert abs((levels[0] - levels[1]) - (levels[2] - levels[3])) < 25  # both frames changed alike
    assert max(differs) > 5


def test_a_cheap_camera_takes_the_rainy_frames_alone(tmp_path):
    source = CamVid(write_split(tmp_path) / "train")
    settings = ClipSettings(height=64, width=64, dry=1.0, light=0.0, camera=1.0)
    items = [Clips([(source, 1.0)], settings, seed=6)[index] for index in range(8)]
    assert any((item["rain"] != item["clean"]).any() for item in items)
    assert not any((item["clean"].float() - item["rain"].float()).abs().mean() > 20 for item in items)
