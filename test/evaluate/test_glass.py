"""``ros2-derain evaluate glass`` on a small clip and on pairs with masks, through the command line."""

import json
import math

import cv2
import numpy as np
import pytest
import tiny_model

from ros2_derain import cli
from ros2_derain.rain import Glass, GlassRenderer

FRAMES, FPS, SEED = 4, 15, 7
WHITE = (slice(16, 48), slice(32, 64))
TRUE = (slice(16, 48), slice(40, 72))
PATCH = (slice(24, 40), slice(48, 56))
"""Rows and columns that are white, which the gauge takes for water, and that the mask says are hidden."""


@pytest.fixture
def clip(tmp_path):
    """Four labelled frames that move to the right, dark enough for the gauge to see no water."""
    folder = tmp_path / "town" / "val"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    wide = np.random.default_rng(0).integers(0, 160, (9, 24, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for index in range(FRAMES):
        labels = np.ones((72, 96), np.uint8)
        labels[:30], labels[40:60, 40:60] = 0, 2
        cv2.imwrite(str(folder / f"images/{index}.png"), wide[:, 8 * index : 8 * index + 96])
        cv2.imwrite(str(folder / f"labels/{index}.png"), labels)
    return folder


@pytest.fixture
def pairs(tmp_path):
    """Two grey images with a white block, which hides a lighter patch, and masks of a block beside it."""
    folder = tmp_path / "drops"
    for part in ("clean", "rain", "mask"):
        (folder / part).mkdir(parents=True)
    for name in ("a", "b"):
        clean, mask = np.full((72, 96, 3), 100, np.uint8), np.zeros((72, 96), np.uint8)
        clean[PATCH] = 103
        rain = clean.copy()
        rain[WHITE], mask[TRUE] = 255, 255
        for part, image in (("clean", clean), ("rain", rain), ("mask", mask)):
            cv2.imwrite(str(folder / part / f"{name}.png"), image)
    return folder


def evaluate(model, out, *options) -> dict:
    words = ["evaluate", "glass", "--model", model, "--json", out, *options]
    assert cli.main(list(map(str, words))) == 0
    return json.loads(out.read_text())


def on_clip(clip, model, out, *options) -> dict:
    folders = ("--images", clip / "images", "--labels", clip / "labels", "--seed", SEED)
    return evaluate(model, out, *folders, *options)


def rows_of(result) -> dict:
    return {(row["camera"], row["glass"], row["input"]): row for row in result["rows"]}


def test_every_glass_camera_and_input_has_its_row(clip, wet_model, tmp_path, capsys):
    out = tmp_path / "out.json"
    result = on_clip(clip, wet_model, out, "--glass", "0,0.1,0.3", "--focus", "1", "--still")
    glasses, inputs = ("dry", "glass0.1", "glass0.3"), ("input", "loop", "loop, no memory")
    listed = [(camera, glass, name) for camera in ("moving", "still") for glass in glasses for name in inputs]
    listed += [(camera, "all glass", name) for camera in ("moving", "still") for name in inputs]
    rows = rows_of(result)
    assert list(rows) == listed
    for (_, glass, name), row in rows.items():
        assert 0 <= row["miou"] <= 1 and set(row["iou"]) == set(tiny_model.CLASSES)
        assert ("coverage" in row) is (name != "input")
        assert ("recovery_miou" in row) is (name != "input" and glass != "dry")
    said = capsys.readouterr().out
    assert "Moving camera: mask IoU" in said and "Still camera" in said and "given back" in said
    page = out.with_suffix(".html").read_text()
    assert "glass 0.3" in page and page.count("Truly hidden") and page.count("<img") == 4 * 3
    frames = result["readings"]
    assert len(frames) == 2 * 3 * 2 and all(len(one["coverage_true"]) == FRAMES for one in frames)
    assert not list(tmp_path.glob(".*")), "no partial file is left"


def test_the_figures_of_the_input_are_those_of_the_rendered_glass(clip, wet_model, tmp_path):
    result = on_clip(clip, wet_model, tmp_path / "out.json", "--glass", "0.2", "--film", "0.5", "--no-gate")
    renderer = GlassRenderer(Glass(coverage=0.2, film=0.5, seed=SEED), 72, 96)
    errors, hidden, covered, lost = [], [], [], []
    for index in range(FRAMES):
        dry = cv2.imread(str(clip / f"images/{index}.png"))[:, :, ::-1]
        view = renderer.render(np.ascontiguousarray(dry), index / FPS)
        errors.append(np.square(view.image.astype(float) - dry))
        hidden.append(view.mask >= 128)
        covered.append(view.coverage)
        lost.append(view.contrast_loss)
    errors, hidden = np.array(errors), np.array(hidden)
    before, loop = (rows_of(result)["moving", "glass0.2", name] for name in ("input", "loop"))
    for key, of in (("psnr_db", hidden >= 0), ("psnr_hidden_db", hidden), ("psnr_visible_db", ~hidden)):
        assert before[key] == pytest.approx(10 * math.log10(255**2 / errors[of].mean()), abs=1e-3)
        assert loop[key.replace("psnr", "gain")] == pytest.approx(loop[key] - before[key])
    assert loop["coverage_true"] == pytest.approx(np.mean(covered))
    assert loop["contrast_loss_true"] == pytest.approx(np.mean(lost))
    assert loop["coverage_error"] == pytest.approx(np.mean(np.abs(covered - np.array(readings(result)))))


def readings(result) -> list[float]:
    """What the gauge saw through the glass with memory."""
    (of_glass,) = [one for one in result["readings"] if (one["glass"], one["input"]) == ("glass0.2", "loop")]
    return of_glass["coverage"]


def test_without_glass_everything_seen_is_false(clip, wet_model, tmp_path):
    dry = on_clip(clip, wet_model, tmp_path / "dark.json", "--glass", "0")
    assert {row["glass"] for row in dry["rows"]} == {"dry"}, "a coverage of 0 is the dry clip"
    loop = rows_of(dry)["moving", "dry", "loop"]
    assert loop["false_coverage"] == 0 and loop["untouched"] == 1 and "mask_iou" not in loop
    assert loop["psnr_db"] is None and "psnr_hidden_db" not in loop and loop["coverage_true"] == 0
    image = cv2.imread(str(clip / "images/1.png"))
    image[8:24, 8:40] = 255
    cv2.imwrite(str(clip / "images/1.png"), image)
    white = on_clip(clip, wet_model, tmp_path / "white.json", "--glass", "0", "--memory", "off")
    row = rows_of(white)["moving", "dry", "loop, no memory"]
    assert row["false_coverage"] == row["flagged"] == pytest.approx(1 / FRAMES)


def test_memory_is_what_earlier_frames_change(clip, rainy_model, tmp_path):
    glass = ("--glass", "0.1")
    several = rows_of(on_clip(clip, rainy_model, tmp_path / "all.json", *glass))
    first = rows_of(on_clip(clip, rainy_model, tmp_path / "one.json", *glass, "--frames", 1))
    names = ("loop", "loop, no memory")
    assert len({several["moving", "glass0.1", name]["psnr_db"] for name in names}) == 2
    assert len({first["moving", "glass0.1", name]["psnr_db"] for name in names}) == 1


def test_a_still_camera_sees_the_middle_image_all_the_time(clip, rainy_model, tmp_path):
    options = ("--glass", "0.1", "--still", "--memory", "off")
    before = rows_of(on_clip(clip, rainy_model, tmp_path / "a.json", *options))
    for index in (0, 1, 3):
        cv2.imwrite(str(clip / f"images/{index}.png"), np.zeros((72, 96, 3), np.uint8))
    after = rows_of(on_clip(clip, rainy_model, tmp_path / "b.json", *options))
    assert before["still", "glass0.1", "input"] == after["still", "glass0.1", "input"]
    assert before["moving", "glass0.1", "input"] != after["moving", "glass0.1", "input"]


def test_seeds_are_averaged_and_labels_are_not_needed(clip, wet_model, tmp_path):
    def hidden(seeds):
        out, options = tmp_path / f"{seeds}.json", ("--glass", "0.2", "--memory", "on", "--frames", 2)
        result = evaluate(wet_model, out, "--images", clip / "images", "--seed", seeds, *options)
        row = rows_of(result)["moving", "glass0.2", "loop"]
        assert "miou" not in row and "recovery_miou" not in row
        return row["coverage_true"]

    assert hidden("1") != hidden("2")
    assert hidden("1,2") == pytest.approx((hidden("1") + hidden("2")) / 2)


def test_the_default_glasses_are_documented_ones(clip, wet_model, tmp_path):
    result = on_clip(clip, wet_model, tmp_path / "out.json", "--frames", 1, "--memory", "on")
    presets = ("drizzle_windscreen", "heavy_windscreen", "parked", "dome")
    listed = [f"{preset}_glass{coverage}" for preset in presets for coverage in (0.02, 0.05, 0.1, 0.2)]
    assert list(result["settings"]["glasses"]) == [*listed, "film", "spray"]
    assert result["settings"]["glasses"]["dome_glass0.1"]["coverage"] == 0.1
    every = rows_of(result)["moving", "all glass", "loop"]
    assert {"mask_iou", "coverage_error", "psnr_hidden_db", "recovery_miou", "spearman"} <= set(every)


def test_a_gauge_of_streaks_alone_says_nothing_of_glass(clip, tmp_path, capsys):
    model = tiny_model.write(tmp_path / "model", gauge=("rain_gauge", {"width": 4}))
    row = rows_of(on_clip(clip, model, tmp_path / "out.json", "--glass", "0.2", "--memory", "on"))
    for glass in ("dry", "glass0.2", "all glass"):
        assert not {"coverage", "mask_iou", "flagged", "spearman", "false_coverage"} & set(
            row["moving", glass, "loop"]
        )
    assert row["moving", "glass0.2", "loop"]["gate_open"] == 1
    assert "mask IoU – %" in capsys.readouterr().out


def test_pairs_with_masks_have_known_figures(pairs, wet_model, tmp_path, capsys):
    out = tmp_path / "drops.json"
    result = evaluate(wet_model, out, "--pairs", pairs)
    assert [one["image"] for one in result["images"]] == ["a", "b"]
    input_error = (5 * (255 - 100) ** 2 + (255 - 103) ** 2) / 8
    for one in (*result["images"], *result["rows"]):
        assert one["coverage_true"] == pytest.approx(32 * 32 / (72 * 96))
        assert one["coverage_factor"] == pytest.approx(1, rel=0.02) and one["flagged"] == 1
        assert one["mask_iou"] == pytest.approx(24 / 40, rel=0.05)
        assert one["psnr_hidden_db"] - one["gain_hidden_db"] == pytest.approx(
            10 * math.log10(255**2 / input_error)
        )
        assert one["coverage_clean"] == 0
    assert "mean of 2" in capsys.readouterr().out
    assert out.with_suffix(".html").read_text().count("<img") == 2 * 4


def test_a_broken_pair_is_left_out_and_named(pairs, wet_model, tmp_path, capsys):
    (pairs / "rain/a.png").write_bytes(b"no image")
    assert evaluate(wet_model, tmp_path / "out.json", "--pairs", pairs)["frames"] == 1
    assert "1 of 2 left out" in capsys.readouterr().out


def test_errors_name_their_cause(clip, pairs, wet_model, capsys):
    def fails_with(text, *options):
        assert cli.main(["evaluate", "glass", "--model", wet_model, *map(str, options)]) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in message, message

    images = ("--images", clip / "images")
    fails_with("leave out --labels, --classes, --seed, --still", "--pairs", pairs, "--still")
    fails_with("--focus describes drops: ask for some", *images, "--focus", "3")
    fails_with("a glass is asked for twice", *images, "--glass", "0.1,0.1")
    fails_with("--glass auto follows the rain, and none is rendered here", *images, "--glass", "auto")
    fails_with("'sometimes' is not one of on, off", *images, "--memory", "sometimes")
    cv2.imwrite(str(pairs / "mask/b.png"), np.full((72, 96), 1, np.uint8))
    fails_with("b.png has no value above 1: 255 must mean hidden", "--pairs", pairs)
    cv2.imwrite(str(pairs / "mask/b.png"), np.full((72, 90), 255, np.uint8))
    fails_with("b.png is 90x72: they must be equal", "--pairs", pairs)
    (pairs / "mask/b.png").unlink()
    fails_with("has no mask of b: add b.png", "--pairs", pairs)
