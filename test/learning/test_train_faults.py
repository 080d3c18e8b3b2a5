"""Failures during a run: reported in one line, with the last checkpoint to resume from."""

import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_training import GAUGE, LOOP, train, write_data, write_recipe

from ros2_derain.learning.checkpoints import read


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_a_full_disk_leaves_the_former_checkpoint(data, tmp_path, capfd):
    recipe, run = write_recipe(tmp_path / "recipe.yaml", LOOP), tmp_path / "run"
    assert train(recipe, data, run, "--steps", "1") == 0
    capfd.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert train(recipe, data, run, "--resume", "--steps", "1") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capfd.readouterr().err
    assert (
        f"Cannot write {run / 'last.ckpt'} (" in said and "File too large; the former one is intact" in said
    )
    assert not list(run.glob(".*partial")) and read(run / "last.ckpt")["global_step"] == 1
    assert train(recipe, data, run, "--resume", "--steps", "1") == 0
    assert read(run / "last.ckpt")["global_step"] == 2


def test_steps_that_are_not_finite_are_skipped_and_counted(data, tmp_path, capfd):
    """The semantic loss overflows; it is zero in the clips of photographs, which have no labels."""
    overflow = {"loss": {"semantic": 3.0e38}, "precision": "fp32"}
    recipe = write_recipe(tmp_path / "a.yaml", LOOP, **overflow, steps=2, sources={"camvid": 1})
    assert train(recipe, data, tmp_path / "a") == 0
    assert "2 of them skipped (loss or gradient not finite)" in capfd.readouterr().err
    after = read(tmp_path / "a/last.ckpt")
    assert after["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in after["state_dict"].values())
    recipe = write_recipe(
        tmp_path / "b.yaml", LOOP, **overflow, sources={"camvid": 1}, max_skipped=3, checkpoint_every=1
    )
    assert train(recipe, data, tmp_path / "b") == 2
    said = capfd.readouterr().err
    assert "step 3: loss or gradient was not finite 3 times in a row (" in said
    assert "train/semantic" in said and "loss inf" in said and "Traceback" not in said
    kept = read(tmp_path / "b/last.ckpt")
    assert kept["global_step"] == 2 and kept["callbacks"]["Guard"] == {"skipped": 2, "in_a_row": 2}


def test_a_broken_image_is_named_by_the_process_that_reads_it(tmp_path, capfd):
    data = write_data(tmp_path / "data")
    for path in (data / "camvid/train/labels").iterdir():
        cv2.imwrite(str(path), np.full((120, 160), 77, np.uint8))
    assert train(write_recipe(tmp_path / "r.yaml", GAUGE), data, tmp_path / "run") == 2
    (said,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ros2-derain train: ")]
    assert "label" in said and "77" in said and str(data / "camvid/train/labels") in said


def test_missing_data_is_named(tmp_path, capsys, monkeypatch):
    recipe, data = write_recipe(tmp_path / "r.yaml", GAUGE), write_data(tmp_path / "data")
    assert train(recipe, tmp_path / "nowhere", tmp_path / "run") == 2
    assert "nowhere is not a folder: correct --data or ROS2_DERAIN_DATA" in capsys.readouterr().err
    for path in (data / "camvid/train/images").iterdir():
        path.unlink()
    assert train(recipe, data, tmp_path / "run") == 2
    assert "camvid/train/images" in capsys.readouterr().err
    (data / "camvid/classes.json").write_text("{}")
    assert train(recipe, data, tmp_path / "run") == 2
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_checkpoint_is_named(data, tmp_path, capsys):
    recipe, run = write_recipe(tmp_path / "r.yaml", GAUGE), tmp_path / "run"
    run.mkdir()
    for content, said in ((b"", "is broken or no checkpoint"), (b"PK junk", "is broken or no checkpoint")):
        (run / "last.ckpt").write_bytes(content)
        assert train(recipe, data, run, "--resume") == 2
        assert said in capsys.readouterr().err
    torch.save({"state_dict": {}}, run / "last.ckpt")
    assert train(recipe, data, run, "--resume") == 2
    assert "it holds no recipe" in capsys.readouterr().err


def test_a_batch_that_cannot_be_shared_out_is_named(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert train(write_recipe(tmp_path / "r.yaml", GAUGE), data, tmp_path / "run") == 2
    assert "batch: 2 clips cannot be divided evenly among 4 processes" in capsys.readouterr().err


def test_lengths_of_slices_must_be_positive(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train(tmp_path / "r.yaml", tmp_path, tmp_path / "run", "--minutes", "0")
    assert "must be more than 0 and finite, got 0" in capsys.readouterr().err
