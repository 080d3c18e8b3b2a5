"""``ros2-derain ablate``: variants trained, compared, reported; stopped and resumed."""

import json

import cv2
import numpy as np
import pytest
import tiny_model
import yaml
from tiny_training import GAUGE, write_data

from ros2_derain import cli, resources
from ros2_derain.learning import LearningError, ablate, recipe_files
from ros2_derain.learning.ablate import Claim

RECIPE = {
    **GAUGE,
    "task": "restore",
    "networks": {"derainer": {"network": "danet", "options": tiny_model.PAPERS["danet"]}},
    "sources": {"photographs": 1},
    "streaks": {"few": 2},
    "batch": 1,
}
VARIANTS = {"full": {}, "no_alm": {"networks": {"derainer": {"options": {"alm": False}}}}}
CLAIM = {
    "says": "ALM helps",
    "where": "Table 1",
    "figure": "psnr_y_db",
    "better": "full",
    "worse": "no_alm",
    "printed": [32.57, 30.12],
}


@pytest.fixture
def data(tmp_path):
    folder = write_data(tmp_path / "data")
    random = np.random.default_rng(1)
    for kind in ("rain", "clean"):
        (folder / "rain_pairs/few" / kind).mkdir(parents=True)
        for index in range(2):
            image = random.integers(0, 256, (64, 80, 3), np.uint8)
            cv2.imwrite(str(folder / "rain_pairs/few" / kind / f"{index}.png"), image)
    return folder


def write(tmp_path, **changed):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    group = {"recipe": str(tmp_path / "tiny.yaml"), "variants": VARIANTS, "claims": [CLAIM], **changed}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"danet": group}))
    return tmp_path / "a.yaml"


def run_ablate(path, data, out, *options) -> int:
    arguments = ["ablate", str(path), "--data", str(data), "--out", str(out), "--workers", "1"]
    return cli.main([*arguments, "--steps", "1", *options])


def test_variants_are_trained_once_compared_and_reported(tmp_path, data, capsys):
    path, out = write(tmp_path), tmp_path / "out"
    assert run_ablate(path, data, out, "--seeds", "1") == 0
    printed = capsys.readouterr().out
    (row,) = json.loads((out / "ablations.json").read_text())["rows"]
    full, without = (json.loads((out / f"danet/{name}-1/result.json").read_text()) for name in VARIANTS)
    assert row["ours"] == [full["figures"]["psnr_y_db"], without["figures"]["psnr_y_db"]]
    assert row["verdict"] == ("agrees" if row["ours"][0] > row["ours"][1] else "disagrees")
    assert without["recipe"]["networks"]["derainer"]["options"]["alm"] is False
    assert (full["recipe"]["seed"], full["recipe"]["steps"]) == (1, 1)
    page, document = ((out / f"ablations.{kind}").read_text() for kind in ("html", "md"))
    for text in ("ALM helps", "32.57 / 30.12", row["verdict"]):
        assert text in printed and text in page and text in document
    trained = {run: run.stat().st_mtime_ns for run in out.glob("*/*/last.ckpt")}
    (out / "danet/no_alm-1/result.json").unlink()
    assert run_ablate(path, data, out, "--seeds", "1") == 0
    assert json.loads((out / "ablations.json").read_text())["rows"] == [row], "nothing changes by resuming"
    assert {run: run.stat().st_mtime_ns for run in out.glob("*/*/last.ckpt")} == trained


def test_a_result_of_another_recipe_is_not_taken(tmp_path, data, capsys):
    run = tmp_path / "out/danet/full-1"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"recipe": {"name": "other"}, "figures": {}}))
    assert run_ablate(write(tmp_path), data, tmp_path / "out", "--seeds", "1") == 2
    assert "full-1 holds another recipe's result" in capsys.readouterr().err


@pytest.mark.parametrize(
    "better, worse, expected",
    [
        ([30.0, 31.0], [28.0, 29.0], "agrees"),
        ([30.0, 32.0], [29.0, 31.1], "agrees"),
        ([30.0, 32.0], [30.0, 31.0], "agrees, within the spread"),
        ([28.0, 28.1], [30.0, 30.1], "disagrees"),
        ([30.0], [30.0], "disagrees"),
    ],
)
def test_verdicts(better, worse, expected):
    claim = Claim(**{**CLAIM, "printed": (1.0, 2.0)})
    found = ablate.verdict(claim, better, worse)
    assert found["verdict"] == expected
    assert found["difference"] == pytest.approx(np.mean(better) - np.mean(worse))
    assert found["differences"] == pytest.approx(np.subtract(better, worse))


@pytest.mark.parametrize(
    "changed, said",
    [
        (
            {"claims": [{**CLAIM, "worse": "half"}]},
            "claim 'ALM helps': unknown key half; known: full, no_alm",
        ),
        (
            {"claims": [{**CLAIM, "figure": "lpips"}]},
            "claims.0.figure is 'lpips': must be 'psnr_y_db', 'ssim_y' or 'miou'",
        ),
        ({"claims": "all"}, "claims is 'all': must be a valid array"),
        ({"variants": {"full": {"loss": {"gan": 1}}, "no_alm": {}}}, "variant full: loss: unknown key gan"),
        ({"claims": [{**CLAIM, "figure": "miou"}]}, "miou of full needs a task with a parser"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, data, capsys, changed, said):
    assert run_ablate(write(tmp_path, **changed), data, tmp_path / "out", "--seeds", "1") == 2
    assert said in capsys.readouterr().err


def test_the_shipped_ablations_are_of_the_shipped_recipes():
    groups = ablate.load(resources.path("config/ablations.yaml"))
    assert set(groups) == {"sapnet", "mspfn", "danet", "phpnet", "ubcn"}
    for name, group in groups.items():
        used = {variant for claim in group.claims for variant in (claim.better, claim.worse)}
        assert used == set(group.variants), f"{name}: a variant that no claim compares"
        plain = recipe_files.load(recipe_files.find(group.recipe))
        for variant in group.variants:
            chosen = ablate.variant(group, variant, seed=1, steps=10)
            assert (chosen == ablate.variant(group, "full", 1, 10)) is (variant == "full")
            assert chosen.sources == plain.sources and chosen.steps == 10
    with pytest.raises(LearningError, match="no_such.yaml cannot be read"):
        ablate.load(resources.path("config") / "no_such.yaml")
