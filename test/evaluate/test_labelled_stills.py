"""``evaluate perception`` on labelled frames of real weather and on boxes alone, through the command line."""

import json

import cv2
import numpy as np
import pytest

from ros2_derain import cli
from ros2_derain.data import CITYSCAPES_CLASSES
from ros2_derain.engine import EngineSettings, Interpreter

SIZES = ((72, 96), (70, 100))
WEATHER = ("rain", "fog", "rain", "fog", "rain", "night")


@pytest.fixture
def weather(tmp_path):
    """Six frames of two sizes in ids of Cityscapes, with their classes and an index."""
    folder, random = tmp_path / "weather", np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    lines = ["image,condition,sequence"]
    for number, condition in enumerate(WEATHER):
        height, width = SIZES[number % 2]
        ids = np.full((height, width), 0, np.uint8)
        ids[:30], ids[30], ids[40:60, 40:60], ids[60:, :20] = 10, 255, 13, 16
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        cv2.imwrite(str(folder / f"images/{number}_a.png"), image)
        cv2.imwrite(str(folder / f"labels/{number}_a.png"), ids)
        lines.append(f"{number}_a.png,{condition},s{number // 3}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    classes = [{"id": index, "name": name} for index, name in enumerate(CITYSCAPES_CLASSES)]
    described = {"num_classes": 19, "ignore_id": 255, "ids": "Cityscapes trainIds", "classes": classes}
    (folder / "classes.json").write_text(json.dumps(described))
    return folder


def evaluate(folder, model, out, *options) -> dict:
    words = [
        "--images",
        folder / "images",
        "--labels",
        folder / "labels",
        "--classes",
        folder / "classes.json",
    ]
    words += ["--index", folder / "index.csv", "--rates", "0", "--model", model, "--json", out, *options]
    assert cli.main(["evaluate", "perception", *map(str, words)]) == 0
    return json.loads(out.read_text())


def rows_of(result) -> dict:
    return {(row["group"], row["input"]): row for row in result["rows"]}


def test_every_group_has_rows_of_the_input_and_the_loop(weather, dry_model, tmp_path, capsys):
    out = tmp_path / "out/figures.json"
    result = evaluate(weather, dry_model, out, "--by", "condition", "--height-scale", "1.125")
    rows = rows_of(result)
    assert list(rows) == [
        (group, name) for group in ("fog", "night", "rain", "all") for name in ("input", "closed_loop x3")
    ]
    assert [rows[group, "input"]["frames"] for group in ("fog", "night", "rain", "all")] == [2, 1, 3, 6]
    for (group, name), row in rows.items():
        assert 0 <= row["miou"] <= row["pixel_accuracy"] <= 1
        known = [value for value in row["iou"].values() if value is not None]
        assert row["miou"] == pytest.approx(np.mean(known)) and set(row["iou"]) == {"sky", "road", "car"}
        assert not {"psnr_db", "flicker", "warp_error"} & set(row), "nothing of a clip, or of a clean image"
        if name != "input":
            assert row["gate_open"] == 0 and row["untouched"] == 1
            assert row["read_mm_h"] == pytest.approx(row["read_median_mm_h"])
            assert row["miou"] == rows[group, "input"]["miou"], "a closed gate changes nothing"
    said = capsys.readouterr().out
    assert "count as unlabelled: sidewalk, building, wall" in said and "median mm/h" in said
    assert "Perception on labelled frames" in out.with_suffix(".html").read_text()


def test_every_image_says_what_the_gauge_saw(weather, wet_model, tmp_path, capsys):
    for number in (0, 1):  # rain, fog
        image = cv2.imread(str(weather / f"images/{number}_a.png")) // 2
        image[16:48, 16:48] = 255
        cv2.imwrite(str(weather / f"images/{number}_a.png"), image)
    out = tmp_path / "out.json"
    result = evaluate(weather, wet_model, out, "--by", "condition")
    seen = {one["image"]: one for one in result["images"]}
    assert [(name, one["group"]) for name, one in seen.items()] == [
        (f"{number}_a.png", condition) for number, condition in enumerate(WEATHER)
    ]
    assert [one["flagged"] for one in seen.values()] == [True, True, False, False, False, False]
    assert seen["0_a.png"]["coverage"] == pytest.approx(32 * 32 / (72 * 96), rel=0.1)
    flagged = {group: row["flagged"] for (group, name), row in rows_of(result).items() if name != "input"}
    assert flagged == {"rain": pytest.approx(1 / 3), "fog": 0.5, "night": 0, "all": pytest.approx(2 / 6)}
    assert "flagged %" in capsys.readouterr().out
    assert "What the gauge saw in every image" in out.with_suffix(".html").read_text()


def test_the_figures_are_those_of_the_stretched_frames(weather, dry_model, tmp_path):
    out = tmp_path / "figures.json"
    result = evaluate(weather, dry_model, out, "--by", "condition", "--height-scale", "1.125")
    parser, hits, pixels = Interpreter.load(EngineSettings(model=str(dry_model))), 0, 0
    for number in (1, 3):  # fog
        image = cv2.imread(str(weather / f"images/{number}_a.png"))[:, :, ::-1]
        ids = cv2.imread(str(weather / f"labels/{number}_a.png"), cv2.IMREAD_UNCHANGED)
        size = (ids.shape[1], round(ids.shape[0] * 1.125))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
        truth = np.select([ids == 10, ids == 0, ids == 13], [0, 1, 2], 255)
        labels = parser.interpret(np.ascontiguousarray(image)).perception.labels
        hits, pixels = hits + (labels == truth).sum(), pixels + (truth != 255).sum()
    assert rows_of(result)["fog", "input"]["pixel_accuracy"] == pytest.approx(hits / pixels)


def test_a_still_does_not_depend_on_the_one_before(weather, rainy_model, tmp_path):
    options = ("--by", "sequence", "--prior", "temporal,closed_loop", "--iterations", "1")
    whole = rows_of(evaluate(weather, rainy_model, tmp_path / "whole.json", *options))
    alone = rows_of(evaluate(weather, rainy_model, tmp_path / "s1.json", *options, "--only", "sequence=s1"))
    for name in ("input", "temporal", "closed_loop x1"):
        assert alone["s1", name] == whole["s1", name]
    assert whole["s1", "temporal"]["gate_open"] == 1 and alone["all", "input"]["frames"] == 3


@pytest.mark.parametrize(
    "options, frames",
    [
        (("--every", "2"), {"rain": 2, "fog": 1, "night": 1}),
        (("--every", "2", "--offset", "1"), {"rain": 1, "fog": 1}),
        (("--only", "condition=rain,fog", "--only", "sequence=s0"), {"rain": 2, "fog": 1}),
        (("--select", "[0-3]_*", "--leave-out", "0*"), {"rain": 1, "fog": 2}),
        (("--select", "0_*,5_*"), {"rain": 1, "night": 1}),
    ],
)
def test_some_of_the_images_are_selected(weather, dry_model, tmp_path, options, frames):
    result = evaluate(weather, dry_model, tmp_path / "out.json", "--by", "condition", *options)
    found = {row["group"]: row["frames"] for row in result["rows"]}
    assert found.pop("all") == result["frames"] == sum(frames.values())
    assert found == frames


def test_a_whole_folder_needs_no_names_of_its_parts(weather, dry_model, tmp_path):
    words = ["--images", weather, "--stills", "--rates", "0", "--model", dry_model]
    assert cli.main(["evaluate", "perception", *map(str, words), "--json", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (
        result["data"]["name"].endswith("/weather")
        and [row["group"] for row in result["rows"]] == ["all"] * 2
    )


def test_boxes_alone_are_scored_per_class_down_to_low_scores(weather, dry_model, tmp_path, capsys):
    rows = "".join(f"{number}_a.png,truck,40,40,60,60\n" for number in range(5))
    (weather / "boxes.csv").write_text(f"image,class,xmin,ymin,xmax,ymax\n{rows}0_a.png,boat,0,0,9,9\n")
    listed = "".join(f"{n}_a.png,{SIZES[n % 2][1]},{SIZES[n % 2][0]}\n" for n in range(6))
    (weather / "images.csv").write_text(f"image,width,height\n{listed}")
    for path in (weather / "labels").iterdir():
        path.unlink()
    out, again = tmp_path / "out.json", tmp_path / "again.json"
    words = ["--stills", "--rates", "0", "--model", str(dry_model)]
    whole = ["evaluate", "perception", "--images", str(weather), *words, "--json", str(out)]
    assert cli.main(whole) == 0
    said = capsys.readouterr().out
    assert "boxes of classes that the model does not detect are ignored: boat (1)" in said
    assert "mIoU" not in said and "AP50 %" in said
    result = json.loads(out.read_text())
    for row in result["rows"]:
        assert set(row["boxes"]) == {"car", "pedestrian"} and "miou" not in row
        assert row["boxes"]["pedestrian"]["ap50"] is None and 0 <= row["boxes"]["car"]["ap50"] <= 1
    parts = ["--images", str(weather / "images"), "--boxes", str(weather), *words, "--json", str(again)]
    assert cli.main(["evaluate", "perception", *parts]) == 0
    assert json.loads(again.read_text())["rows"] == result["rows"], "found boxes count as named ones do"


@pytest.mark.parametrize(
    "options, said",
    [
        (
            ("--by", "weather"),
            "index.csv has no column 'weather': its columns are image, condition, sequence",
        ),
        (("--only", "condition=hail"), "no image whose condition is hail: it has rain, fog, night"),
        (("--every", "2", "--offset", "2"), "--offset 2 must be below --every 2"),
        (("--by", "condition", "--every", "5", "--offset", "4"), "no group has an image number 4 of 6"),
        (("--select", "x*"), "no file is named like 'x*' among 6, such as 0_a.png"),
        (("--every", "0"), "'0' is not a number of images in 1..1000000"),
    ],
)
def test_what_selects_nothing_is_named(weather, dry_model, capsys, options, said):
    words = ["--images", weather, "--index", weather / "index.csv", "--model", dry_model, *options]
    assert cli.main(["evaluate", "perception", *map(str, words)]) == 2
    assert said in capsys.readouterr().err


def test_groups_need_an_index(weather, dry_model, capsys):
    words = ["--images", weather, "--model", dry_model, "--by", "condition"]
    assert cli.main(["evaluate", "perception", *map(str, words)]) == 2
    assert "give its file by --index" in capsys.readouterr().err
