"""Segmentation networks as strangers export them: layouts, number formats, sizes, class orders."""

import json

import numpy as np
import pytest
import tiny_model
import torch
from foreign_networks import constant, mixer
from onnx import TensorProto, helper

from ros2_derain import cli, models
from ros2_derain.engine import UNLABELLED, EngineSettings, Interpreter
from ros2_derain.networks import create
from ros2_derain.networks.onnx_export import export

pytest.importorskip("onnxruntime")

NAMES = ("redness", "green stuff", "blue")
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
HEIGHT, WIDTH = 96, 160


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"names": list(NAMES)}))
    return file


def imported(base, out, file, *words) -> models.ModelCard:
    words = ["models", "import", file, "--as", "segmentation", "--base", base, "--out", out, *words]
    assert cli.main([str(word) for word in words]) == 0
    return models.read_card(out)


def patches() -> tuple[np.ndarray, np.ndarray]:
    """An image of red, green and blue areas, and their labels."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 64:112], labels[48:, 112:] = 1, 2
    palette = np.array([[200, 40, 30], [20, 180, 60], [10, 60, 220]], np.uint8)
    return palette[labels], labels


def parsed(folder, image):
    settings = EngineSettings(model=str(folder), device="cpu", precision="float32")
    return Interpreter.load(settings).interpret(image)


def weights(mean=(0, 0, 0), std=(1, 1, 1), white=1.0, is_bgr=False) -> tuple[np.ndarray, np.ndarray]:
    """Channel k of the output is how much red, green or blue there is, whatever the form of the input."""
    scale = 20 * np.diag(std) / white
    bias = 20 * np.array(mean) / white
    return (scale[::-1], bias[::-1]) if is_bgr else (scale, bias)


ARGMAX = [helper.make_node("ArgMax", ["mixed"], ["out"], axis=1, keepdims=0)]
FLOATS = [
    helper.make_node("ArgMax", ["mixed"], ["whole"], axis=1, keepdims=1),
    helper.make_node("Cast", ["whole"], ["out"], to=TensorProto.FLOAT),
]
SOFTMAX = [helper.make_node("Softmax", ["mixed"], ["out"], axis=1)]
LAST = [helper.make_node("Transpose", ["mixed"], ["out"], perm=[0, 2, 3, 1])]
FLOAT = TensorProto.FLOAT
FORMS = {
    "dynamic, logits, ImageNet": (
        mixer,
        {"weights": {"mean": IMAGENET[0], "std": IMAGENET[1]}},
        "--white 1 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    ),
    "fixed, BGR 0..255": (
        mixer,
        {"weights": {"white": 255.0, "is_bgr": True}, "shape": (1, 3, 64, 96)},
        "--white 255 --colours BGR --mean 0 --std 1",
    ),
    "NHWC uint8": (
        mixer,
        {"weights": {"white": 255.0}, "shape": (1, "h", "w", 3), "dtype": "uint8", "is_last": True},
        "--colours RGB",
    ),
    "NHWC logits": (
        mixer,
        {"weights": {}, "after": LAST, "output": ("out", FLOAT, (1, "h", "w", 3))},
        "--white 1 --mean 0 --std 1",
    ),
    "probabilities": (mixer, {"weights": {}, "after": SOFTMAX}, "--white 1 --mean 0 --std 1"),
    "label map": (
        mixer,
        {"weights": {}, "after": ARGMAX, "output": ("out", TensorProto.INT64, (1, "h", "w"))},
        "--white 1 --mean 0 --std 1",
    ),
    "label map of floats": (
        mixer,
        {"weights": {}, "after": FLOATS, "output": ("out", FLOAT, (1, 1, "h", "w"))},
        "--white 1 --mean 0 --std 1",
    ),
    "letterbox": (
        mixer,
        {"weights": {}, "shape": (1, 3, 160, 160)},
        "--fit letterbox --white 1 --mean 0 --std 1",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_labels(form, base, classes, tmp_path):
    make, options, words = FORMS[form]
    file = make(
        tmp_path / "stranger.onnx",
        *weights(**options["weights"]),
        **{key: value for key, value in options.items() if key != "weights"},
    )
    card = imported(base, tmp_path / "mine", file, "--classes", classes, *words.split())
    assert card.classes == NAMES
    image, labels = patches()
    found = parsed(tmp_path / "mine", image)
    inner = np.ones_like(labels, bool)
    for edge in (64, 112):
        inner[:, edge - 4 : edge + 4] = False
    inner[44:52] = False
    assert (found.perception.labels == labels)[inner].all()
    assert found.prior.shape == (3, 12, 20)
    assert (tmp_path / "mine/overlay.png").is_file()


def test_a_label_that_is_no_class_is_unlabelled(base, classes, tmp_path):
    labels = np.full((1, 64, 96), 255, np.int64)
    labels[:, :, :48] = 1
    file = constant(tmp_path / "labels.onnx", {"labels": labels}, (1, 3, 64, 96))
    imported(base, tmp_path / "mine", file, "--classes", classes)
    found = parsed(tmp_path / "mine", patches()[0]).perception
    assert set(found.labels[:, 4:70].ravel()) == {1} and set(found.labels[:, 90:].ravel()) == {UNLABELLED}
    assert not found.confidence[:, 90:].any()


@pytest.mark.parametrize("network", ["scene_parser", "ubcn_segmenter"])
def test_own_parsers_imported_as_strangers_agree_with_torch(network, base, tmp_path):
    """With another order of the classes, another normalisation and a fixed size."""
    classes = ("car", "road", "sky")
    options = {
        "scene_parser": {"classes": 3, "objects": 2, "widths": [8, 8, 8, 8]},
        "ubcn_segmenter": {"classes": 3, "name": "light"},
    }[network]
    torch.manual_seed(0)
    module = create(network, **options).eval()
    file = tmp_path / "stranger.onnx"
    file.write_bytes(export(Normalised(module), "parse", (HEIGHT, WIDTH)))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(classes))
    words = "--white 255 --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 --colours BGR --output logits"
    card = imported(base, tmp_path / "mine", file, "--classes", names, *words.split())
    assert card.onnx["segmentation"].input.size == (WIDTH, HEIGHT)
    assert card.prior.meaning == {name: name for name in classes}, "mapped by name, whatever the order"
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with torch.no_grad():
        logits = module(torch.from_numpy(image).permute(2, 0, 1)[None] / 255).logits
    half = torch.nn.functional.interpolate(
        logits.softmax(1), scale_factor=2, mode="bilinear", align_corners=False
    )
    expected = half[0].argmax(0).numpy().repeat(2, 0).repeat(2, 1)
    found = parsed(tmp_path / "mine", image).perception
    assert (found.labels == expected).mean() > 0.995
    assert found.detections is not None


class Normalised(torch.nn.Module):
    """A parser that wants BGR 0..255 less ImageNet's mean, as many strangers do."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        mean, std = (torch.tensor(values, dtype=torch.float32)[None, :, None, None] for values in IMAGENET)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image):
        scale = torch.tensor([58.395, 57.12, 57.375])[None, :, None, None]
        mean = torch.tensor([123.675, 116.28, 103.53])[None, :, None, None]
        return self.module((image * scale + mean).flip(1) / 255)


def test_another_list_of_classes_is_mapped_for_the_derainer_by_name(base, tmp_path, capsys):
    labels = np.zeros((1, 64, 96), np.int64)
    labels[:, 32:] = 13
    file = constant(tmp_path / "cityscapes.onnx", {"labels": labels}, (1, 3, 64, 96))
    card = imported(base, tmp_path / "mine", file, "--classes", "cityscapes")
    assert card.prior.meaning == {"sky": "sky", "road": "road", "car": "car", "truck": "car", "bus": "car"}
    said = capsys.readouterr().out
    assert "truck -> car" in said and "without a class of the derainer: sidewalk" in said
    assert card.colours["vegetation"] and len(card.colours) == 19
