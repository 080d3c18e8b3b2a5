"""Boxes in CSV, YOLO and COCO files: pixels and classes; a wrong line or entry is named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import OBJECTS, Boxes, Coco, DataError, Yolo, read_boxes

CAR, PEDESTRIAN, BICYCLIST = range(3)
HEADER = "image,class,xmin,ymin,xmax,ymax\n"


def write_image(path: Path, height: int = 20, width: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


@pytest.fixture
def csv_folder(tmp_path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "images.csv").write_text("image,width,height\na.png,40,20\nb.png,40,20\n")
    (tmp_path / "boxes.csv").write_text(HEADER + "a.png,truck,1,2,3.5,4\na.png,traffic light,1,1,2,2\n")
    return tmp_path


@pytest.fixture
def yolo_folder(tmp_path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.2\n\n2 0.1 0.1 0.1 0.1\n1 0.05 0.5 0.2 1\n")
    (tmp_path / "data.yaml").write_text("names: [Person, bicycle, zebra]\n")
    return tmp_path


def coco_content() -> dict:
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
            {"id": 9, "file_name": "b.png", "width": 40, "height": 20},
        ],
        "categories": [
            {"id": 1, "name": "person"},
            {"id": 3, "name": "car"},
            {"id": 13, "name": "stop sign"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [10, 5, 20, 10.5], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [30, 5, 10.5, 10]},
            {"image_id": 7, "category_id": 13, "bbox": [1, 1, 2, 2]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 40, 20], "iscrowd": 1},
            {"image_id": 7, "category_id": 1, "bbox": [3, 3, 5, 0]},
        ],
    }


@pytest.fixture
def coco_folder(tmp_path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "val" / name)
    (tmp_path / "val.json").write_text(json.dumps(coco_content()))
    return tmp_path


def test_csv_boxes(csv_folder):
    dataset = Boxes(csv_folder)
    assert [len(dataset), dataset.classes] == [2, ()]
    assert dataset[0].boxes.tolist() == [[CAR, 1, 2, 3.5, 4]] and dataset[0].boxes.dtype == np.float32
    assert dataset[1].boxes.shape == (0, 5)
    assert (
        dataset[0].labels is None and dataset[0].driving and not Boxes(csv_folder, driving=False)[0].driving
    )
    listed = {name: boxes.names for name, boxes in read_boxes(csv_folder).items()}
    assert listed == {"a.png": ["truck", "traffic light"], "b.png": []}


def test_csv_boxes_are_clipped_at_the_border(csv_folder):
    (csv_folder / "boxes.csv").write_text(HEADER + "b.png,bicycle,-3,-0.5,41,10\n")
    assert Boxes(csv_folder)[1].boxes.tolist() == [[BICYCLIST, 0, 0, 40, 10]]


def test_boxes_by_a_model_of_a_low_score_are_left_out(csv_folder):
    rows = "a.png,car,1,2,9,9,0.4\na.png,car,20,2,29,9,0.39\nb.png,person,1,2,9,9,0.9\n"
    (csv_folder / "found.csv").write_text(HEADER.strip() + ",score\n" + rows)
    found = Boxes(csv_folder, file="found.csv", min_score=0.4)
    assert found[0].boxes.tolist() == [[CAR, 1, 2, 9, 9]] and len(found[1].boxes) == 1
    assert len(Boxes(csv_folder, file="found.csv")[0].boxes) == 2
    with pytest.raises(DataError, match="lacks the column score"):
        Boxes(csv_folder, min_score=0.4)


@pytest.mark.parametrize(
    "row, said",
    [
        ("a.png,car,1,2,3", "boxes.csv, line 2: fewer values than columns"),
        ("a.png,car,1,2,x,4", "boxes.csv, line 2: xmax is 'x', not a number"),
        ("a.png,car,1,2,nan,4", r"boxes.csv, line 2: \(1, 2, nan, 4\) is not a box"),
        ("a.png,car,3,2,3,4", r"boxes.csv, line 2: \(3, 2, 3, 4\) is not a box: it takes x0 < x1"),
        ("a.png,car,40,2,44,4", r"line 2: box \(40, 2, 44, 4\) lies outside its image of 40x20"),
        ("c.png,car,1,2,3,4", "boxes.csv, line 2: image c.png is not listed in images.csv"),
    ],
)
def test_a_wrong_csv_line_is_named(csv_folder, row, said):
    (csv_folder / "boxes.csv").write_text(HEADER + row + "\n")
    with pytest.raises(DataError, match=said):
        Boxes(csv_folder)


def test_a_broken_csv_folder_is_named(csv_folder):
    write_image(csv_folder / "images/a.png", 21, 40)
    with pytest.raises(DataError, match="a.png is 40x21 but its boxes are for 40x20"):
        Boxes(csv_folder)[0]
    write_image(csv_folder / "images/c.png")
    with pytest.raises(DataError, match="images/c.png is not listed in .*images.csv"):
        Boxes(csv_folder)
    (csv_folder / "images/c.png").unlink()
    (csv_folder / "images/b.png").unlink()
    with pytest.raises(DataError, match="images.csv lists b.png, which is not in .*images"):
        Boxes(csv_folder)
    (csv_folder / "boxes.csv").write_text("image,label\n")
    with pytest.raises(DataError, match="boxes.csv lacks the column class, xmin, ymin, xmax, ymax"):
        Boxes(csv_folder)
    (csv_folder / "boxes.csv").unlink()
    with pytest.raises(DataError, match="boxes.csv is missing"):
        Boxes(csv_folder)
    (csv_folder / "images.csv").write_text("image,width,height\n")
    with pytest.raises(DataError, match="images.csv lists no image"):
        Boxes(csv_folder)
    (csv_folder / "images.csv").unlink()
    with pytest.raises(DataError, match="images.csv is missing"):
        Boxes(csv_folder)


def test_yolo_boxes_become_pixels(yolo_folder):
    dataset = Yolo(yolo_folder)
    # the last one reaches over the left border and is clipped; the zebra is dropped
    expected = [[PEDESTRIAN, 10, 8, 30, 12], [BICYCLIST, 0, 0, 6, 20]]
    assert np.allclose(dataset[0].boxes, expected, atol=1e-4) and dataset[0].boxes.dtype == np.float32
    assert len(dataset) == 2 and dataset[1].boxes.shape == (0, 5) and dataset.classes == ()


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt"])
def test_yolo_names_may_be_in_classes_txt(yolo_folder, place):
    (yolo_folder / "data.yaml").unlink()
    (yolo_folder / place).write_text("car\nbus\ncat\n")
    assert Yolo(yolo_folder)[0].boxes[:, 0].tolist() == [CAR, CAR]


def test_yolo_names_may_be_a_mapping_and_splits_are_folders(yolo_folder):
    (yolo_folder / "data.yaml").write_text("names: {0: car, 1: person, 2: cat}\n")
    for name in ("images", "labels"):
        (yolo_folder / name).rename(yolo_folder / "moved")
        (yolo_folder / name).mkdir()
        (yolo_folder / "moved").rename(yolo_folder / name / "val")
    assert Yolo(yolo_folder, "val")[0].boxes[:, 0].tolist() == [CAR, PEDESTRIAN]
    with pytest.raises(DataError, match="images/train is not a folder"):
        Yolo(yolo_folder, "train")


@pytest.mark.parametrize(
    "line, said",
    [
        ("0 0.5 0.5 0.5", "a.txt, line 2: 4 values: a box is `class cx cy width height`"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9", "a.txt, line 2: 7 values"),
        ("0 0.5 half 0.5 0.5", "a.txt, line 2: '0 0.5 half 0.5 0.5' is not `class cx"),
        ("0.0 0.5 0.5 0.5 0.5", "a.txt, line 2: '0.0 0.5 0.5 0.5 0.5' is not"),
        ("3 0.5 0.5 0.5 0.5", "a.txt, line 2: class id 3 has no name; known are 0, 1, 2"),
        ("-1 0.5 0.5 0.5 0.5", "a.txt, line 2: class id -1 has no name"),
        ("0 0.5 0.5 0 0.5", "a.txt, line 2: .* is not a box"),
        ("0 20 8 10 4", "a.txt, line 2: box .* lies outside its image of 1x1"),
    ],
)
def test_a_wrong_yolo_line_is_named(yolo_folder, line, said):
    (yolo_folder / "labels/a.txt").write_text(f"1 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(DataError, match=said):
        Yolo(yolo_folder)


def test_a_broken_yolo_folder_is_named(yolo_folder):
    (yolo_folder / "labels/c.txt").write_text("")
    with pytest.raises(DataError, match="labels/c.txt has no image in .*images"):
        Yolo(yolo_folder)
    (yolo_folder / "data.yaml").write_text("names: cats\n")
    with pytest.raises(DataError, match="data.yaml: names is not a list"):
        Yolo(yolo_folder)
    (yolo_folder / "data.yaml").write_text("names: [")
    with pytest.raises(DataError, match="data.yaml is not YAML"):
        Yolo(yolo_folder)
    (yolo_folder / "data.yaml").unlink()
    with pytest.raises(DataError, match="has no data.yaml or classes.txt"):
        Yolo(yolo_folder)
    (yolo_folder / "classes.txt").write_text("car\n")
    for path in (yolo_folder / "labels").glob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match="labels holds no <image>.txt"):
        Yolo(yolo_folder)


def test_coco_boxes(coco_folder):
    dataset = Coco(coco_folder, "val.json", "val")
    assert dataset[0].boxes.tolist() == [[CAR, 10, 5, 30, 15.5], [PEDESTRIAN, 30, 5, 40, 15]]
    assert len(dataset) == 2 and dataset[1].boxes.shape == (0, 5) and dataset.classes == ()
    assert OBJECTS[CAR] == "car"


@pytest.mark.parametrize(
    "part, change, said",
    [
        (
            "annotations",
            {"category_id": 2},
            r"val.json, annotations\[0\]: category id 2 is not in categories",
        ),
        ("annotations", {"image_id": 8}, r"val.json, annotations\[0\]: image id 8 is not in images"),
        (
            "annotations",
            {"bbox": [1, 2, 3]},
            r"annotations\[0\]: bbox \[1, 2, 3\] is not x, y, width, height",
        ),
        ("annotations", {"bbox": None}, r"annotations\[0\]: `bbox` is missing or of the wrong type"),
        (
            "annotations",
            {"bbox": [50, 2, 3, 3]},
            r"annotations\[0\]: box .* lies outside its image of 40x20",
        ),
        ("annotations", {"bbox": [5, 2, -3, 3]}, r"annotations\[0\]: .* is not a box"),
        ("images", {"file_name": None}, r"val.json, images\[0\]: `file_name` is missing"),
        ("images", {"file_name": "z.png"}, "1 image files are missing, the first is .*z.png"),
        ("categories", {"name": 3}, r"val.json, categories\[0\]: `name` is missing or of the wrong type"),
    ],
)
def test_a_wrong_coco_entry_is_named(coco_folder, part, change, said):
    content = coco_content()
    content[part][0] |= change
    (coco_folder / "val.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        Coco(coco_folder, "val.json", "val")


def test_a_broken_coco_folder_is_named(coco_folder):
    with pytest.raises(DataError, match="annotations.json is missing"):
        Coco(coco_folder)
    write_image(coco_folder / "val/b.png", 20, 41)
    with pytest.raises(DataError, match="b.png is 41x20 but its boxes are for 40x20"):
        Coco(coco_folder, "val.json", "val")[1]
    for text, said in (
        ("{", "val.json is not JSON"),
        ("[]", "val.json has no list `images`: COCO instances have images, annotations, categories"),
        ('{"images": [], "annotations": [], "categories": []}', "val.json lists no image"),
    ):
        (coco_folder / "val.json").write_text(text)
        with pytest.raises(DataError, match=said):
            Coco(coco_folder, "val.json", "val")
