"""Networks made elsewhere in the live pipeline."""

import numpy as np
import pytest
import rig
import tiny_model
from foreign_networks import constant

from ros2_derain import cli, messages, resources
from ros2_derain.data import CITYSCAPES_CLASSES, COCO_CLASSES, read_image
from ros2_derain.engine import Mode
from ros2_derain.messages import images
from ros2_derain.nodes import outputs

pytest.importorskip("onnxruntime")


def add(folder, file, kind, classes, base):
    words = ["models", "import", file, "--as", kind, "--classes", classes, "--out", folder]
    base = () if folder.exists() else ("--base", base)
    assert cli.main([str(word) for word in (*words, *base)]) == 0


@pytest.fixture
def folder(tmp_path):
    """Half road, half car by a stranger's Cityscapes labels; one bus by a stranger's COCO detector."""
    labels = np.zeros((1, 64, 96), np.int64)
    labels[:, :, 48:] = CITYSCAPES_CLASSES.index("car")
    found = np.zeros((1, 300, 6), np.float32)
    found[0, 0] = 24, 16, 72, 48, 0.9, COCO_CLASSES.index("bus")
    base = tiny_model.write(tmp_path / "base")
    made = tmp_path / "mine"
    segmentation = constant(tmp_path / "labels.onnx", {"labels": labels}, (1, 3, 64, 96))
    add(made, segmentation, "segmentation", "cityscapes", base)
    add(made, constant(tmp_path / "yolo.onnx", {"out": found}, (1, 3, 64, 96)), "detector", "coco", base)
    return made


@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
def test_topics_follow_the_imported_classes(active, folder, prior):
    made = active(model=str(folder), prior=prior)
    for _ in range(2):
        made.pass_through(rig.noise_image(72, 108))
    labels = images.to_rgb(made.client.last(outputs.LABEL_MAP))[..., 0]
    assert set(labels[:, :50].ravel()) == {0} and set(labels[:, 58:].ravel()) == {13}
    assert messages.to_class_names(made.client.last(outputs.LABEL_INFO)) == CITYSCAPES_CLASSES
    (box,) = made.client.last(outputs.DETECTIONS).detections
    assert box.results[0].hypothesis.class_id == "bus" and box.bbox.center.position.x == pytest.approx(54)
    assert made.client.last(outputs.SEMANTIC_PRIOR).encoding == "8UC19"
    made.client.expect(made.client.mode, Mode.LOOP.value)


def test_a_changed_file_leaves_the_nodes_unconfigured(make_rig, folder, capfd):
    (folder / "detector.onnx").write_bytes(b"another one")
    made = make_rig(rig.composed, model=str(folder))
    assert [made.change(node, "configure") for node in made.nodes] == [False, False]
    assert "detector.onnx is not that of the card" in capfd.readouterr().err


def test_a_strangers_yolox_finds_cars_in_the_live_pipeline(active, data_dir, tmp_path):
    base = tiny_model.write(tmp_path / "base", reads_mm_h=0.0)
    file = data_dir / "foreign_models/yolox_nano.onnx"
    add(tmp_path / "mine", file, "detector", "coco", base)
    made = active(model=str(tmp_path / "mine"))
    made.pass_through(read_image(resources.path("samples/highway/000175.jpg")))
    found = made.client.last(outputs.DETECTIONS).detections
    assert len(found) >= 3 and {box.results[0].hypothesis.class_id for box in found} <= {
        "car",
        "truck",
        "bus",
    }
