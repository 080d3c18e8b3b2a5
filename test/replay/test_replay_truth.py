"""Replays with true labels, true boxes or reference images, of a topic or of a folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from made_bags import (
    FIRST_NS,
    SCENE,
    STEP_NS,
    compressed_image,
    detections,
    drive,
    encoded,
    pixels,
    raw_image,
    write_bag,
)
from replaying import engine, records, replay, summary

from ros2_derain.engine import Detection, Frame, Interpreter
from ros2_derain.metrics import confusion, mean_iou, psnr, ssim


@pytest.fixture(scope="module")
def labelled(dry_model, tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """A drive whose bag has label maps: the parser's own, but for a third of the first image."""
    parser = engine(dry_model).interpreter
    listed, maps = drive(3), []
    for index, (_, image) in enumerate(drive(3)):
        labels = parser.interpret(pixels(image)).perception.labels.copy()
        if not index:
            labels[:32] = (labels[:32] + 1) % 3
            labels[32:40] = 255
        maps.append(labels)
        listed.append(("/truth", raw_image(FIRST_NS + index * STEP_NS, labels, "mono8")))
    return write_bag(tmp_path_factory.mktemp("bags") / "labelled", listed), maps


def test_labels_of_a_topic_are_matched_by_stamp(labelled, dry_model, tmp_path):
    bag, maps = labelled
    assert replay(bag, tmp_path / "out", dry_model, "--truth", "/truth") == 0
    whole = summary(tmp_path / "out")
    parser = engine(dry_model).interpreter
    matrix = 0
    for (_, image), truth in zip(drive(3), maps, strict=True):
        seen = parser.interpret(pixels(image)).perception.labels
        matrix = matrix + confusion(seen, truth, 3)
    assert whole["truth"]["labels"]["frames"] == 3 and list(whole["bag"]["cameras"]) == ["/image"]
    found = whole["truth"]["labels"]
    assert found["output"]["miou"] == pytest.approx(mean_iou(matrix)) and mean_iou(matrix) < 1
    assert found["input"] == found["output"]  # dry: nothing was changed
    assert [line["truth"]["labels"]["output"]["miou"] == 1 for line in records(tmp_path / "out")] == [
        False,
        True,
        True,
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Labels against the truth" in page and page.index("/image, frame 0") > page.index("Worst frames")


@pytest.mark.parametrize("stamped", [True, False])
def test_labels_of_a_folder_are_matched_by_name_or_by_order(labelled, dry_model, tmp_path, stamped):
    bag, maps = labelled
    folder = tmp_path / "labels"
    folder.mkdir()
    for index, labels in list(enumerate(maps))[: 2 if stamped else 3]:
        name = f"{FIRST_NS + index * STEP_NS}" if stamped else f"{index:04d}"
        cv2.imwrite(str(folder / f"{name}.png"), labels)
    assert replay(bag, tmp_path / "out", dry_model, "--truth", folder, "--topic", "/image") == 0
    found = summary(tmp_path / "out")["truth"]["labels"]
    assert found["frames"] == (2 if stamped else 3) and found["output"]["miou"] < 1


def test_a_truth_that_does_not_fit_is_noted_and_one_that_is_not_there_refused(
    labelled, dry_model, tmp_path, capsys
):
    bag, _ = labelled
    folder = tmp_path / "labels"
    folder.mkdir()
    for name in "012":
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((10, 10), np.uint8))
    assert replay(bag, tmp_path / "out", dry_model, "--truth", folder, "--topic", "/image") == 1
    assert "PROBLEM: --truth could be used on no frame: " in capsys.readouterr().out
    whole = summary(tmp_path / "out")
    assert whole["truth"]["labels"]["frames"] == 0 and "another size" in next(iter(whole["frames"]["odd"]))
    (folder / "2.png").unlink()
    assert replay(bag, tmp_path / "other", dry_model, "--truth", folder, "--topic", "/image") == 2
    assert "holds 2 images for 3 frames" in capsys.readouterr().err
    assert replay(bag, tmp_path / "other", dry_model, "--truth", "/nothing", "--topic", "/image") == 2
    assert "neither an image topic" in capsys.readouterr().err


CAR, WALKER = ("Car", 10.0, 10.0, 50.0, 40.0), ("pedestrian", 80.0, 20.0, 90.0, 60.0)
TRUE_BOXES = [(CAR,), (CAR, WALKER), ()]
"""Of three frames, in each of which the parser finds the car and nothing else."""


@pytest.fixture
def seen_car(monkeypatch):
    """A parser that always finds the car."""
    monkeypatch.setattr(Interpreter, "_detect", lambda *_: ((Detection("car", 0.9, *CAR[1:]),), ()))


def write_boxes(folder: Path, frames, names) -> Path:
    """The folder, with the boxes of each named frame."""
    folder.mkdir()
    rows = [
        f"{name},{','.join(map(str, box))}"
        for name, boxes in zip(names, frames, strict=True)
        for box in boxes
    ]
    (folder / "images.csv").write_text("\n".join(["image,width,height", *(f"{n},128,96" for n in names)]))
    (folder / "boxes.csv").write_text("\n".join(["image,class,xmin,ymin,xmax,ymax", *rows]))
    return folder


def with_boxes(folder: Path, frames) -> Path:
    """A drive whose bag has true boxes."""
    listed = [("/boxes", detections(FIRST_NS + i * STEP_NS, *boxes)) for i, boxes in enumerate(frames)]
    return write_bag(folder, [*drive(len(frames)), *listed])


def test_detections_are_compared_with_boxes_of_a_topic(dry_model, tmp_path, seen_car, capsys):
    bag, out = with_boxes(tmp_path / "bag", TRUE_BOXES), tmp_path / "out"
    assert replay(bag, out, dry_model, "--record", "none", "--truth-boxes", "/boxes") == 0
    found = summary(out)["truth"]["boxes"]
    assert found["frames"] == 3 and found["input"] == found["output"]
    assert found["output"]["ap50_per_class"] == pytest.approx({"car": 1, "pedestrian": 0})
    assert found["output"]["ap50"] == pytest.approx(0.5)
    assert found["output"]["precision"] == found["output"]["recall"] == pytest.approx(2 / 3)
    counted = [line["truth"]["boxes"]["output"].values() for line in records(out)]
    assert list(map(tuple, counted)) == [(1, 0, 0), (1, 0, 1), (0, 1, 0)]
    assert "boxes right to 50% on the input, 50% after (AP50)" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "Boxes against the truth" in page and "/image, frame 2" in page


@pytest.mark.parametrize("stamped", [True, False])
def test_boxes_of_a_folder_are_matched_by_name_or_by_order(dry_model, tmp_path, seen_car, stamped):
    names = [f"{FIRST_NS + i * STEP_NS}.jpg" if stamped else f"val/{i:04d}.png" for i in range(3)]
    folder = write_boxes(tmp_path / "boxes", TRUE_BOXES, names)
    bag, out = write_bag(tmp_path / "bag", drive(3)), tmp_path / "out"
    assert replay(bag, out, dry_model, "--record", "none", "--truth-boxes", folder) == 0
    assert summary(out)["truth"]["boxes"]["output"]["ap50"] == pytest.approx(0.5)


def test_boxes_that_do_not_fit_are_noted_and_a_class_that_is_not_known_is_refused(
    dry_model, tmp_path, capsys
):
    bag = with_boxes(tmp_path / "bag", [(("car", 0.0, 0.0, 500.0, 40.0),)])
    assert replay(bag, tmp_path / "out", dry_model, "--truth-boxes", "/boxes") == 1
    assert "PROBLEM: --truth-boxes could be used on no frame: " in capsys.readouterr().out
    whole = summary(tmp_path / "out")
    assert whole["truth"]["boxes"]["frames"] == 0 and "beyond the image" in next(iter(whole["frames"]["odd"]))
    bag = with_boxes(tmp_path / "other", [(("truck", 0.0, 0.0, 50.0, 40.0),)])
    assert replay(bag, tmp_path / "none", dry_model, "--truth-boxes", "/boxes") == 2
    assert "does not detect class 'truck'; it detects car, pedestrian" in capsys.readouterr().err
    assert replay(bag, tmp_path / "none", dry_model, "--truth-boxes", "/image") == 2
    assert "neither a vision_msgs/msg/Detection2DArray topic" in capsys.readouterr().err


def clean_images(count: int) -> list[np.ndarray]:
    """Images as they should come out of :func:`drive`: a little darker."""
    return [np.roll(SCENE, index, 1) // 2 + 20 for index in range(count)]


def expected_quality(model: str, references: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Mean PSNR and SSIM before and after the engine."""
    alone, found = engine(model), {"input": [], "output": []}
    for index, reference in enumerate(references):
        image = np.ascontiguousarray(np.roll(SCENE, index, 1))
        scene = alone.process(Frame(FIRST_NS + index * STEP_NS, "cam", image))
        for side, shown in (("input", image), ("output", scene.image)):
            found[side].append((psnr(shown, reference), ssim(shown, reference)))
    return {side: tuple(np.mean(values, 0)) for side, values in found.items()}


def write_references(folder: Path, images: list[np.ndarray], stamped: bool) -> Path:
    """A folder of reference images, named by their stamps or by their order."""
    folder.mkdir()
    for index, image in enumerate(images):
        name = f"{FIRST_NS + index * STEP_NS}" if stamped else f"{index:04d}"
        cv2.imwrite(str(folder / f"{name}.png"), image[:, :, ::-1])
    return folder


@pytest.mark.parametrize("source", ["by order", "by stamp", "/clean", "/clean/compressed"])
def test_images_are_compared_with_references_of_a_folder_or_topic(rainy_model, tmp_path, capsys, source):
    clean, out = clean_images(3), tmp_path / "out"
    stamps = [FIRST_NS + index * STEP_NS for index in range(3)]
    listed = drive(3)
    if source == "/clean":
        listed = [*((source, raw_image(*pair)) for pair in zip(stamps, clean, strict=True)), *listed]
    elif source == "/clean/compressed":
        listed += [
            (source, compressed_image(stamp, encoded("png", image), "png"))
            for stamp, image in zip(stamps, clean, strict=True)
        ]
    else:
        source = write_references(tmp_path / "clean", clean, source == "by stamp")
    bag = write_bag(tmp_path / "bag", listed)
    assert replay(bag, out, rainy_model, "--record", "none", "--references", source) == 0
    whole = summary(out)
    assert list(whole["bag"]["cameras"]) == ["/image"] and whole["settings"]["references"] == str(source)
    found, expected = whole["truth"]["images"], expected_quality(rainy_model, clean)
    assert found["frames"] == 3 and expected["input"] != expected["output"]
    for side in ("input", "output"):
        assert (found[side]["psnr_db"], found[side]["ssim"]) == pytest.approx(expected[side])
    of_frames = [line["truth"]["images"]["output"]["psnr_db"] for line in records(out)]
    assert np.mean(of_frames) == pytest.approx(expected["output"][0])
    (band,) = whole["bands"]
    assert band["psnr_db"] == pytest.approx(expected["output"][0])
    assert f"PSNR {expected['input'][0]:.1f} → {expected['output'][0]:.1f} dB" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "Images against the references" in page and "Image quality" in page and "PSNR gain" in page


def test_frames_without_a_reference_are_left_out(rainy_model, tmp_path):
    stamps = [FIRST_NS + index * STEP_NS for index in (-1, 0, 2, 5)]
    listed = [*drive(4), *(("/clean", raw_image(stamp, SCENE)) for stamp in stamps)]
    bag, out = write_bag(tmp_path / "bag", listed), tmp_path / "out"
    assert replay(bag, out, rainy_model, "--record", "none", "--references", "/clean") == 0
    assert summary(out)["truth"]["images"]["frames"] == 2
    assert ["images" in line["truth"] for line in records(out)] == [True, False, True, False]


def test_references_that_do_not_fit_are_noted_and_those_that_are_not_there_refused(
    rainy_model, tmp_path, capsys
):
    bag, out = write_bag(tmp_path / "bag", drive(2)), tmp_path / "out"
    small = [np.zeros((10, 10, 3), np.uint8)] * 2
    folder = write_references(tmp_path / "small", small, stamped=False)
    assert replay(bag, out, rainy_model, "--record", "none", "--references", folder) == 1
    assert "PROBLEM: --references could be used on no frame: " in capsys.readouterr().out
    whole = summary(out)
    assert whole["truth"]["images"] == {
        "frames": 0,
        "input": {"psnr_db": None, "ssim": None},
        "output": {"psnr_db": None, "ssim": None},
    }
    assert "of another size" in next(iter(whole["frames"]["odd"]))
    assert "psnr_db" not in whole["bands"][0]
    assert replay(bag, tmp_path / "other", rainy_model, "--references", "/nothing") == 2
    assert "neither an image topic" in capsys.readouterr().err
    (folder / "0001.png").unlink()
    assert replay(bag, tmp_path / "other", rainy_model, "--references", folder) == 2
    assert "holds 1 images for 2 frames" in capsys.readouterr().err


def test_truth_of_other_stamps_or_that_is_partly_damaged_is_reported(rainy_model, tmp_path, capsys):
    clean = [raw_image(FIRST_NS + (index + 50) * STEP_NS) for index in range(3)]
    bag = write_bag(tmp_path / "late", [*drive(3), *(("/clean", image) for image in clean)])
    options = ("--record", "none", "--references", "/clean")
    assert replay(bag, tmp_path / "none", rainy_model, *options) == 1
    assert "could be used on no frame: none of it has the stamp of a frame" in capsys.readouterr().out
    clean = [raw_image(FIRST_NS + index * STEP_NS) for index in range(3)]
    clean[1] = raw_image(FIRST_NS + STEP_NS, SCENE, "no_encoding")
    bag = write_bag(tmp_path / "damaged", [*drive(3), *(("/clean", image) for image in clean)])
    assert replay(bag, tmp_path / "some", rainy_model, *options) == 0
    assert "NOTE: --references could not be used on 1 frames" in capsys.readouterr().out
    assert summary(tmp_path / "some")["truth"]["images"]["frames"] == 2


@pytest.mark.parametrize("source", ["/truth", "/clean", "by order"])
@pytest.mark.parametrize("stamps", [(0, 0), (FIRST_NS, FIRST_NS), (0, FIRST_NS)])
def test_truth_is_matched_by_order_where_stamps_cannot_be_used(dry_model, tmp_path, source, stamps):
    # each frame has labels or a reference of its own; the second is damaged
    parser = engine(dry_model).interpreter
    images = [pixels(image) for _, image in drive(4)]
    listed = [("/image", raw_image(stamps[0], image)) for image in images]
    listed[1] = ("/image", raw_image(stamps[0], images[1], "no_encoding"))
    for index, image in enumerate(images):
        encoding = "no_encoding" if index == 1 else None
        labels = parser.interpret(image).perception.labels
        listed.append(("/truth", raw_image(stamps[1], labels, encoding or "mono8")))
        listed.append(("/clean", raw_image(stamps[1], image, encoding or "rgb8")))
    bag, out = write_bag(tmp_path / "bag", listed), tmp_path / "out"
    if source == "by order":
        source = write_references(tmp_path / "references", images, stamped=False)
    option = "--truth" if source == "/truth" else "--references"
    assert replay(bag, out, dry_model, "--topic", "/image", "--record", "none", option, source) == 0
    found = summary(out)["truth"]
    if option == "--truth":
        assert found["labels"]["frames"] == 3 and found["labels"]["output"]["miou"] == 1
    else:  # equal to the frame, as that is dry
        assert found["images"]["frames"] == 3 and found["images"]["output"]["ssim"] == pytest.approx(1)
