"""Files that cannot be a part of a model: each is refused in one line, and nothing is written."""

import numpy as np
import onnx
import pytest
import tiny_model
import yaml
from foreign_networks import constant, mixer, save
from onnx import TensorProto, helper, numpy_helper

from ros2_derain import cli, models
from ros2_derain.engine import EngineError, EngineSettings, Interpreter, ModelError

pytest.importorskip("onnxruntime")

SHAPE = (1, 3, 64, 96)
MAPS = np.zeros((1, 3, 64, 96), np.float32)
IMAGE = helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)
OUT = helper.make_tensor_value_info("out", TensorProto.FLOAT, SHAPE)


def text(path):
    path.write_text("not a network")
    return path


def empty(path):
    path.write_bytes(b"")
    return path


def custom(path):
    node = helper.make_node("MultiScaleDeformableAttention", ["image"], ["out"], domain="mmdeploy")
    return save(path, [node], [IMAGE], [OUT], domains=["mmdeploy"])


def unknown(path):
    return save(path, [helper.make_node("EfficientNMS_TRT", ["image"], ["out"])], [IMAGE], [OUT])


def future(path):
    return save(path, [helper.make_node("Relu", ["image"], ["out"])], [IMAGE], [OUT], opset=99)


def external(path, location):
    """A convolution whose weights are said to be in another file."""
    file = mixer(path, np.eye(3), np.zeros(3), SHAPE)
    model = onnx.load(str(file))
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location, length=36)
        tensor.ClearField("raw_data")
    onnx.save(model, str(file))
    return file


def fails_at_other_sizes(path):
    """Made for 32 x 32 whatever the file says of its input."""
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["out"])]
    tensor = numpy_helper.from_array(np.array([1, 3, 32, 32]), "shape")
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, "h", "w"))]
    return save(path, nodes, inputs, [OUT], [tensor])


def two_images(path):
    second = helper.make_tensor_value_info("previous", TensorProto.FLOAT, SHAPE)
    return save(path, [helper.make_node("Add", ["image", "previous"], ["out"])], [IMAGE, second], [OUT])


def rows(columns):
    return np.random.default_rng(0).random((1, 50, columns)).astype(np.float32)


OUTSIDE = "outside its own folder"
BAD = {
    "no ONNX": (text, "segmentation", "is no ONNX file"),
    "empty": (empty, "segmentation", "is empty or larger than 2 GB"),
    "custom operators": (custom, "segmentation", "operator MultiScaleDeformableAttention of domain mmdeploy"),
    "an unknown operator": (unknown, "detector", "operator EfficientNMS_TRT, which is none of ONNX's"),
    "a later opset": (future, "segmentation", "needs opset 99"),
    "weights above": (
        lambda path: external(path, "../weights.bin"),
        "segmentation",
        OUTSIDE,
    ),
    "weights anywhere": (
        lambda path: external(path, "/etc/passwd"),
        "segmentation",
        OUTSIDE,
    ),
    "weights missing": (lambda path: external(path, "w.bin"), "segmentation", "cannot be read"),
    "another size": (fails_at_other_sizes, "segmentation", "the network fails at"),
    "two images": (two_images, "segmentation", "Name it by --input"),
    "a batch": (
        lambda path: mixer(path, np.eye(3), np.zeros(3), (4, 3, 64, 96)),
        "segmentation",
        "takes 4 images at a time",
    ),
    "grey images": (
        lambda path: save(
            path,
            [helper.make_node("Relu", ["image"], ["out"])],
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 64, 96))],
            [OUT],
        ),
        "segmentation",
        "takes no colour image",
    ),
    "other classes": (
        lambda path: constant(path, {"out": np.zeros((1, 5, 64, 96), np.float32)}, SHAPE),
        "segmentation",
        "no output is a segmentation of 3 classes",
    ),
    "classes of a detector": (
        lambda path: constant(path, {"out": rows(85)}, SHAPE),
        "detector",
        "fit no known layout of a detector of 3 classes",
    ),
    "NaN": (
        lambda path: constant(path, {"out": MAPS * np.nan}, SHAPE),
        "segmentation",
        "not finite",
    ),
    "NaN boxes": (
        lambda path: constant(path, {"out": rows(6) * np.nan}, SHAPE),
        "detector",
        "not finite",
    ),
    "no image": (
        lambda path: constant(path, {"out": rows(6)}, SHAPE),
        "derainer",
        "no output is an image as large as the input",
    ),
}


@pytest.fixture
def classes(tmp_path):
    (tmp_path / "names.csv").write_text("id,name\n0,sky\n1,road\n2,car\n")
    return tmp_path / "names.csv"


def refusal(tmp_path, file, capsys, *words) -> str:
    """The message of an import that fails; nothing may be left of it."""
    base = tiny_model.write(tmp_path / "base")
    before = sorted(path.name for path in tmp_path.iterdir())
    words = ["models", "import", file, "--base", base, "--out", tmp_path / "mine", *words]
    assert cli.main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    return said


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(name, classes, tmp_path, capsys):
    make, kind, said = BAD[name]
    file = make(tmp_path / "stranger.onnx")
    assert said in refusal(tmp_path, file, capsys, "--as", kind, "--classes", classes)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--as", "detector", "--layout", "yolov8"], "have 2 classes in layout yolo, but 3 are named"),
        (["--as", "detector", "--output", "boxes"], "has no output boxes"),
        (["--as", "detector", "--input", "picture"], "has no input picture"),
        (["--as", "detector", "--size", "640x640"], "is of a fixed size"),
        (["--as", "detector", "--classes", "nosuch"], "no class list nosuch"),
        ([], "say what it is by --as"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(words, said, classes, tmp_path, capsys):
    file = constant(tmp_path / "stranger.onnx", {"out": rows(6)}, SHAPE)
    assert said in refusal(tmp_path, file, capsys, "--classes", classes, *words)


def mine(tmp_path, classes):
    file = mixer(tmp_path / "stranger.onnx", np.zeros((3, 3)), np.array([0.0, 9.0, 0.0]), SHAPE)
    base = tiny_model.write(tmp_path / "base")
    words = ["import", file, "--as", "segmentation", "--base", base, "--classes", classes]
    assert cli.main(["models", *map(str, words), "--out", str(tmp_path / "mine")]) == 0
    return tmp_path / "mine"


def test_an_existing_part_is_replaced_with_force_only(classes, tmp_path, capsys):
    folder = mine(tmp_path, classes)
    again = [
        "models",
        "import",
        str(tmp_path / "stranger.onnx"),
        "--as",
        "segmentation",
        "--out",
        str(folder),
    ]
    again += ["--classes", str(classes)]
    assert cli.main(again) == 2 and "replace it with --force" in capsys.readouterr().err
    assert cli.main([*again, "--force"]) == 0


def test_a_second_import_adds_a_part(classes, tmp_path):
    folder = mine(tmp_path, classes)
    before = models.read_card(folder)
    found = np.zeros((1, 100, 6), np.float32)
    found[0, 0] = 10, 10, 40, 40, 0.9, 2
    file = constant(tmp_path / "detector.onnx", {"out": found}, SHAPE)
    words = ["import", str(file), "--as", "detector", "--classes", str(classes), "--out", str(folder)]
    assert cli.main(["models", *words]) == 0
    card = models.read_card(folder)
    assert set(card.onnx) == {"segmentation", "detector"} and "parser" not in card.networks
    assert card.onnx["segmentation"] == before.onnx["segmentation"] and card.digest != before.digest
    seen = Interpreter.load(EngineSettings(model=str(folder), device="cpu"))
    perception = seen.interpret(np.zeros((64, 96, 3), np.uint8)).perception
    assert [box.class_name for box in perception.detections] == ["car"]
    assert set(perception.labels.ravel()) == {1}


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda folder: (folder / "segmentation.onnx").unlink(), "cannot be read"),
        (lambda folder: (folder / "segmentation.onnx").write_bytes(b"other"), "is not that of the card"),
    ],
)
def test_a_changed_file_is_refused_by_name_at_configure(change, said, classes, tmp_path):
    folder = mine(tmp_path, classes)
    change(folder)
    with pytest.raises(ModelError, match=said) as refused:
        Interpreter.load(EngineSettings(model=str(folder), device="cpu"))
    assert "segmentation.onnx" in str(refused.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"file": "../segmentation.onnx"}, "is not the name of a file in the model's folder"),
        ({"classes": ["sky"]}, "classes are not those of segmentation.onnx"),
        ({"input": {"name": "picture"}}, "inputs image are missing"),
        ({"segmentation": {"name": "maps"}}, "has no output maps; it has out"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(change, said, classes, tmp_path):
    folder = mine(tmp_path, classes)
    card = yaml.safe_load((folder / models.CARD).read_text())
    card["onnx"]["segmentation"] |= change
    (folder / models.CARD).write_text(yaml.safe_dump(card))
    with pytest.raises((ModelError, EngineError, RuntimeError), match=said):
        Interpreter.load(EngineSettings(model=str(folder), device="cpu")).warm_up(64, 96)


def test_weights_beside_the_file_become_part_of_it(classes, tmp_path):
    file = tmp_path / "stranger.onnx"
    model = onnx.load(str(mixer(file, 20 * np.eye(3), np.zeros(3), SHAPE)))
    onnx.save(model, str(file), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").is_file()
    base = tiny_model.write(tmp_path / "base")
    words = ["import", file, "--as", "segmentation", "--base", base, "--classes", classes]
    assert cli.main(["models", *map(str, words), "--out", str(tmp_path / "mine")]) == 0
    (tmp_path / "w.bin").unlink()
    Interpreter.load(EngineSettings(model=str(tmp_path / "mine"), device="cpu")).warm_up(64, 96)
