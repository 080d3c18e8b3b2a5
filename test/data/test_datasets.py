"""Data sets by the name of their kind, as recipes name them, and the real ones."""

import json

import cv2
import numpy as np
import pytest

from ros2_derain.data import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    KINDS,
    OBJECT_OF,
    OBJECTS,
    VOC_CLASSES,
    CamVid,
    Photographs,
    RainPairs,
    Sample,
    Translated,
    count_class_pixels,
    list_images,
    open_dataset,
    read_boxes,
    read_image,
)
from ros2_derain.data.images import DataError


def test_a_kind_is_opened_below_the_data_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos/a.png"), np.zeros((4, 4, 3), np.uint8))
    dataset = open_dataset("photographs", "photos", tmp_path, driving=True)
    assert isinstance(dataset, Photographs) and dataset[0].driving and dataset.classes == ()
    assert len(open_dataset("photographs", tmp_path / "photos")) == 1


@pytest.mark.parametrize(
    "entry, said",
    [
        (
            {"kind": "kitti"},
            "unknown kind of data set kitti; known: camvid, cityscapes, voc2012, boxes, yolo",
        ),
        ({"kind": "cityscapes", "splt": "val"}, "data set cityscapes: unknown option splt; known: split"),
        ({"kind": "photographs", "split": "x"}, "data set photographs: unknown option split; known: driving"),
    ],
)
def test_an_unknown_kind_or_option_is_named(tmp_path, entry, said):
    with pytest.raises(DataError, match=said):
        open_dataset(**entry, folder="x", data=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_a_missing_folder(tmp_path, kind):
    with pytest.raises(DataError, match="nowhere"):
        open_dataset(kind, "nowhere", tmp_path)


class Labelled:
    """A data set of one picture that shows every class of its list once, and void."""

    def __init__(self, classes):
        self.classes = classes

    def __len__(self):
        return 1

    def labels(self, index):
        return np.array([[*range(len(self.classes)), 255]], np.uint8)

    def __getitem__(self, index):
        return Sample(np.zeros((1, len(self.classes) + 1, 3), np.uint8), self.labels(index), None, True)


@pytest.mark.parametrize(
    ("classes", "same", "unlabelled"),
    [
        (CAMVID_CLASSES, dict(zip(CAMVID_CLASSES, CAMVID_CLASSES, strict=True)), set()),
        (CITYSCAPES_CLASSES, {"road": "road", "vegetation": "tree", "rider": "bicyclist"}, {"train"}),
        (
            VOC_CLASSES,
            {"bus": "car", "person": "pedestrian", "motorbike": "bicyclist"},
            {"background", "cat"},
        ),
    ],
)
def test_labels_of_other_data_sets_become_the_models_classes(classes, same, unlabelled):
    translated = Translated(Labelled(classes))
    found = translated[0].labels[0]
    assert (found == translated.labels(0)[0]).all() and found[-1] == 255
    for theirs, ours in same.items():
        assert CAMVID_CLASSES[found[classes.index(theirs)]] == ours
    assert all(found[classes.index(name)] == 255 for name in unlabelled)
    assert translated.classes == CAMVID_CLASSES and len(translated) == 1


def test_names_of_boxes_lead_to_detection_classes():
    assert set(OBJECT_OF.values()) == set(OBJECTS)


def test_images_are_listed_by_name_without_hidden_files(tmp_path):
    for name in ("b.PNG", "a.jpg", "._a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]


def test_images_are_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((2, 3, 3), (0, 0, 255), np.uint8))
    image = read_image(tmp_path / "red.png")
    assert image.shape == (2, 3, 3) and image.flags.c_contiguous and (image == [255, 0, 0]).all()


def test_the_real_camvid(data_dir):
    dataset = open_dataset("camvid", "camvid/val", data_dir, boxes="boxes/camvid_from_masks")
    assert isinstance(dataset, CamVid) and len(dataset) == 101
    sample = dataset[50]
    assert sample.labels.shape == sample.image.shape[:2] == (360, 480)
    cars = sample.boxes[sample.boxes[:, 0] == OBJECTS.index("car"), 1:].astype(int)
    assert len(cars) and all((sample.labels[y0:y1, x0:x1] == 8).mean() > 0.3 for x0, y0, x1, y1 in cars)
    counted = json.loads((data_dir / "camvid/classes.json").read_text())["pixels_per_class"]["val"]
    assert count_class_pixels(dataset) == [counted[str(index)] for index in range(11)]


@pytest.mark.parametrize("name, count, boxes", [("dawn_fog", 180, 1180), ("coco_traffic", 25, 141)])
def test_the_real_boxes(data_dir, name, count, boxes):
    dataset = open_dataset("boxes", f"boxes/{name}", data_dir)
    assert len(dataset) == count and len(dataset[3].boxes) > 0
    assert sum(map(len, read_boxes(data_dir / "boxes" / name).values())) == boxes


def test_the_real_backgrounds_and_pairs(data_dir):
    assert len(open_dataset("photographs", "bsds/images", data_dir)) == 408
    pairs = RainPairs(data_dir / "rain_pairs" / "rain100h_dev")
    assert pairs[0].rain.shape == (320, 480, 3)
