"""Data sets by the name of their kind, as recipes name them, and the real ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    KINDS,
    OBJECTS,
    VOC_CLASSES,
    CamVid,
    DataError,
    ImageDataset,
    ImageIndex,
    Photographs,
    RainPairs,
    Selection,
    class_index,
    list_images,
    open_dataset,
    read_boxes,
)
from ros2_derain.data.boxes import find_boxes
from ros2_derain.data.classes import class_ids, id_table, read_classes
from ros2_derain.data.label_files import LabelFiles
from ros2_derain.data.selection import every_kth


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
            "unknown kind of dataset kitti; known: camvid, cityscapes, voc2012, boxes, yolo",
        ),
        ({"kind": "cityscapes", "splt": "val"}, "dataset cityscapes: unknown option splt; known: split"),
        ({"kind": "photographs", "split": "x"}, "dataset photographs: unknown option split; known: driving"),
    ],
)
def test_an_unknown_kind_or_option_is_named(tmp_path, entry, said):
    with pytest.raises(DataError, match=said):
        open_dataset(**entry, folder="x", data=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_a_missing_folder(tmp_path, kind):
    with pytest.raises(DataError, match="nowhere"):
        open_dataset(kind, "nowhere", tmp_path)


def one_of_every_class(folder, classes) -> ImageDataset:
    """A dataset of one image that shows every class of its list once, and void."""
    ids = np.array([[*range(len(classes)), 255]], np.uint8)
    cv2.imwrite(str(folder / "a.png"), np.zeros((*ids.shape, 3), np.uint8))
    cv2.imwrite(str(folder / "ids.png"), ids)
    tables = [id_table({index: index for index in (*range(len(classes)), 255)})]
    return ImageDataset([folder / "a.png"], LabelFiles([folder / "ids.png"], tables, tuple(classes)))


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
def test_labels_of_other_datasets_become_the_models_classes(tmp_path, classes, same, unlabelled):
    translated = one_of_every_class(tmp_path, classes).in_classes(CAMVID_CLASSES)
    found = translated[0].labels[0]
    assert (found == translated.labels(0)[0]).all() and found[-1] == 255
    for theirs, ours in same.items():
        assert CAMVID_CLASSES[found[classes.index(theirs)]] == ours
    assert all(found[classes.index(name)] == 255 for name in unlabelled)
    assert translated.classes == CAMVID_CLASSES and len(translated) == 1


@pytest.mark.parametrize(
    ("name", "names", "index"),
    [
        ("truck", OBJECTS, 0),
        (" Truck", ("car", "truck"), 1),
        ("Traffic-Light", CAMVID_CLASSES, 6),
        ("SignSymbol", CAMVID_CLASSES, 6),
        ("pavement", CITYSCAPES_CLASSES, 1),
        ("pedestrian", ("person", "bicycle"), 0),
        ("bicyclist", ("rider", "bicycle"), None),  # either
        ("zebra", OBJECTS, None),
    ],
)
def test_names_lead_to_classes_by_one_table(name, names, index):
    assert class_index(name, names) == index


def test_the_real_camvid(data_dir):
    dataset = open_dataset("camvid", "camvid/val", data_dir, boxes="boxes/camvid_from_masks")
    assert isinstance(dataset, CamVid) and len(dataset) == 101
    sample = dataset[50]
    assert sample.labels.shape == sample.image.shape[:2] == (360, 480)
    cars = sample.boxes[sample.boxes[:, 0] == OBJECTS.index("car"), 1:].astype(int)
    assert len(cars) and all((sample.labels[y0:y1, x0:x1] == 8).mean() > 0.3 for x0, y0, x1, y1 in cars)
    counted = json.loads((data_dir / "camvid/classes.json").read_text())["pixels_per_class"]["val"]
    pixels = sum(np.bincount(dataset.labels(i).ravel(), minlength=256) for i in range(len(dataset)))
    assert pixels[:11].tolist() == [counted[str(index)] for index in range(11)]


@pytest.mark.parametrize("name, count, boxes", [("dawn_fog", 180, 1180), ("coco_traffic", 25, 141)])
def test_the_real_boxes(data_dir, name, count, boxes):
    dataset = open_dataset("boxes", f"boxes/{name}", data_dir)
    assert len(dataset) == count and len(dataset[3].boxes) > 0
    assert sum(len(sample.boxes) for sample in dataset) == boxes


def test_the_real_backgrounds_and_pairs(data_dir):
    assert len(open_dataset("photographs", "bsds/images", data_dir)) == 408
    pairs = RainPairs(data_dir / "rain_pairs" / "rain100h_dev")
    assert pairs[0].rain.shape == (320, 480, 3)


def test_ids_are_the_models_own_without_a_file():
    ids = class_ids(CAMVID_CLASSES, None, None)
    assert list(ids[:13]) == [*range(11), 255, -1] and ids[255] == 255
    assert class_ids(CAMVID_CLASSES, None, 30)[11] == -1


def test_names_of_a_file_find_the_models_classes(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("Road\nSIGN_symbol\nvoid\ncar\n")
    assert list(class_ids(CAMVID_CLASSES, file, 2)[:5]) == [3, 6, 255, 8, -1]
    file.write_text("p\n")
    with pytest.raises(DataError, match="'p', which the model does not know"):
        class_ids(CAMVID_CLASSES, file, None)
    (tmp_path / "classes.json").write_text('{"classes": [{"id": 4}]}')
    with pytest.raises(DataError, match="is not a list of classes"):
        class_ids(CAMVID_CLASSES, tmp_path / "classes.json", None)


def test_camvids_own_files_are_understood(data_dir):
    ids = class_ids(CAMVID_CLASSES, data_dir / "camvid/classes.json", None)
    assert list(ids[:13]) == [*range(11), 255, -1]
    images = list_images(data_dir / "camvid/val/images")[:5]
    folder = data_dir / "boxes/camvid_from_masks"
    boxes = find_boxes(read_boxes(folder), images, folder)
    assert len(boxes) == 5 and sum(len(listed.names) for listed in boxes) > 0
    with pytest.raises(DataError, match="does not list"):
        find_boxes(read_boxes(folder), list_images(data_dir / "bsds/images")[:1], folder)


def write_labelled(folder: Path, count: int = 6) -> Path:
    """Images of two conditions, their label maps in ids of Cityscapes, its classes, and an index."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    lines = ["image,condition"]
    for number in range(count):
        name = f"drive_{number:03}"
        image, ids = np.full((40, 60, 3), 10 * number, np.uint8), np.full((40, 60), 8, np.uint8)
        image[20:], ids[20:], ids[:10], ids[0] = 200, 11, 16, 255
        cv2.imwrite(str(folder / f"images/{name}.png"), image)
        cv2.imwrite(str(folder / f"labels/{name}.png"), ids)
        lines.append(f"{name}.png,{'rain' if number % 2 else 'fog'}")
    (folder / "index.csv").write_text("\n".join(lines))
    classes = [{"id": number, "name": name} for number, name in enumerate(CITYSCAPES_CLASSES)]
    (folder / "classes.json").write_text(json.dumps({"ignore_id": 255, "classes": classes}))
    return folder


def test_labels_of_other_classes_are_mapped_by_name_and_stretched(tmp_path):
    folder = write_labelled(tmp_path / "set")
    sample = open_dataset("labelled", folder, height_scale=1.5).in_classes(CAMVID_CLASSES)[1]
    assert sample.image.shape == (60, 60, 3) and sample.labels.shape == (60, 60)
    tree, pedestrian = CAMVID_CLASSES.index("tree"), CAMVID_CLASSES.index("pedestrian")
    assert (sample.labels[:15] == 255).all(), "a train has no counterpart, and 255 is no class"
    assert (sample.labels[15:30] == tree).all() and (sample.labels[30:] == pedestrian).all()


def test_boxes_are_stretched_with_the_image(tmp_path):
    folder = write_labelled(tmp_path / "set", 1)
    (folder / "images.csv").write_text("image,width,height\ndrive_000.png,60,40\n")
    (folder / "boxes.csv").write_text("image,class,xmin,ymin,xmax,ymax\ndrive_000.png,car,10,20,30,40\n")
    dataset = open_dataset("labelled", folder, boxes=folder, height_scale=1.5)
    assert dataset[0].boxes.tolist() == [[0, 10, 30, 30, 60]]


def test_consecutive_frames_end_where_a_number_is_missing(tmp_path):
    folder = write_labelled(tmp_path / "set")
    (folder / "images/drive_003.png").unlink()
    (folder / "images/other_006.png").write_bytes((folder / "images/drive_005.png").read_bytes())
    clips = open_dataset("photographs", folder / "images", consecutive=True)
    assert [path.stem[-3:] for path in clips.images] == ["000", "001", "002", "004", "005", "006"]
    assert clips.clip(0, 3) == clips.clip(2, 3) == [0, 1, 2]
    assert clips.clip(3, 3) == [3, 4, 4] and clips.clip(5, 2) == [5, 5] and clips.clip(1, 1) == [1]
    assert open_dataset("photographs", folder / "images").clip(0, 3) == [0, 0, 0]


def test_images_are_selected_by_name_and_by_index(tmp_path):
    folder = write_labelled(tmp_path / "set")
    images, index = list_images(folder / "images"), ImageIndex.read(folder / "index.csv")
    assert Selection(names="drive_00[01]*").indices(images) == [0, 1]
    assert Selection(leave_out="*_00[01].png", include={"condition": ["rain"]}).indices(images, index) == [
        3,
        5,
    ]
    assert every_kth(2, 1, ["a", "b", "a", "a", "b"]) == [False, False, True, False, True]


@pytest.mark.parametrize(
    "selection, said",
    [
        (Selection(leave_out="0001*"), "no file is named like '0001\\*' among 6, such as drive_000.png"),
        (
            Selection(include={"weather": ["fog"]}),
            "has no column 'weather': its columns are image, condition",
        ),
        (Selection(include={"condition": ["hail"]}), "no image whose condition is hail: it has fog, rain"),
        (Selection(names="drive*", leave_out="drive*"), "none of 6 images is selected"),
    ],
)
def test_a_selection_that_fits_nothing_says_what_there_is(tmp_path, selection, said):
    folder = write_labelled(tmp_path / "set")
    with pytest.raises(DataError, match=said):
        selection.indices(list_images(folder / "images"), ImageIndex.read(folder / "index.csv"))


def test_an_index_must_list_every_image_once(tmp_path):
    folder = write_labelled(tmp_path / "set", 2)
    images, path = list_images(folder / "images"), folder / "index.csv"
    path.write_text("image,condition\ndrive_000.png,fog\n")
    with pytest.raises(DataError, match="does not list drive_001.png"):
        ImageIndex.read(path).column("condition", images)
    path.write_text("image,condition\ndrive_000.png,fog\ndrive_000.png,rain\n")
    with pytest.raises(DataError, match="line 3: image drive_000.png is listed before"):
        ImageIndex.read(path)


def test_eleven_is_void_unless_it_has_a_name(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("\n".join(CITYSCAPES_CLASSES[:13]))
    names, void = read_classes(file)
    assert names[11] == "person" and void == 255
    file.write_text("\n".join(CAMVID_CLASSES))
    assert read_classes(file) == (dict(enumerate(CAMVID_CLASSES)), 11)
