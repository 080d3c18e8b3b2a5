"""``ros2-derain label`` through the command line, and a dataset of its output."""

import json

import cv2
import numpy as np
import pytest
import tiny_model
import torch
from foreign_networks import constant

from ros2_derain import cli
from ros2_derain.data import CAMVID_CLASSES, open_dataset
from ros2_derain.engine import EngineSettings, Interpreter


@pytest.fixture
def photos(tmp_path):
    """Two images whose sizes are no multiples of the parser's strides."""
    folder, random = tmp_path / "photos/images", np.random.default_rng(1)
    folder.mkdir(parents=True)
    for name, (height, width) in {"a.png": (90, 131), "b.jpg": (85, 99)}.items():
        smooth = cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 6)
        cv2.imwrite(str(folder / name), cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A parser whose probabilities span a wide range, as those of a trained one do."""
    parser = tiny_model.modules(0.0)["parser"]
    with torch.no_grad():
        parser.classify.weight.mul_(20)
    return tiny_model.write(tmp_path_factory.mktemp("models") / "teacher", 0.0, parser=parser)


def label(photos, out, model, *options) -> int:
    words = ["label", photos, out, "--model", model, "--precision", "float32", *options]
    return cli.main(list(map(str, words)))


def labels_of(out, stem="a") -> np.ndarray:
    return cv2.imread(str(out / f"labels/{stem}.png"), cv2.IMREAD_UNCHANGED)


def test_labels_below_the_confidence_are_unlabelled(photos, model, tmp_path, capsys):
    assert label(photos, tmp_path / "all", model, "--min-confidence", "0") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*tiny_model.CLASSES, "unlabelled"))
    whole = labels_of(tmp_path / "all")
    assert whole.shape == (90, 131) and whole.max() < len(tiny_model.CLASSES)
    parser = Interpreter.load(EngineSettings(model=str(model), precision="float32"))
    image = cv2.imread(str(photos / "a.png"))[:, :, ::-1].copy()
    perception = parser.interpret(image).perception
    assert (whole == perception.labels).mean() > 0.95, "the engine's own, but decided at full size"
    threshold = np.median(perception.confidence) / 255
    assert label(photos, tmp_path / "sure", model, "--min-confidence", threshold) == 0
    sure = labels_of(tmp_path / "sure")
    assert 0.4 < (sure == 255).mean() < 0.6
    assert (sure[sure != 255] == whole[sure != 255]).all()
    assert label(photos, tmp_path / "road", model, "--min-confidence", "0", "--bonnet", "0.2") == 0
    road = labels_of(tmp_path / "road")
    assert (road[72:] == 255).all() and (road[:72] == whole[:72]).all()
    assert (sure[perception.confidence / 255 > threshold + 0.02] != 255).mean() > 0.95


def test_the_mirror_image_gets_the_mirrored_labels(photos, model, tmp_path):
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    cv2.imwrite(str(mirrored / "a.png"), cv2.imread(str(photos / "a.png"))[:, ::-1])
    options = ("--min-confidence", "0", "--scales", "0.8,1.5")
    for folder, out in ((photos, "one"), (mirrored, "other")):
        assert label(folder, tmp_path / out, model, *options, "--flip") == 0
        assert label(folder, tmp_path / f"{out}_once", model, *options) == 0
    one, other = labels_of(tmp_path / "one"), labels_of(tmp_path / "other")
    assert (one == other[:, ::-1]).mean() > 0.999
    once = labels_of(tmp_path / "one_once"), labels_of(tmp_path / "other_once")
    assert (once[0] == once[1][:, ::-1]).mean() < 0.999, "a single view does not commute with the mirror"


def test_the_output_is_a_dataset_to_train_on(photos, model, tmp_path):
    out = tmp_path / "out"
    assert label(photos, out, model, "--min-confidence", "0", "--min-score", "0") == 0
    dataset = open_dataset("labelled", photos.parent, labels=str(out / "labels"), boxes=out)
    sample = dataset.in_classes(CAMVID_CLASSES)[0]
    expected = {CAMVID_CLASSES.index(name) for name in tiny_model.CLASSES}
    assert set(np.unique(sample.labels)) <= expected and len(sample.boxes) > 0
    card = json.loads((out / "classes.json").read_text())
    assert card["model"] == "teacher" and card["min_confidence"] == 0 and card["void_id"] == 255


def test_boxes_of_masks_are_parted_where_a_detector_finds_several_objects(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    images = tmp_path / "town/images"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "a.png"), np.full((320, 320, 3), 90, np.uint8))
    found = {
        "car": [
            (20, 100, 100, 160),
            (96, 92, 178, 160),
            (210, 100, 290, 158),
            (20, 210, 70, 250),
            (80, 210, 140, 250),
        ],
        "truck": [(95, 90, 180, 160)],  # which was found as a car too
        "person": [(60, 100, 80, 150), (40, 100, 60, 150)],
    }
    boxes = np.array([box for listed in found.values() for box in listed], np.float32)
    labels = np.repeat(np.arange(len(found)), [len(listed) for listed in found.values()])
    scores = np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)
    detector = constant(tmp_path / "d.onnx", {"boxes": boxes, "labels": labels, "scores": scores})
    (tmp_path / "names.txt").write_text("\n".join(found))
    base, teacher = tiny_model.write(tmp_path / "tiny"), tmp_path / "teacher"
    words = ["import", detector, "--as", "detector", "--base", base, "--out", teacher]
    assert cli.main(["models", *map(str, words), "--classes", str(tmp_path / "names.txt")]) == 0
    given = [
        ("car", 20, 90, 180, 160),
        ("car", 200, 95, 300, 160),  # one car was found
        ("car", 10, 200, 310, 260),  # half of its cars were not found
        ("bicyclist", 20, 90, 180, 160),
    ]
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "images.csv").write_text("image\ntown/images/a.png\n")
    rows = [",".join(map(str, ("town/images/a.png", *box))) for box in given]
    (masks / "boxes.csv").write_text("\n".join(["image,class,xmin,ymin,xmax,ymax", *rows]) + "\n")
    out = tmp_path / "town/parted"
    assert label(images, out, teacher, "--part", masks) == 2
    assert "--part takes --min-score" in capsys.readouterr().err
    assert label(images, out, teacher, "--min-score", "0.3", "--part", masks) == 0
    assert "4 boxes given, 1 of them parted: 5 boxes" in capsys.readouterr().out
    assert label(images, out, teacher, "--part-classes", "car") == 2
    assert "--part-classes takes --part" in capsys.readouterr().err
    chosen = ("--min-score", "0.3", "--part", masks, "--force", "--part-classes")
    for classes, count in (("pedestrian,bicyclist", 0), ("car", 1)):
        assert label(images, tmp_path / "town/chosen", teacher, *chosen, classes) == 0
        assert f"4 boxes given, {count} of them parted: {4 + count} boxes" in capsys.readouterr().out
    sample = open_dataset("labelled", tmp_path / "town", labels=str(out / "labels"), boxes=out)[0]
    parts = [(0, 20, 100, 100, 160), (0, 96, 92, 178, 160)]
    kept = [(0, *given[1][1:]), (0, *given[2][1:]), (2, *given[3][1:])]
    assert np.allclose(sample.boxes, [*parts, *kept], atol=0.1)


def test_a_broken_image_is_left_out_and_named(photos, model, tmp_path, capsys):
    (photos / "c.png").write_bytes(b"")
    assert label(photos, tmp_path / "out", model) == 0
    assert "1 of 3 left out:" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out/labels").iterdir()) == ["a.png", "b.png"]


def test_what_is_wrong_is_named(photos, model, tmp_path, capsys):
    def fails(said, *options):
        assert label(photos, tmp_path / "out", model, *options) == 2
        assert said in capsys.readouterr().err

    fails("--min-confidence: '80' is not a share in 0..1", "--min-confidence", "80")
    fails("--scales: 'big' is not a factor", "--scales", "1,big")
    fails("is 52x36 at 0.4, below 64x64: choose larger scales", "--scales", "0.4")
    assert not (tmp_path / "out").exists()
    assert label(photos, tmp_path / "out", model) == 0
    fails("exists")
    assert label(photos, tmp_path / "out", model, "--force") == 0
