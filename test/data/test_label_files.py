"""CamVid, Cityscapes and VOC2012 folders: ids become class ids; what is missing or wrong is named."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain.data import (
    CITYSCAPES_CLASSES,
    VOC_CLASSES,
    CamVid,
    Cityscapes,
    DataError,
    Voc2012,
)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def image(height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def ids(*values: int) -> np.ndarray:
    """6 x 8, the first pixels hold these ids, all others the last one."""
    flat = np.full(48, values[-1], np.uint8)
    flat[: len(values)] = values
    return flat.reshape(6, 8)


def palette_png(path: Path, indices: np.ndarray, colours: np.ndarray) -> None:
    """A PNG with colour type 3, as VOC's masks are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", colours.astype(np.uint8).tobytes())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def voc_colours() -> np.ndarray:
    """256 x 3, with the colours that the VOC development kit documents for some classes."""
    colours = np.full((256, 3), 7)
    colours[[0, 1, 2, 7, 15, 20, 255]] = [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 128),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]
    return colours


@pytest.fixture
def camvid(tmp_path) -> Path:
    for name in ("a", "b"):
        write(tmp_path / f"val/images/{name}.jpg", image())
        write(tmp_path / f"val/labels/{name}.png", ids(0, 10, 11, 3))
    return tmp_path / "val"


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    for city, kind, values in (
        ("aachen", "labelIds", (7, 33, 0, 4, 26)),
        ("bonn", "labelTrainIds", (255, 18)),
    ):
        stem = f"{city}_000000_000019"
        write(tmp_path / f"leftImg8bit/train/{city}/{stem}_leftImg8bit.png", image())
        write(tmp_path / f"gtFine/train/{city}/{stem}_gtFine_{kind}.png", ids(*values))
    return tmp_path


@pytest.fixture
def voc(tmp_path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    write(root / "JPEGImages/2007_1.jpg", image())
    palette_png(root / "SegmentationClass/2007_1.png", ids(0, 1, 2, 15, 20, 255, 7), voc_colours())
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_1\n")
    return root


def write_annotation(root: Path, *objects: tuple) -> None:
    items = "".join(
        f"<object><name>{name}</name><part><name>head</name></part><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    (root / "Annotations").mkdir(exist_ok=True)
    size = "<size><width>8</width><height>6</height></size>"
    (root / "Annotations/2007_1.xml").write_text(f"<annotation>{size}{items}</annotation>")


def test_camvid_void_becomes_unlabelled(camvid):
    dataset = CamVid(camvid)
    assert len(dataset) == 2 and len(dataset.classes) == 11
    sample = dataset[0]
    assert sample.image.shape == (6, 8, 3) and sample.driving and sample.boxes is None
    assert sample.labels.dtype == np.uint8 and sample.labels.ravel()[:4].tolist() == [0, 10, 255, 3]


def test_camvid_boxes_are_found_by_split_and_name(camvid, tmp_path):
    (tmp_path / "images.csv").write_text("image,width,height\nval/images/a.jpg,8,6\nval/images/b.jpg,8,6\n")
    (tmp_path / "boxes.csv").write_text(
        "image,class,xmin,ymin,xmax,ymax\nval/images/b.jpg,pedestrian,1,2,3,4.5\n"
    )
    dataset = CamVid(camvid, tmp_path)
    assert dataset[0].boxes.shape == (0, 5)
    assert dataset[1].boxes.tolist() == [[1, 1, 2, 3, 4.5]]
    (tmp_path / "images.csv").write_text("image,width,height\nval/images/b.jpg,8,6\n")
    with pytest.raises(DataError, match="images.csv does not list .*val/images/a.jpg"):
        CamVid(camvid, tmp_path)
    (tmp_path / "images.csv").write_text("image,width,height\nval/images/a.jpg,9,6\nval/images/b.jpg,8,6\n")
    with pytest.raises(DataError, match="a.jpg is 8x6 but its boxes are for 9x6"):
        CamVid(camvid, tmp_path)[0]


def test_a_broken_camvid_folder_is_named(camvid, tmp_path):
    with pytest.raises(DataError, match="nowhere/images is not a folder: correct the path"):
        CamVid(tmp_path / "nowhere")
    (camvid / "labels/b.png").unlink()
    with pytest.raises(DataError, match="1 label files are missing, the first is .*b.png"):
        CamVid(camvid)
    write(camvid / "labels/b.png", ids(3, 12))
    with pytest.raises(DataError, match=r"b.png holds label id 12 \(at x 1, y 0\); known are 0..11"):
        CamVid(camvid)[1]
    write(camvid / "labels/b.png", np.zeros((5, 8), np.uint8))
    with pytest.raises(DataError, match="b.jpg is 8x6 but .*b.png is 8x5"):
        CamVid(camvid)[1]
    write(camvid / "labels/b.png", image())
    with pytest.raises(DataError, match="b.png has 3 channels of uint8: a label map holds ids in one"):
        CamVid(camvid)[1]
    write(camvid / "labels/b.png", np.zeros((6, 8), np.uint16))
    with pytest.raises(DataError, match="b.png has 1 channels of uint16"):
        CamVid(camvid)[1]
    (camvid / "labels/b.png").write_bytes(b"")
    with pytest.raises(DataError, match="b.png is not an image that can be decoded"):
        CamVid(camvid)[1]
    (camvid / "images/a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="a.jpg is not an image that can be decoded"):
        CamVid(camvid)[0]
    (camvid / "images/a.jpg").unlink()
    (camvid / "images/b.jpg").unlink()
    with pytest.raises(DataError, match="images holds no image"):
        CamVid(camvid)


def test_cityscapes_ids_become_train_ids(cityscapes):
    dataset = Cityscapes(cityscapes, "train")
    assert len(dataset) == 2 and dataset[0].driving and dataset[0].boxes is None
    # road, bicycle, unlabeled, static, car
    assert dataset[0].labels.ravel()[:5].tolist() == [0, 18, 255, 255, 13]
    assert dataset[1].labels.ravel()[:2].tolist() == [255, 18]
    assert dataset.classes == CITYSCAPES_CLASSES and len(dataset.classes) == 19
    assert (dataset.classes[0], dataset.classes[13], dataset.classes[18]) == ("road", "car", "bicycle")


def test_every_cityscapes_label_id_is_known(cityscapes):
    path = next(cityscapes.glob("gtFine/train/aachen/*"))
    write(path, ids(*range(34)))
    found = Cityscapes(cityscapes)[0].labels.ravel()[:34]
    # trainId column of the evaluation's label table
    void = 255
    assert found.tolist() == [void] * 7 + [0, 1, void, void, 2, 3, 4, void, void, void, 5, void] + [
        *(6, 7, 8, 9, 10, 11, 12, 13, 14, 15, void, void, 16, 17, 18)
    ]


def test_a_broken_cityscapes_folder_is_named(cityscapes, tmp_path):
    with pytest.raises(DataError, match=r"leftImg8bit/val is not a folder"):
        Cityscapes(cityscapes, "val")
    (cityscapes / "leftImg8bit/val/ulm").mkdir(parents=True)
    with pytest.raises(DataError, match=r"val holds no <city>/\*_leftImg8bit.png"):
        Cityscapes(cityscapes, "val")
    path = next(cityscapes.glob("gtFine/train/aachen/*"))
    write(path, ids(7, 34))
    with pytest.raises(DataError, match=r"labelIds.png holds label id 34 .*known are 0..33"):
        Cityscapes(cityscapes)[0]
    path.rename(path.with_name("aachen_9_gtFine_labelIds.png"))
    with pytest.raises(
        DataError,
        match="aachen_000000_000019_leftImg8bit.png has no labels",
    ):
        Cityscapes(cityscapes)
    next(cityscapes.glob("leftImg8bit/train/aachen/*")).unlink()
    with pytest.raises(DataError, match="aachen_9_gtFine_labelIds.png has no image below"):
        Cityscapes(cityscapes)
    path.with_name("aachen_9_gtFine_labelIds.png").unlink()
    write(next(cityscapes.glob("gtFine/train/bonn/*")), np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match="bonn.*leftImg8bit.png is 8x6 but .*labelTrainIds.png is 4x3"):
        Cityscapes(cityscapes)[0]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_voc_palette_indices_are_read(voc, above):
    dataset = Voc2012((voc, *voc.parents)[above], "train")
    assert dataset.classes == VOC_CLASSES and len(VOC_CLASSES) == 21
    sample = dataset[0]
    assert sample.labels.ravel()[:7].tolist() == [0, 1, 2, 15, 20, 255, 7]
    assert not sample.driving and sample.boxes is None


def test_voc_labels_may_be_plain_ids(voc):
    write(voc / "SegmentationClass/2007_1.png", ids(20, 255, 4))
    assert Voc2012(voc)[0].labels.ravel()[:3].tolist() == [20, 255, 4]


def test_voc_boxes_count_from_one_and_include_the_last_pixel(voc):
    write_annotation(voc, ("car", 1, 1, 8, 6), ("sheep", 1, 1, 2, 2), ("person", 3, 2, 3, 2))
    boxes = Voc2012(voc, with_boxes=True)[0].boxes
    assert boxes.tolist() == [[0, 0, 0, 8, 6], [1, 2, 1, 3, 2]]


def test_a_broken_voc_folder_is_named(voc, tmp_path):
    with pytest.raises(DataError, match="holds neither JPEGImages nor VOC2012 nor VOCdevkit/VOC2012"):
        Voc2012(tmp_path / "nowhere")
    with pytest.raises(DataError, match="test.txt is missing; existing splits: train"):
        Voc2012(voc, "test")
    with pytest.raises(DataError, match="1 annotation files are missing, the first is .*2007_1.xml"):
        Voc2012(voc, with_boxes=True)
    write_annotation(voc, ("car", 1, 1, 8, 6), ("car", 5, 1, 2, 2))
    with pytest.raises(DataError, match=r"2007_1.xml, object 2: \(4, 0, 2, 2\) is not a box"):
        Voc2012(voc, with_boxes=True)[0]
    (voc / "Annotations/2007_1.xml").write_text("<annotation>")
    with pytest.raises(DataError, match="2007_1.xml is not a VOC annotation: no element found"):
        Voc2012(voc, with_boxes=True)[0]
    palette_png(voc / "SegmentationClass/2007_1.png", ids(0, 21), voc_colours())
    with pytest.raises(DataError, match=r"2007_1.png holds label id 21 .* known are 0..20, 255"):
        Voc2012(voc)[0]
    write(voc / "SegmentationClass/2007_1.png", ids(0, 21))
    with pytest.raises(DataError, match=r"2007_1.png holds label id 21 .* known are 0..20, 255"):
        Voc2012(voc)[0]
    write(voc / "SegmentationClass/2007_1.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(DataError, match="2007_1.jpg is 8x6 but .*2007_1.png is 9x6"):
        Voc2012(voc)[0]
    (voc / "SegmentationClass/2007_1.png").unlink()
    with pytest.raises(DataError, match="1 label files are missing"):
        Voc2012(voc)
    (voc / "ImageSets/Segmentation/train.txt").write_text("2007_1\n2007_2\n")
    with pytest.raises(DataError, match="1 image files are missing, the first is .*2007_2.jpg"):
        Voc2012(voc)
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n")
    with pytest.raises(DataError, match="train.txt lists no image"):
        Voc2012(voc)
