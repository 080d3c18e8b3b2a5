"""``ros2-derain evaluate --all`` on tiny models and two images of each set, through the command line."""

import json
import shutil

import cv2
import numpy as np
import pytest
import tiny_model
import torch
from tiny_training import write_table

from ros2_derain import cli, models
from ros2_derain.bench import engine_timing
from ros2_derain.evaluate import model_row, restoration
from ros2_derain.metrics.image import psnr_y

STEMS = ("a", "b")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of two images in each set."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in model_row.PAIR_SETS:
        for part, darkest in (("clean", 0), ("rain", 40)):
            (folder / "rain_pairs" / name / part).mkdir(parents=True)
            for stem in STEMS:
                image = np.full((72, 96, 3), 100 + darkest, np.uint8)
                cv2.imwrite(str(folder / "rain_pairs" / name / part / f"{stem}.png"), image)
    clip = folder / "camvid/val"
    for part in ("images", "labels"):
        (clip / part).mkdir(parents=True)
    classes = [{"id": index, "name": name} for index, name in enumerate(tiny_model.CLASSES)]
    (folder / "camvid/classes.json").write_text(json.dumps({"classes": classes, "void_id": 11}))
    for stem in STEMS:
        cv2.imwrite(str(clip / f"images/{stem}.png"), random.integers(0, 256, (72, 96, 3), np.uint8))
        cv2.imwrite(str(clip / f"labels/{stem}.png"), random.integers(0, 3, (72, 96), np.uint8))
    boxes, names = folder / "boxes/camvid_from_masks", [f"val/images/{stem}.png" for stem in STEMS]
    boxes.mkdir(parents=True)
    write_table(boxes / "images.csv", ("image", "width", "height"), [(name, 96, 72) for name in names])
    header = ("image", "class", "xmin", "ymin", "xmax", "ymax")
    write_table(boxes / "boxes.csv", header, [(name, "car", 10, 10, 40, 40) for name in names])
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three models: two of one parser, and one whose parser finds no boxes."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model.write(folder / "first")
    tiny_model.write(folder / "danet", network="danet", parser=first_parser())
    parser = ("ubcn_segmenter", {"classes": len(tiny_model.CLASSES), "name": "light"})
    tiny_model.write(folder / "ubcn", network="ubcn", parser=parser)
    return folder


def first_parser() -> torch.nn.Module:
    """The parser of the model ``first``."""
    return tiny_model.modules(100.0)["parser"]


def compare(data, *options: object) -> int:
    """``ros2-derain evaluate --all``, its times taken of few frames; gives the exit status."""
    small = ("--data", data, "--size", "96x72", "--iterations", 1, "--device", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_row, "MAX_FRAMES", model_row.MIN_FRAMES)
        return cli.main(["evaluate", "--all", *map(str, (*small, *options))])


@pytest.fixture(scope="module")
def compared(data, folders, tmp_path_factory):
    """Three models compared: the folder of results."""
    out = tmp_path_factory.mktemp("compared") / "out"
    named = ",".join(str(folders / name) for name in ("first", "danet", "ubcn"))
    assert compare(data, "--models", named, "--out", out) == 0
    return out


def rows_of(out) -> list[dict]:
    return json.loads((out / "comparison.json").read_text())["rows"]


def test_every_model_has_a_row_with_the_figures_of_its_paper(compared):
    rows = {(row["model"], row.get("parser")): row for row in rows_of(compared)}
    assert list(rows) == [
        *(("untouched input", "first"), ("clean images", "first")),
        *(("untouched input", "ubcn"), ("clean images", "ubcn")),
        *(("first", "first"), ("danet", "first"), ("ubcn", "ubcn")),
    ]
    untouched = rows["untouched input", "first"]
    for name in model_row.PAIR_SETS:
        clean, rainy = (np.full((72, 96, 3), level, np.uint8) for level in (100, 140))
        assert untouched[name]["psnr_y_db"] == pytest.approx(psnr_y(rainy, clean))
        assert untouched[name]["frames"] == 2
    for model in (rows["danet", "first"], rows["ubcn", "ubcn"]):
        assert model["parameters_m"] > 0 and model["gmac"] > 0 and model["frame_ms"] > model["derain_ms"] > 0
        assert 0 <= model["miou"] <= 1 and 0 < model["camvid"]["ssim_y"] < 1
    assert rows["danet", "first"]["printed_rain100h"] == "28.83 / 0.870"
    assert "printed_paper" not in rows["first", "first"]
    assert "printed_rain100h" not in rows["ubcn", "ubcn"], "UBCN's paper has no such figure"


def test_figures_equal_those_of_the_other_commands(compared, data, folders, tmp_path):
    rows = {row["model"]: row for row in rows_of(compared)}
    model = ("--model", str(folders / "danet"), "--device", "cpu", "--json", str(tmp_path / "one.json"))
    pairs = ("--pairs", str(data / "rain_pairs/rain100h_dev"), "--iterations", "1")
    assert cli.main(["evaluate", "restoration", *pairs, *model]) == 0
    (mean,) = json.loads((tmp_path / "one.json").read_text())["rows"]
    found = rows["danet"]["rain100h_dev"]
    assert found.pop("fsim") == pytest.approx(mean.pop("fsim"), rel=1e-6)  # FFTs round by memory layout
    assert found == {**mean, "frames": 2}
    clip = ("--images", str(data / "camvid/val/images"), "--labels", str(data / "camvid/val/labels"))
    truth = ("--classes", str(data / "camvid/classes.json"), "--boxes", str(data / "boxes/camvid_from_masks"))
    assert cli.main(["evaluate", "perception", *clip, *truth, "--rates", "150", *model]) == 0
    dry, rain, loop = json.loads((tmp_path / "one.json").read_text())["rows"]
    assert [rows["danet"][key] for key in ("miou", "ap50")] == [loop["miou"], loop["ap50"]]
    assert rows["danet"]["clip"]["rain"] == {"miou": rain["miou"], "ap50": rain["ap50"]}
    assert rows["danet"]["clip"]["dry"] == {"miou": dry["miou"], "ap50": dry["ap50"]}


def test_the_page_shows_a_pair_of_each_set(compared):
    strip = cv2.imread(str(compared / "danet/rain100h_dev.jpg"))
    assert strip.shape == (72, 3 * 96 + 2 * 4, 3)
    page = (compared / "comparison.html").read_text()
    assert "A pair of Rain100H dev" in page and page.count("<img") == 2 * 3 * 3
    assert "Measured and published figures" in page and "28.83 / 0.870" in page


def test_missing_figures_are_reported_with_their_reason(compared):
    (row,) = (row for row in rows_of(compared) if row["model"] == "ubcn")
    assert row["missing"] == ["ubcn has no AP50: its parser finds no boxes"] and "ap50" not in row
    assert "- ubcn has no AP50: its parser finds no boxes" in (compared / "comparison.md").read_text()
    assert "its parser finds no boxes" in (compared / "comparison.html").read_text()


def test_the_markdown_states_that_the_protocols_differ(compared):
    table, notes = (compared / "comparison.md").read_text().split("\n\n")
    lines = table.splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + 7
    assert "GMAC 96x72" in lines[0] and "published Rain100H" in lines[0]
    assert "which use other protocols" in notes and "UBCN (AAAI 2022) also reports: Cityscapes" in notes


def test_known_results_are_not_measured_again(compared, data, folders, tmp_path, monkeypatch, capsys):
    out, scored = tmp_path / "out", []
    shutil.copytree(compared, out)
    score, timed = restoration.score, engine_timing.timed
    monkeypatch.setattr(restoration, "score", lambda *case: scored.append(case[1].name) or score(*case))
    monkeypatch.setattr(engine_timing, "timed", lambda *case: scored.append("timed") or timed(*case))
    before = {row["model"]: row for row in rows_of(out)}
    danet = folders / "danet"
    assert compare(data, "--models", danet, "--out", out) == 0
    assert scored == [] and rows_of(out)[-1] == before["danet"] | {"parser": "danet"}
    (out / "danet/rain100h_dev.json").unlink()
    new = tiny_model.write(tmp_path / "new", network="phpnet", parser=first_parser())

    def until_the_second(*case):
        if scored:
            raise KeyboardInterrupt
        scored.append(case[1].name)
        return score(*case)

    with monkeypatch.context() as patch:
        patch.setattr(restoration, "score", until_the_second)
        assert compare(data, "--models", f"{danet},{new}", "--out", out) == cli.INTERRUPTED
    assert compare(data, "--models", f"{danet},{new}", "--out", out) == 0
    assert scored == ["a", "b", *("a", "b") * 2, "timed"], "one set of danet's, and all of the new model's"
    assert [row["model"] for row in rows_of(out)][2:] == ["danet", "new"]


def test_a_card_keeps_its_results_and_gets_missing_ones(compared, data, folders, tmp_path, capsys):
    out, danet = tmp_path / "out", tmp_path / "danet"
    shutil.copytree(compared, out)
    shutil.copytree(folders / "danet", danet)
    assert compare(data, "--models", danet, "--out", out, "--card") == 0
    noted = models.read_card(danet).results
    ways = {(result["by"], len(result["rows"])) for result in noted.values()}
    assert len(noted) == 3 and all(result["frames"] == 2 for result in noted.values())
    assert ways == {("ros2-derain evaluate restoration", 1), ("ros2-derain evaluate perception", 3)}
    before = (danet / models.CARD).read_text().replace("frames: 2", "frames: 3", 1)
    (danet / models.CARD).write_text(before)
    assert compare(data, "--models", danet, "--out", out, "--card") == 0
    assert (danet / models.CARD).read_text() == before
    assert compare(data, "--models", danet, "--out", out, "--card", "--limit", 1) == 2
    assert "omit --limit" in capsys.readouterr().err


def test_limit_and_a_model_of_other_classes(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tiny_model, "CLASSES", ("sky", "road", "boat"))
    other = tiny_model.write(tmp_path / "other")
    broken = tiny_model.write(tmp_path / "broken")
    (broken / models.WEIGHTS).write_bytes(b"")
    named = f"{other},{broken}"
    assert compare(data, "--models", named, "--limit", 1, "--out", tmp_path / "out") == 0
    untouched, row, lost = rows_of(tmp_path / "out")
    assert row["rain100l_dev"]["frames"] == 1 and "miou" not in row and row["gmac"] > 0
    assert "names class 'car', which the model does not know" in row["missing"][0]
    assert lost["model"] == "broken" and "is not that of the card" in lost["missing"][0]
    output = capsys.readouterr().out
    assert "only the first 1 images of each set" in output and "broken does not load" in output
    assert "parser" not in untouched, "no parser saw the clip"


def test_errors_name_their_cause(data, folders, tmp_path, capsys, monkeypatch):
    def fails_with(text, *options, folder=data):
        assert compare(folder, "--out", tmp_path / "out", *options) == 2
        assert text in capsys.readouterr().err

    fails_with("no model named 'nothing'", "--models", "nothing")
    fails_with("both called first", "--models", f"{folders / 'first'},{folders / 'first'}")
    fails_with("rain100l_dev is not a folder", folder=tmp_path)
    lacking = tmp_path / "lacking"
    shutil.copytree(data, lacking)
    (lacking / "boxes/camvid_from_masks/boxes.csv").unlink()
    fails_with("boxes.csv is missing: give the data folder by --data", folder=lacking)
    monkeypatch.delenv("ROS2_DERAIN_DATA", raising=False)
    assert cli.main(["evaluate", "--all"]) == 2
    assert "No data directory: pass --data or set ROS2_DERAIN_DATA" in capsys.readouterr().err


def test_all_and_compare_are_the_same(capsys):
    help_texts = []
    for words in (["--all", "--help"], ["compare", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(["evaluate", *words])
        help_texts.append(capsys.readouterr().out)
    assert help_texts[0] == help_texts[1] and "ros2-derain evaluate --all --data DATA" in help_texts[0]
    with pytest.raises(SystemExit):
        cli.main(["evaluate"])
    assert "the following arguments are required: SUBCOMMAND" in capsys.readouterr().err


def test_paper_figures_belong_to_the_nearest_size():
    figures = model_row.paper_figures()
    assert figures["mspfn"]["light"]["printed_parameters_m"] == 1.65
    assert figures["ubcn"]["light"]["printed_paper"] == "UBCN (AAAI 2022)"
    assert "m30n1" not in figures["mspfn"] and "loopnet" not in figures
