"""The training command, as a user runs it: run, stop, resume, validate, start from other weights."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_model
import torch
import yaml
from limits import HANG_S
from tiny_training import GAUGE, LOOP, train, write_data, write_recipe, write_table

from ros2_derain import machine, models
from ros2_derain.data import CAMVID_CLASSES
from ros2_derain.learning import recipe_files, sources
from ros2_derain.learning.checkpoints import read
from ros2_derain.learning.tasks.loopnet import GaugeTask


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def differences(a, b, where: str = "") -> list[str]:
    """Where two checkpoints differ in a single bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [text for key in a for text in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [text for index, (x, y) in pairs for text in differences(x, y, f"{where}[{index}]")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [where]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(data, tmp_path, capfd):
    recipe = write_recipe(tmp_path / "recipe.yaml", LOOP)
    straight, halves = tmp_path / "straight", tmp_path / "halves"
    assert train(recipe, data, straight) == 0
    assert train(recipe, data, halves, "--steps", "3") == 0
    assert "step 3 of 6; the same command with --resume continues" in capfd.readouterr().err
    with (halves / "metrics.csv").open("a") as file:
        file.write("3,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8\n4,0.")  # as killed after the checkpoint
    assert train(recipe, data, halves, "--resume") == 0
    assert "50%" in capfd.readouterr().err, "the bar continues at the run's step"
    ours, theirs = read(straight / "last.ckpt"), read(halves / "last.ckpt")
    assert ours.pop("journal").keys() == theirs.pop("journal").keys() == {"steps", "seconds", "started_from"}
    assert differences(ours, theirs) == []
    assert ours["global_step"] == 6 and differences(ours["state_dict"], ours["current_model_state"])
    assert rows(straight) == rows(halves)
    assert [row["step"] for row in rows(halves)] == list("012345")
    assert {"loss", "train/refined", "learning_rate", "gradient"} <= rows(halves)[0].keys()
    record = yaml.safe_load((halves / "run.yaml").read_text())
    assert record["steps"] == 6 and record["recipe"]["batch"] == 2 and sum(record["seconds"].values()) > 0
    assert record["data"]["bsds"] == "BIDS/BSDS500, research use"
    assert train(recipe, data, halves, "--resume") == 0
    assert "all 6 steps are done" in capfd.readouterr().err


def test_a_changed_recipe_does_not_go_on(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(write_recipe(tmp_path / "recipe.yaml", GAUGE), data, run, "--minutes", "0.0001") == 0
    assert read(run / "last.ckpt")["global_step"] == 1
    assert train(tmp_path / "recipe.yaml", data, run) == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err
    changed = write_recipe(tmp_path / "changed.yaml", GAUGE, batch=4, clips={**GAUGE["clips"], "dry": 0.5})
    assert train(changed, data, run, "--resume") == 2
    assert "batch: 2 -> 4; clips.dry: 0.2 -> 0.5" in capsys.readouterr().err
    paced = write_recipe(tmp_path / "paced.yaml", GAUGE, checkpoint_every=2, log_every=2)
    assert train(paced, data, run, "--resume", "--steps", "1") == 0
    assert train(paced, data, tmp_path / "nowhere", "--resume") == 2
    assert "nothing to resume" in capsys.readouterr().err


def when_it_exists(path: Path, number: int) -> threading.Thread:
    """Sends this process a signal once a file is there."""

    def wait():
        while not path.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_sigterm_leaves_a_checkpoint(data, tmp_path, capfd):
    recipe, run = (
        write_recipe(tmp_path / "r.yaml", GAUGE, steps=100_000, checkpoint_every=1),
        tmp_path / "run",
    )
    before = signal.getsignal(signal.SIGINT)
    when_it_exists(run / "last.ckpt", signal.SIGTERM)
    assert train(recipe, data, run) == 143
    said = capfd.readouterr().err
    step = read(run / "last.ckpt")["global_step"]
    assert f"step {step} of 100000, stopped by SIGTERM; the same command with --resume continues" in said
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_and_kill_leave_a_checkpoint_to_go_on_from(data, tmp_path):
    recipe, run = (
        write_recipe(tmp_path / "r.yaml", GAUGE, steps=100_000, checkpoint_every=1),
        tmp_path / "run",
    )
    command = [sys.executable, "-m", "ros2_derain.cli", "train", recipe, "--data", data, "--out", run]
    for options, number, status in ((), signal.SIGINT, 130), (("--resume",), signal.SIGKILL, -9):
        before = read(run / "last.ckpt")["global_step"] if options else 0
        process = subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not (run / "last.ckpt").exists() or read(run / "last.ckpt")["global_step"] <= before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        os.killpg(process.pid, number)  # the terminal sends Ctrl-C to the data workers too
        said = process.communicate()[1]
        assert process.returncode == status, said
        assert "Traceback" not in said
    (run / ".last.ckpt.partial").write_bytes(b"killed while it was written")
    before = read(run / "last.ckpt")["global_step"]
    assert train(recipe, data, run, "--resume", "--steps", "1") == 0
    assert read(run / "last.ckpt")["global_step"] == before + 1
    steps = [int(row["step"]) for row in rows(run)]
    killed = {before - 1}  # a step's checkpoint comes before its row: the kill may have come between
    assert steps in (list(range(before + 1)), sorted({*range(before + 1)} - killed))


def test_the_best_validation_is_kept(data, tmp_path, monkeypatch, capsys):
    scores = iter([1.0, 3.0, 2.0])
    recipe = write_recipe(tmp_path / "recipe.yaml", GAUGE, steps=3, validate_every=1)
    assert train(recipe, data, tmp_path / "run") == 2
    assert "validate_every is 1, but task gauge has no validation" in capsys.readouterr().err
    monkeypatch.setattr(GaugeTask, "validate", lambda self, data: {"score": next(scores)}, raising=False)
    assert train(recipe, data, tmp_path / "run") == 0
    assert read(tmp_path / "run" / "best.ckpt")["global_step"] == 2
    assert read(tmp_path / "run" / "last.ckpt")["global_step"] == 3
    assert [row["val/score"] for row in rows(tmp_path / "run") if row["val/score"]] == ["1", "3", "2"]


def test_a_derainer_of_pairs_is_validated_on_the_held_out_ones(tmp_path):
    data = write_data(tmp_path / "data")
    for folder in ("rain", "clean"):
        (data / "rain_pairs/few" / folder).mkdir(parents=True)
        for index in range(3):
            image = np.full((64, 80, 3), 90 + 40 * (folder == "rain") * index, np.uint8)
            cv2.imwrite(str(data / "rain_pairs/few" / folder / f"{index}.png"), image)
    danet = {"derainer": {"network": "danet", "options": tiny_model.PAPERS["danet"]}}
    restore = {**LOOP, "task": "restore", "networks": danet, "streaks": {"few": 2}}
    restore |= {"steps": 2, "validate_every": 1}
    assert train(write_recipe(tmp_path / "recipe.yaml", restore), data, tmp_path / "run") == 0
    values = [float(row["val/psnr_y_db"]) for row in rows(tmp_path / "run") if row["val/psnr_y_db"]]
    best = read(tmp_path / "run/best.ckpt")
    assert len(values) == 2 and best["global_step"] == 1 + values.index(max(values))


def test_a_run_starts_from_the_parts_of_a_model_or_run(data, tmp_path, rainy_model, capsys):
    recipe = write_recipe(tmp_path / "a.yaml", GAUGE, init=rainy_model, averaging=0, steps=1)
    assert train(recipe, data, tmp_path / "a") == 0
    bias = read(tmp_path / "a/last.ckpt")["state_dict"]["gauge.rain.read.2.bias"].item()
    assert bias == pytest.approx(torch.log1p(torch.tensor(100.0)).item(), abs=0.01)
    again = write_recipe(tmp_path / "b.yaml", GAUGE, init={"gauge": str(tmp_path / "a")}, steps=1)
    assert train(again, data, tmp_path / "b") == 0
    wide = {"gauge": {"network": "weather_gauge", "options": {"widths": [8, 8, 8, 8]}}}
    first, second = yaml.safe_load((tmp_path / "b" / "run.yaml").read_text())["started_from"]["gauge"]
    assert (first["recipe"], first["steps"]) == (GAUGE["name"], 1) and first["data"]["camvid/train"]
    assert second == {
        "model": models.read_card(Path(rainy_model)).name,
        "sha256": models.read_card(Path(rainy_model)).sha256,
    }
    other = write_recipe(tmp_path / "c.yaml", GAUGE, init=rainy_model, networks=wide)
    assert train(other, data, tmp_path / "c") == 2
    assert "its gauge has another shape of eighth.0" in capsys.readouterr().err
    assert train(write_recipe(tmp_path / "d.yaml", GAUGE, init="nobody"), data, tmp_path / "d") == 2
    said = capsys.readouterr().err
    assert "init: no model named 'nobody'; known: " in said and "loopnet" in said


@pytest.mark.parametrize("task", ["derain", "loop"])
def test_the_first_frame_is_refined_several_times_where_the_recipe_says_so(data, tmp_path, task):
    def refined(again: float) -> float:
        networks = LOOP["networks"] if task == "loop" else {"derainer": LOOP["networks"]["derainer"]}
        changes = {"task": task, "networks": networks, "options": {"again": again}, "steps": 1}
        clips = {**LOOP["clips"], "frames": 1}
        recipe = write_recipe(tmp_path / f"{again}.yaml", LOOP, clips=clips, **changes)
        assert train(recipe, data, tmp_path / str(again)) == 0
        return float(rows(tmp_path / str(again))[0]["train/refined"])

    assert 2 < refined(1.0) / refined(0.0) < 4  # three losses of similar images, in place of one


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU decides, not the processor")
def test_a_processor_without_bfloat16_trains_in_float32(data, tmp_path, monkeypatch):
    def weights(name: str, precision: str) -> dict[str, torch.Tensor]:
        recipe = write_recipe(tmp_path / f"{name}.yaml", LOOP, precision=precision, steps=2)
        assert train(recipe, data, tmp_path / name) == 0
        return read(tmp_path / name / "last.ckpt")["state_dict"]

    fixed = {precision: weights(precision, precision) for precision in ("bf16", "fp32")}
    assert differences(fixed["bf16"], fixed["fp32"])
    for computes, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(machine, "cpu_computes_bfloat16", lambda computes=computes: computes)
        assert differences(weights(f"auto for {precision}", "auto"), fixed[precision]) == []


def test_two_processes_train_as_one(data, tmp_path):
    derain = {  # no batch statistics, no prior: nothing but the gradient of each process's own clips
        "task": "derain",
        "networks": {"derainer": LOOP["networks"]["derainer"]},
        "options": {"without_prior": 1},
        "optimiser": {"name": "sgd", "learning_rate": 0.1, "warm_up": 0},
        "precision": "fp32",
        "steps": 3,
    }
    recipe = write_recipe(tmp_path / "recipe.yaml", LOOP, **derain)
    arguments = ["train", recipe, "--data", data, "--workers", "1", "--steps", "2", "--out"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launch, "-m", "ros2_derain.cli", *arguments, tmp_path / "two"], check=True, timeout=HANG_S
    )
    assert train(recipe, data, tmp_path / "one", "--steps", "2") == 0
    for name in ("one", "two"):
        assert train(recipe, data, tmp_path / name, "--resume") == 0
    one, two = (read(tmp_path / name / "last.ckpt")["state_dict"] for name in ("one", "two"))
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=1e-6), key


def test_a_recipe_may_describe_data_sets_of_its_own(data, tmp_path):
    own = {"kind": "camvid", "folder": "camvid/train", "licence": "CC BY 4.0"}
    parse = {**LOOP, "task": "parse", "steps": 2, "datasets": {"mine": own}, "sources": {"mine": 1}}
    parse["networks"] = {"parser": LOOP["networks"]["parser"]}
    assert train(write_recipe(tmp_path / "recipe.yaml", parse), data, tmp_path / "run") == 0
    record = yaml.safe_load((tmp_path / "run/run.yaml").read_text())
    assert record["data"] == {"camvid/train": "CC BY 4.0"}
    assert own.items() <= record["recipe"]["datasets"]["mine"].items()


def write_weather(data: Path, folder: Path) -> None:
    """A folder of images 0..7 with label maps, their classes, and an index: fog, rain, fog, rain ..."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        for number in range(8):
            (folder / part / f"{number}.png").write_bytes((data / f"camvid/train/{part}/0.png").read_bytes())
    rows = [(f"{number}.png", ("fog", "rain")[number % 2]) for number in range(8)]
    write_table(folder / "index.csv", ("image", "condition"), rows)
    (folder / "classes.txt").write_text("\n".join(CAMVID_CLASSES))


@pytest.mark.parametrize(
    "own, used",
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"leave_out": "[0-5].*"}, [6, 7]),
        ({"hold_out": 3}, [1, 2, 4, 5, 7]),
        ({"include": {"condition": ["fog"]}, "hold_out": 2}, [2, 6]),
        ({"include": {"condition": ["fog", "rain"]}, "leave_out": "0.*", "hold_out": 4}, [3, 4, 5, 6, 7]),
    ],
)
def test_a_recipe_leaves_images_out_by_name_by_index_and_every_nth(data, tmp_path, own, used):
    write_weather(data, tmp_path / "weather")
    described = {"kind": "labelled", "folder": "weather", "options": {"classes": "classes.txt"}, **own}
    recipe = recipe_files.load(
        write_recipe(tmp_path / "r.yaml", LOOP, datasets={"w": described}, sources={"w": 1})
    )
    ((dataset, _),) = sources.sources(recipe.sources, recipe.datasets, tmp_path)
    assert [int(path.stem) for path in dataset.images] == used


def test_a_drive_that_is_not_there_cannot_be_left_out(data, tmp_path, capsys):
    own = {"kind": "camvid", "folder": "camvid/train", "leave_out": "0001TP*"}
    recipe = write_recipe(tmp_path / "recipe.yaml", LOOP, datasets={"mine": own}, sources={"mine": 1})
    assert train(recipe, data, tmp_path / "run") == 2
    assert "no file is named like '0001TP*' among 3, such as 0.png" in capsys.readouterr().err


def changed_by_training(recipe: Path, data: Path, run: Path) -> list[str]:
    """Names of the tensors that the third and fourth step of a new run change."""
    states = []
    for further in ((), ("--resume",)):
        assert train(recipe, data, run, "--steps", "2", *further) == 0
        states.append(read(run / "last.ckpt")["current_model_state"])
    return [key for key in states[0] if not torch.equal(states[0][key], states[1][key])]


@pytest.mark.parametrize(
    "own, trained",
    [
        ({}, {"derainer", "parser"}),
        ({"options": {"train_parser": 0}}, {"derainer"}),
        ({"optimiser": {"warm_up": 2, "rates": {"derainer": 0}}}, {"parser"}),
    ],
)
def test_the_loop_trains_only_the_parts_that_the_recipe_says(data, tmp_path, own, trained):
    recipe = write_recipe(tmp_path / "recipe.yaml", LOOP, **own)
    changed = changed_by_training(recipe, data, tmp_path / "run")
    assert {key.split(".")[0] for key in changed} == trained
    assert not [key for key in changed if "running" in key], "batch statistics are held"
