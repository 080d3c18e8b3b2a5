"""``ros2-derain replay`` on small bags: outputs, records, injected rain, several cameras."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from made_bags import (
    FIRST_NS,
    SCENE,
    STEP_NS,
    camera_info,
    compressed_image,
    drive,
    encoded,
    of,
    pixels,
    raw_image,
    read_bag,
    stamp_ns,
    text,
    write_bag,
)
from replaying import engine, records, replay, summary
from rosbags.rosbag2 import StoragePlugin

from ros2_derain.engine import Detection, Engine, EngineSettings, Frame, LoadedModel, Perception
from ros2_derain.metrics import confusion, mean_iou, psnr, ssim
from ros2_derain.nodes import outputs
from ros2_derain.rain import Glass, GlassRenderer, Rain, RainRenderer
from ros2_derain.replay.injected_rain import InjectedRain, recovery


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory) -> Path:
    """A raw camera with calibration and its compressed twin, a JPEG camera, depth, text."""
    jpeg, depth = encoded("jpg"), np.full((96, 128), 3000, np.uint16)
    listed = []
    for index, (_, image) in enumerate(drive(3)):
        stamp = FIRST_NS + index * STEP_NS
        listed += [
            ("/front/image_raw", image),
            ("/front/camera_info", camera_info(stamp)),
            ("/front/image_raw/compressed", compressed_image(stamp, jpeg)),
            ("/rear/compressed", compressed_image(stamp + 7, jpeg)),
            ("/depth", raw_image(stamp, depth, "16UC1")),
            ("/note", text("hello")),
        ]
    return write_bag(tmp_path_factory.mktemp("bags") / "two", listed)


@pytest.fixture(scope="module")
def replayed(two_cameras, rainy_model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "two"
    assert replay(two_cameras, out, rainy_model) == 0
    return out


def test_the_report_has_the_colours_of_the_model_s_card(two_cameras, rainy_model, tmp_path):
    model = tiny_model.coloured(rainy_model, tmp_path / "mine")
    assert replay(two_cameras, tmp_path / "out", model) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert all(f"rgb({r}, {g}, {b})" in page for r, g, b in tiny_model.COLOURS.values())


# The new bag


def test_the_new_bag_holds_what_the_nodes_publish_under_the_cameras_namespaces(replayed):
    made = read_bag(replayed / "output")
    each = {
        "derain/status": "diagnostic_msgs/msg/DiagnosticArray",
        "derain/obstruction": "sensor_msgs/msg/Image",
        "derain/image": "sensor_msgs/msg/Image",
        "derain/image/compressed": "sensor_msgs/msg/CompressedImage",
        "derain/trust": "sensor_msgs/msg/Image",
        "derain/rain_rate": "std_msgs/msg/Float32",
        "derain/glass_coverage": "std_msgs/msg/Float32",
        "segmentation/label_map": "sensor_msgs/msg/Image",
        "segmentation/confidence": "sensor_msgs/msg/Image",
        "segmentation/overlay": "sensor_msgs/msg/Image",
        "semantic_prior": "sensor_msgs/msg/Image",
        "detections": "vision_msgs/msg/Detection2DArray",
        "segmentation/status": "diagnostic_msgs/msg/DiagnosticArray",
    }
    calibrated = {
        "derain/camera_info": "sensor_msgs/msg/CameraInfo",
        "segmentation/points": "sensor_msgs/msg/PointCloud2",
        "segmentation/points/label_map": "sensor_msgs/msg/Image",
        "segmentation/points/confidence": "sensor_msgs/msg/Image",
        "detections_3d": "vision_msgs/msg/Detection3DArray",
        "detections_3d/markers": "visualization_msgs/msg/MarkerArray",
    }
    if outputs.ANNOTATED:
        each["detections/annotations"] = "foxglove_msgs/msg/ImageAnnotations"
    once = {"derain/mode", "segmentation/label_info", "vision_info"}
    expected = Counter({f"{ns}/{topic}": 3 for topic in each for ns in ("/front", "")})
    expected.update({f"/front/{topic}": 3 for topic in calibrated})
    expected.update(f"{ns}/{topic}" for topic in once for ns in ("/front", ""))
    assert Counter(topic for topic, *_ in made) == expected
    for topic, kind in {**each, **calibrated}.items():
        assert of(made, f"/front/{topic}")[0].__msgtype__ == kind
    assert (replayed / "output" / "output.mcap").is_file()


def test_headers_and_times_of_reception_are_those_of_the_input(two_cameras, replayed):
    before, after = read_bag(two_cameras), read_bag(replayed / "output")
    given = [(t, repr(m.header)) for topic, t, _, m in before if topic == "/front/image_raw"]
    for name in ("derain/image", "segmentation/label_map", "detections", "derain/camera_info"):
        assert [(t, repr(m.header)) for topic, t, _, m in after if topic == f"/front/{name}"] == given
    assert stamp_ns(of(after, "/derain/image")[0]) == FIRST_NS + 7


def test_the_outputs_are_the_engines(two_cameras, replayed, rainy_model):
    alone, made = engine(rainy_model), read_bag(replayed / "output")
    for index, (_, image) in enumerate(drive(3)):
        image = pixels(image)
        scene = alone.process(Frame(FIRST_NS + index * STEP_NS, "cam", image))
        clean, labels = (of(made, f"/front/{t}")[index] for t in ("derain/image", "segmentation/label_map"))
        assert (pixels(clean) == scene.image).all() and (scene.image != image).any()
        assert (pixels(labels) == scene.perception.labels).all()
        prior = of(made, "/front/semantic_prior")[index]
        assert prior.encoding == "8UC3" and (prior.height, prior.width) == (12, 16)
        assert (prior.data.reshape(12, 16, 3) == scene.prior.transpose(1, 2, 0)).all()
        assert of(made, "/front/derain/rain_rate")[index].data == pytest.approx(scene.rain.rate)
    assert of(made, "/front/derain/mode")[0].data == "loop"


@pytest.mark.parametrize(("kept", "topics"), [("compact", 12 + len(outputs.ANNOTATED)), ("none", 0)])
def test_record_compact_and_none_write_fewer_topics(two_cameras, rainy_model, tmp_path, kept, topics):
    options = ("--record", kept, "--topic", "/front/image_raw", "--frames", 1)
    assert replay(two_cameras, tmp_path / "out", rainy_model, *options) == 0
    assert len(records(tmp_path / "out")) == 1
    assert (tmp_path / "out" / "output").exists() == bool(topics)
    if topics:
        assert len({topic for topic, *_ in read_bag(tmp_path / "out" / "output")}) == topics


# The records


def test_a_line_for_each_frame_and_the_same_from_run_to_run(two_cameras, replayed, rainy_model, tmp_path):
    assert replay(two_cameras, tmp_path / "again", rainy_model) == 0
    first = (replayed / "frames.jsonl").read_bytes()
    assert first == (tmp_path / "again" / "frames.jsonl").read_bytes()
    lines = records(replayed)
    assert [line["camera"] for line in lines] == ["/front/image_raw", "/rear/compressed"] * 3
    assert [line["frame"] for line in lines] == [0, 0, 1, 1, 2, 2]
    assert lines[4]["stamp_ns"] == FIRST_NS + 2 * STEP_NS and lines[4]["rain_mm_h"] == pytest.approx(
        100, rel=0.05
    )
    timings = records(replayed, "timings.jsonl")
    assert len(timings) == 6 and all(line["milliseconds"]["total"] > 0 for line in timings)


def test_each_camera_has_a_memory_of_its_own(two_cameras, replayed, rainy_model, tmp_path):
    assert replay(two_cameras, tmp_path / "alone", rainy_model, "--topic", "/front/image_raw") == 0
    together = [line for line in records(replayed) if line["camera"] == "/front/image_raw"]
    assert records(tmp_path / "alone") == together


def test_the_summary_counts_frames_and_names_ignored_topics(replayed):
    found = summary(replayed)
    assert found["frames"]["in"] == found["frames"]["read"] == 6 and found["frames"]["unread"] == 0
    assert found["rain"]["raining"] == 1 and found["modes"] == {"loop": 6}
    assert found["bands"][0]["band"] == "violent" and found["bands"][0]["frames"] == 6
    notes = "\n".join(found["notes"])
    assert "/depth is left aside" in notes and "/front/image_raw/compressed is left aside" in notes
    assert found["passed"] is None and found["problems"] == []
    assert found["bag"]["cameras"]["/front/image_raw"]["namespace"] == "/front"


def test_the_report_is_one_page_without_a_verdict(replayed):
    page = (replayed / "report.html").read_text()
    assert "Worst frames first" in page and "/rear/compressed" in page and "✗" not in page
    assert page.count("<svg") >= 8 and "http" not in page
    assert "By mode" in page and "Steps below the configured mode" not in page


def test_sqlite3_and_mcap_give_the_same(rainy_model, tmp_path):
    for name, plugin in (("a", StoragePlugin.MCAP), ("b", StoragePlugin.SQLITE3)):
        bag = write_bag(tmp_path / name / "bag", drive(2), plugin)
        assert replay(bag, tmp_path / name / "out", rainy_model) == 0
    assert records(tmp_path / "a" / "out") == records(tmp_path / "b" / "out")


def test_a_bag_of_2019_without_metadata_is_replayed(data_dir, dry_model, tmp_path):
    bag = data_dir / "bags" / "klintan_sample"
    assert replay(bag, tmp_path / "out", dry_model, "--topic", "/image", "--topic", "/image/compressed") == 0
    assert summary(tmp_path / "out")["frames"]["read"] == 2
    made = read_bag(tmp_path / "out" / "output")
    assert len(of(made, "/image/derain/image")) == len(of(made, "/image/compressed/derain/image")) == 1


# Injected rain


def test_injected_rain_is_compared_with_the_dry_run(dry_model, tmp_path):
    bag = write_bag(tmp_path / "bag", drive(3))
    assert replay(bag, tmp_path / "out", dry_model, "--inject-rain", "150,50", "--seed", 4) == 0
    found = summary(tmp_path / "out")["injected"]
    assert list(found) == ["50", "150"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "in 150 mm/h · labels that agree (mIoU): 50 mm/h " in page
    parser = engine(dry_model).interpreter
    renderer = RainRenderer(Rain(150), 96, 128, seed=4)
    matrix, quality = 0, []
    for index, (_, image) in enumerate(drive(3)):
        dry = pixels(image)
        rainy = renderer.render(dry, (FIRST_NS + index * STEP_NS) / 1e9)
        labels = (parser.interpret(p).perception.labels for p in (rainy, dry))
        matrix = matrix + confusion(*labels, 3)
        quality.append((psnr(rainy, dry), ssim(rainy, dry)))
    rain = found["150"]["rain"]
    assert (rain["psnr_db"], rain["ssim"]) == pytest.approx(tuple(np.mean(quality, 0)))
    assert rain["miou"] == pytest.approx(mean_iou(matrix))
    assert found["50"]["rain"]["psnr_db"] > rain["psnr_db"]
    assert found["150"]["derained"] == rain  # the gauge reads 0: the gate stays closed


def test_injected_glass_is_compared_with_the_dry_run_and_with_what_it_truly_hides(dry_model, tmp_path):
    bag = write_bag(tmp_path / "bag", drive(3))
    arguments = "--inject-rain", "50", "--inject-glass", "0.1,film", "--seed", 4
    assert replay(bag, tmp_path / "out", dry_model, *arguments) == 0
    found = summary(tmp_path / "out")["injected"]
    assert list(found) == ["50", "glass_10", "glass_film"]
    drops = GlassRenderer(Glass(coverage=0.1, seed=4), 96, 128)
    times = [(FIRST_NS + index * STEP_NS) / 1e9 for index in range(3)]
    pairs = [(pixels(image), time_s) for (_, image), time_s in zip(drive(3), times, strict=True)]
    views = [drops.render(image, time_s) for image, time_s in pairs]
    told = [record["injected"]["glass_10"] for record in records(tmp_path / "out")]
    assert [frame["coverage_true"] for frame in told] == pytest.approx(
        [view.coverage for view in views], abs=1e-3
    )
    assert found["glass_10"]["coverage_true"] == pytest.approx(np.mean([view.coverage for view in views]))
    quality = [psnr(view.image, image) for view, (image, _) in zip(views, pairs, strict=True)]
    assert found["glass_10"]["rain"]["psnr_db"] == pytest.approx(np.mean(quality))
    assert found["glass_film"]["coverage_true"] == 0 and found["glass_film"]["contrast_loss_true"] > 0.3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "in glass film · labels that agree (mIoU): 50 mm/h " in page and "rain, glass 10 %" in page


@pytest.mark.parametrize("value", ["0", "0.95", "fog", "0.1,0.1", "nan", ""])
def test_a_glass_that_there_is_not_is_named(dry_model, tmp_path, capsys, value):
    bag = write_bag(tmp_path / "bag", drive(1))
    assert replay(bag, tmp_path / "out", dry_model, "--inject-glass", value) == 2
    assert f"--inject-glass {value}" in capsys.readouterr().err


def test_injected_rain_on_a_bag_that_is_not_dry_is_noted(rainy_model, tmp_path):
    bag = write_bag(tmp_path / "bag", drive(2))
    assert replay(bag, tmp_path / "out", rainy_model, "--inject-rain", "100") == 0
    found = summary(tmp_path / "out")
    assert "the bag is not dry" in found["notes"][-1]
    found = found["injected"]["100"]
    assert found["derained"]["psnr_db"] != found["rain"]["psnr_db"]
    assert records(tmp_path / "out")[0]["injected"]["100"]["mode"] == "loop"


def test_an_object_that_the_rain_hides_lowers_average_precision(dry_model, tmp_path):
    """The figures themselves, with a parser that sees a car where it is bright and dry."""
    model = LoadedModel.load(EngineSettings(model=dry_model, device="cpu"))
    rain = InjectedRain(150.0, 0, model)
    labels = np.zeros((96, 128), np.uint8)
    car = Detection("car", 0.9, 10, 10, 50, 40)
    dry = Perception(labels, labels, (car,))

    class Half:
        """Finds the car again after deraining only."""

        def __init__(self):
            self.interpreter = self

        def interpret(self, image):
            class Found:
                perception = Perception(labels + 1, labels, ())

            return Found()

        def process(self, frame):
            engine = Engine.of(model, EngineSettings(model=dry_model, device="cpu"))
            return replace(engine.process(frame), perception=dry)

    rain.add(Frame(0, "cam", SCENE), 0, Half(), 0, dry)
    found = rain.figures()
    assert found["rain"]["ap50"] == 0 and found["derained"]["ap50"] == 1
    assert found["rain"]["miou"] == 0 and found["derained"]["miou"] == 1
    assert found["recovery"] == {"miou": 1, "ap50": 1}
    assert found["derained"]["ap50_per_class"] == {"car": 1, "pedestrian": None}
    assert recovery(0.2, 0.6) == pytest.approx(0.5) and recovery(1.0, 1.0) is None
