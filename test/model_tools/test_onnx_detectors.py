"""Detectors as strangers export them: every layout gives the same boxes."""

import json

import numpy as np
import pytest
import tiny_model
import torch
from foreign_networks import constant, save
from onnx import TensorProto, helper

from ros2_derain import cli, models
from ros2_derain.engine import EngineSettings, Interpreter
from ros2_derain.engine.backends import compile_graph

pytest.importorskip("onnxruntime")

SIDE = 320
CLASSES = ("car", "person", "truck")
FOUND = np.array([[30, 100, 90, 150], [32, 101, 91, 150], [200, 120, 260, 180]], np.float32)
"""Corners in pixels of the input; the second box shows the same object as the first one."""
SCORES = np.array([0.9, 0.7, 0.8], np.float32)
LABELS = np.array([0, 0, 2])
CELLS = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))


def centres(boxes=FOUND) -> np.ndarray:
    return np.hstack(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]))


def table(scores=SCORES, labels=LABELS) -> np.ndarray:
    values = np.zeros((len(scores), len(CLASSES)), np.float32)
    values[np.arange(len(scores)), labels] = scores
    return values


def logit(values: np.ndarray) -> np.ndarray:
    clipped = values.clip(1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped)).astype(np.float32)


def dense(rows: np.ndarray, count: int = CELLS) -> np.ndarray:
    """The rows among those of cells in which nothing was found, decoded as a network of cells does."""
    cells = [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride, stride)
        for stride in (8, 16, 32)
        for y in range(SIDE // stride)
        for x in range(SIDE // stride)
    ]
    everything = np.zeros((count, rows.shape[1]), np.float32)
    everything[:, :4] = np.tile(np.array(cells, np.float32), (count // CELLS, 1))
    everything[: len(rows)] = rows
    return everything[None]


def undecoded() -> np.ndarray:
    """The boxes as YOLOX's cells of stride 8 state them."""
    everything = np.zeros((1, CELLS, 5 + len(CLASSES)), np.float32)
    everything[0, :, :2] = 0.5
    for index, (x, y, width, height) in enumerate(centres()):
        row, column = int(y // 8), int(x // 8)
        cell = everything[0, row * (SIDE // 8) + column + index]  # a second box in a neighbouring cell
        cell[:4] = x / 8 - column - index, y / 8 - row, np.log(width / 8), np.log(height / 8)
        cell[4] = 1.0
        cell[5:] = table()[index]
    return everything


OBJECTNESS = np.hstack((centres(), np.ones((3, 1)), table()))
PLAIN = np.hstack((centres(), table()))
SIX = np.hstack((FOUND, SCORES[:, None], LABELS[:, None])).astype(np.float32)
PADDED = np.pad(SIX[[0, 2]], ((0, 98), (0, 0)))
SUPPRESSED = [0, 2]

LAYOUTS = {
    "yolox_undecoded": ({"output": undecoded()}, "yolox_undecoded"),
    "yolox": ({"output": dense(OBJECTNESS)}, "yolo_objectness"),
    "yolov5": ({"output0": dense(OBJECTNESS, 3 * CELLS)}, "yolo_objectness"),
    "yolov8": ({"output0": dense(PLAIN).transpose(0, 2, 1).copy()}, "yolo"),
    "yolov8 transposed": ({"output0": dense(PLAIN)}, "yolo"),
    "yolov10": ({"output0": PADDED[None]}, "rows"),
    "yolov7 with suppression": (
        {"output": np.hstack((np.zeros((2, 1)), SIX[[0, 2]][:, [0, 1, 2, 3, 5, 4]])).astype(np.float32)},
        "numbered_rows",
    ),
    "efficient_nms": (
        {
            "num_dets": np.array([[2]], np.int32),
            "det_boxes": PADDED[None, :, :4].copy(),
            "det_scores": np.pad(SCORES[SUPPRESSED], (0, 98), constant_values=0.99)[None],
            "det_classes": np.pad(LABELS[SUPPRESSED], (0, 98)).astype(np.int32)[None],
        },
        "counted",
    ),
    "detr": (
        {
            "logits": logit(table())[None],
            "pred_boxes": (centres() / SIDE).astype(np.float32)[None],
        },
        "boxes_scores",
    ),
    "detr with a class for none": (
        {
            "pred_boxes": (centres() / SIDE).astype(np.float32)[None],
            "logits": np.log(np.hstack((table(), 1 - SCORES[:, None])).clip(1e-5))[None].astype(np.float32),
        },
        "boxes_scores",
    ),
    "yolo-nas": ({"boxes": FOUND[None], "scores": table()[None]}, "boxes_scores"),
    "torchvision": (
        {"boxes": FOUND[SUPPRESSED], "labels": LABELS[SUPPRESSED], "scores": SCORES[SUPPRESSED]},
        "labels",
    ),
    "mmdetection": (
        {
            "dets": np.hstack((FOUND, SCORES[:, None]))[None, SUPPRESSED],
            "labels": LABELS[None, SUPPRESSED],
        },
        "labels",
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("\n".join(CLASSES))
    return file


def imported(base, out, file, *words) -> models.ModelCard:
    words = ["models", "import", file, "--base", base, "--out", out, *words]
    assert cli.main([str(word) for word in words]) == 0
    return models.read_card(out)


def detections(folder, image):
    settings = EngineSettings(model=str(folder), device="cpu", precision="float32", score_threshold=0.3)
    return Interpreter.load(settings).interpret(image).perception.detections


def expected(part, image) -> np.ndarray:
    """The two objects in pixels of the image, by the fit that the card states."""
    height, width = image.shape[:2]
    if part.input.fit == "stretch":
        return FOUND[SUPPRESSED] * np.tile((width / SIDE, height / SIDE), 2)
    scale = SIDE / max(width, height)
    shift = (SIDE - np.array((width, height)) * scale) / 2 * (part.input.fit == "letterbox")
    return (FOUND[SUPPRESSED] - np.tile(shift, 2)) / scale


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_boxes(name, base, classes, tmp_path):
    outputs, layout = LAYOUTS[name]
    file = constant(tmp_path / "stranger.onnx", outputs)
    card = imported(base, tmp_path / "mine", file, "--as", "detector", "--classes", classes)
    part = card.onnx["detector"]
    assert part.detections.layout == layout and card.objects == CLASSES
    image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    if layout in ("boxes_scores",):  # no suppression of its own, and none needed by networks like DETR
        found = [box for box in detections(tmp_path / "mine", image) if box.score > 0.75]
    else:
        found = detections(tmp_path / "mine", image)
    assert [box.class_name for box in found] == ["car", "truck"]
    assert np.allclose([box.score for box in found], [0.9, 0.8], atol=2e-3)
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in found])
    assert np.allclose(corners, expected(part, image).clip(0, (640, 360) * 2), atol=0.6)


def test_rt_detr_gets_the_size_that_its_boxes_are_for(base, classes, tmp_path):
    outputs = {"labels": LABELS[None], "boxes": FOUND[None], "scores": SCORES[None]}
    file = constant(tmp_path / "rtdetr.onnx", outputs, size_input="orig_target_sizes")
    card = imported(base, tmp_path / "mine", file, "--as", "detector", "--classes", classes)
    assert card.onnx["detector"].input.size_input == "orig_target_sizes"
    assert len(detections(tmp_path / "mine", np.zeros((360, 640, 3), np.uint8))) == 3


def test_names_and_size_of_ultralytics_metadata_are_used(base, tmp_path):
    metadata = {
        "author": "Ultralytics",
        "names": "{0: 'car', 1: 'person', 2: 'truck'}",
        "imgsz": "[320, 320]",
    }
    outputs = {"output0": dense(PLAIN).transpose(0, 2, 1).copy()}
    file = constant(tmp_path / "yolo.onnx", outputs, (1, 3, "height", "width"), metadata=metadata)
    card = imported(base, tmp_path / "mine", file, "--as", "detector")
    part = card.onnx["detector"]
    assert (card.objects, part.input.size, part.input.fit) == (CLASSES, (SIDE, SIDE), "letterbox")
    assert part.input.white == 1 and part.input.colours == "RGB"


def test_a_guess_gives_way_to_the_options(base, classes, tmp_path, capsys):
    file = constant(tmp_path / "stranger.onnx", {"output": dense(OBJECTNESS)})
    options = "--fit stretch --white 1 --colours RGB --mean 0.1,0.2,0.3 --std 0.5 --overlap 0.7 --json"
    capsys.readouterr()
    card = imported(base, tmp_path / "mine", file, "--as", "detector", "--classes", classes, *options.split())
    spec = card.onnx["detector"].input
    assert (spec.fit, spec.white, spec.colours, spec.mean) == ("stretch", 1.0, "RGB", (0.1, 0.2, 0.3))
    assert spec.std == (0.5, 0.5, 0.5) and card.onnx["detector"].detections.overlap == 0.7
    assert json.loads(capsys.readouterr().out)["part"]["input"]["mean"] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_number_of_boxes_may_differ_from_image_to_image(tmp_path, runtime):
    """Detectors with suppression inside return as many boxes as they find."""
    pytest.importorskip(runtime)
    nodes = [helper.make_node("NonZero", ["image"], ["found"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 4, 4))
    found = helper.make_tensor_value_info("found", TensorProto.INT64, (4, "count"))
    graph = compile_graph(save(tmp_path / "count.onnx", nodes, [image], [found]), runtime)
    for count in (3, 0, 5, 5, 1):
        pixels = torch.zeros(1, 3, 4, 4)
        pixels.view(-1)[:count] = 1
        assert graph({"image": pixels})["found"].shape == (4, count)
