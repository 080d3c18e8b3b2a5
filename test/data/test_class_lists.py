"""Class names of a network's outputs: known lists and files; classes of which one means several others."""

import json

import pytest

from ros2_derain.data import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    CLASS_LISTS,
    DataError,
    class_list,
    is_coarser,
)

NAMES = ("sky", "road", "car")
FILES = {
    "names.txt": "sky\nroad\n\ncar\n",
    "data.yaml": "train: x\nnames: [sky, road, car]\n",
    "dict.yaml": "names: {0: sky, 1: road, 2: car}\n",
    "list.json": json.dumps(NAMES),
    "config.json": json.dumps({"id2label": {"0": "sky", "1": "road", "2": "car"}}),
    "camvid.json": json.dumps(
        {"classes": [{"id": i, "name": n} for i, n in enumerate((*NAMES, "void"))], "void_id": 3}
    ),
    "head.csv": "id,name\n2,car\n0,sky\n1,road\n",
    "plain.csv": "sky\nroad\ncar\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_kind_gives_the_names_by_id(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    assert class_list(str(tmp_path / name)) == NAMES


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("gap.json", '{"names": {"0": "sky", "2": "car"}}', "its ids are not 0, 1, 2 and so on"),
        ("twice.txt", "sky\nsky\n", "names class 'sky' twice"),
        ("empty.txt", "\n", "names no class"),
        ("broken.json", "{", "is not a list of classes"),
        ("number.yaml", "7", "it holds no list of names"),
    ],
)
def test_a_file_that_is_no_list_is_refused(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        class_list(str(tmp_path / name))


def test_known_lists_have_their_published_lengths():
    lengths = {name: len(names) for name, names in CLASS_LISTS.items()}
    assert lengths == {"camvid": 11, "cityscapes": 19, "voc": 21, "coco": 80, "coco91": 91, "bdd": 10}
    assert class_list("COCO")[:3] == ("person", "bicycle", "car")
    coco = class_list("coco91")
    assert (coco[1], coco[13], coco[90]) == ("person", "stop sign", "toothbrush")
    with pytest.raises(DataError, match="no class list nosuch: give a file, or one of camvid"):
        class_list("nosuch")


def test_camvid_is_coarser_than_cityscapes_and_not_the_other_way_round():
    assert is_coarser(CAMVID_CLASSES, CITYSCAPES_CLASSES)
    assert not is_coarser(CITYSCAPES_CLASSES, CAMVID_CLASSES)
    assert not is_coarser(CAMVID_CLASSES, CAMVID_CLASSES)
