"""Cameras and parameter files as they are found in the field."""

import argparse

import pytest
import rig
from sensor_msgs.msg import CameraInfo

from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.engine.control import FrameClock
from ros2_derain.messages import images, topics
from ros2_derain.nodes import outputs, run

CLEAN = [outputs.CLEAN_IMAGE]
MS = 10**6


def calibration(made, width=96, height=64):
    info = CameraInfo(width=width, height=height)
    info.k[0] = 500.0
    info.header = made.next_header()
    return info


def test_a_calibration_that_was_published_once_and_latched_goes_with_every_image(make_rig):
    made = make_rig()
    camera = made.client.node.create_publisher(CameraInfo, "camera_info", topics.latched())
    camera.publish(calibration(made))
    made.activate()
    assert made.client.until(lambda: len(made.derain._calibrations) == 1)
    made.pass_through()
    assert made.client.until(lambda: made.client.count(outputs.CLEAN_CAMERA_INFO) == 1)
    assert made.client.last(outputs.CLEAN_CAMERA_INFO).k[0] == 500.0
    assert "incompatible" not in made.client.message("derain_node")


def test_diagnostics_tell_whether_there_is_a_calibration(active):
    made = active()
    camera_info = lambda: made.client.values("derain_node").get("camera_info")  # noqa: E731
    made.client.expect(camera_info, "missing")
    assert made.client.until(lambda: made.client.info.get_subscription_count())
    made.client.info.publish(calibration(made))
    made.client.expect(camera_info, "96x64")


@pytest.mark.parametrize(("binning", "is_named"), [(1, True), (2, False)])
def test_a_calibration_of_another_size_than_the_images_is_named(active, binning, is_named):
    made = active()
    assert made.client.until(lambda: made.client.info.get_subscription_count())
    info = calibration(made, 192, 128)
    info.binning_x = info.binning_y = binning
    made.client.info.publish(info)
    assert made.client.until(lambda: len(made.derain._calibrations) >= 1)
    made.pass_through(out=CLEAN)
    text = "camera_info is of 192x128 pixels, the images are of 96x64"
    if is_named:
        assert made.client.until(lambda: text in made.client.message("derain_node"))
    else:
        made.pass_through(out=CLEAN)
        assert made.client.until(lambda: made.client.values("derain_node").get("frames_published") == "2")
        assert "camera_info" not in made.client.message("derain_node")


def test_a_topic_that_ends_with_compressed_is_taken_as_compressed_images(make_rig, capfd):
    made = make_rig(rig.composed_compressed)
    for transition in ("configure", "activate"):
        for node in made.nodes:
            assert made.change(node, transition)
    camera = made.client.node.create_publisher(
        topics.IMAGE_COMPRESSED.type, "camera/image/compressed", topics.recent()
    )
    assert made.client.until(lambda: camera.get_subscription_count() == 1)
    header = made.next_header()
    camera.publish(images.compress_rgb(rig.noise_image(), header, 90))
    assert made.client.until(lambda: made.client.count(outputs.CLEAN_IMAGE) == 1)
    assert made.client.last(outputs.CLEAN_IMAGE).header == header
    assert "is taken as compressed images" in capfd.readouterr().err


def test_stamps_of_zero_keep_the_memory_and_are_named(active):
    made = active()
    zero = rig.messages.to_header(0, "camera")
    for seed in range(5):
        before = made.client.count(outputs.CLEAN_IMAGE)
        made.send(rig.noise_image(seed=seed), zero)
        assert made.client.until(lambda before=before: made.client.count(outputs.CLEAN_IMAGE) > before)
    assert all(message.header == zero for message in made.client.got[outputs.CLEAN_IMAGE.name])
    assert made.client.until(lambda: "stamps are 0 or do not advance" in made.client.message("derain_node"))
    assert made.counters().counts["priors_missed"] == 0, "each frame but the first continues the last one"


def clip(stamps, received):
    return [
        Frame(stamp, "camera", rig.noise_image(seed=index), got)
        for index, (stamp, got) in enumerate(zip(stamps, received, strict=True))
    ]


@pytest.mark.parametrize("stamps", [(0, 0, 0), (7, 7, 7), (0, 7, 7)])
def test_without_usable_stamps_a_clip_is_restored_as_with_stamps(rainy_model, stamps):
    received = [index * 66 * MS for index in range(3)]
    engines = [Engine.load(EngineSettings(model=rainy_model, precision="float32")) for _ in range(2)]
    with_stamps = [engines[0].process(frame) for frame in clip([10**9 + t for t in received], received)]
    without = [engines[1].process(frame) for frame in clip(stamps, received)]
    for expected, scene in zip(with_stamps[:2], without[:2], strict=True):
        assert (scene.image == expected.image).all()
    assert without[2].image.shape == with_stamps[2].image.shape


def test_time_between_frames_is_by_stamps_else_by_reception():
    clock = FrameClock()
    image = rig.noise_image()
    gaps = [
        clock.advance(Frame(stamp, "camera", image, received))
        for stamp, received in ((5, 100), (8, 150), (8, 190), (0, 200), (20, 260), (11, 270), (11, None))
    ]
    assert gaps == [None, 3e-9, 40e-9, 10e-9, 60e-9, -9e-9, 0.0]
    assert clock.time_ns == 3 + 40 + 10 + 60


def test_diagnostics_go_on_while_simulated_time_stands_still(make_rig):
    made = make_rig(use_sim_time=True)
    made.activate()
    assert made.client.until(lambda: made.client.diagnosed("derain_node") is not None)
    made.client.status.clear()
    assert made.client.until(lambda: made.client.diagnosed("derain_node") is not None)


def test_a_mistyped_parameter_is_named_with_the_nearest_one(make_rig, capfd):
    make_rig(gate_opn_mm_h=3.0)
    log = capfd.readouterr().err
    assert "parameter gate_opn_mm_h is unknown and ignored: did you mean gate_open_mm_h?" in log


def test_parameters_that_are_read_at_configure_may_be_set_to_what_they_are(active):
    made = active()
    model = made.derain.parameters.model
    assert made.set_parameter(made.derain, "model", model).successful
    result = made.set_parameter(made.derain, "warmup_width", 128)
    assert not result.successful and "warmup_width" in result.reason


def test_a_warning_of_quality_of_service_names_the_parameter(make_rig, capfd):
    made = make_rig(rig.latched_image_only)
    assert made.change(made.derain, "configure") and made.change(made.derain, "activate")
    parameter = f"qos_overrides.{made.namespace}/image.subscription.durability"
    assert made.client.until(lambda: "another durability" in made.client.message("derain_node"))
    assert f"set the parameter {parameter}" in capfd.readouterr().err
    assert made.derain.get_parameter(parameter).value == "transient_local"


def arguments(*given):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return run.ros_arguments(parser.parse_args(given))


@pytest.mark.parametrize("option", ["--image", "--camera-info", "--namespace"])
@pytest.mark.parametrize("name", ["9 x", "camera//image", "camera/1st", "café", "a-b"])
def test_what_is_no_ros_name_is_refused_by_name(option, name):
    with pytest.raises(run.RunError, match="is no ROS name"):
        arguments(option, name)


def test_the_compressed_topic_may_be_named_as_the_image():
    given = arguments("--image", "/camera/image/compressed")
    assert "image/compressed:=/camera/image/compressed" in given
    assert 'input_transport:="compressed"' in given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("derain_node:\n  ros__parameters: [1,\n", "my.yaml:3: not YAML"),
        ("just words", "holds no parameters"),
    ],
)
def test_a_malformed_parameter_file_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(run.RunError, match=message):
        arguments("--params-file", str(path))


@pytest.mark.parametrize(
    ("key", "is_warned"),
    [("derain_node", True), ("/**/derain_node", False), ("/front/derain_node", False), ("/**", False)],
)
def test_a_parameter_file_that_matches_no_node_warns(tmp_path, capsys, key, is_warned):
    path = tmp_path / "my.yaml"
    path.write_text(f"{key}:\n  ros__parameters:\n    gate: false\n")
    arguments("--params-file", str(path), "--namespace", "front")
    assert ("write /**/derain_node" in capsys.readouterr().err) == is_warned


def test_the_shipped_parameter_file_matches(capsys):
    arguments()
    assert capsys.readouterr().err == ""


def test_a_parameter_of_one_of_the_nodes_is_not_unknown(make_rig, capfd):
    made = make_rig(gate=False, score_threshold=0.5)
    assert "is unknown" not in capfd.readouterr().err
    assert made.derain.get_parameter("gate").value is False
