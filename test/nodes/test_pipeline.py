"""The composed pipeline: outputs for every input, and every lifecycle combination."""

import numpy as np
import pytest
import rig
import tiny_model
from limits import HANG_S
from sensor_msgs.msg import CameraInfo

from ros2_derain import messages
from ros2_derain.messages import images, topics
from ros2_derain.nodes import managed_node, outputs, worker


def test_every_output_of_a_frame_has_the_frame_s_stamp_and_frame_id(active):
    made = active(score_threshold=0.0)
    sent = [made.pass_through() for _ in range(3)]
    for topic in rig.PER_FRAME:
        assert made.client.stamps(topic) == sent, topic.name
        assert {m.header.frame_id for m in made.client.got[topic.name]} == {"camera_optical"}
    found = made.client.last(outputs.DETECTIONS)
    assert found.detections, "the threshold of 0 keeps every box"
    for detection in found.detections:
        assert detection.header == found.header
        assert detection.results[0].hypothesis.class_id in made.derain.identity.object_names


def test_every_topic_has_its_type(active):
    made = active()
    graph = made.client.node
    for topic in outputs.OUTPUTS:
        package, _, name = topic.type.__module__.partition(".msg")
        expected = f"{package}/msg/{topic.type.__name__}"
        name = f"{made.namespace}/{topic.name}"
        made.client.expect(lambda name=name: dict(graph.get_topic_names_and_types()).get(name), [expected])


def test_images_have_the_input_s_size_and_their_encodings(active):
    made = active()
    made.pass_through(rig.noise_image(70, 100))
    for topic, encoding in (
        (outputs.CLEAN_IMAGE, "rgb8"),
        (outputs.TRUST, "mono8"),
        (outputs.LABEL_MAP, "mono8"),
        (outputs.CONFIDENCE, "mono8"),
    ):
        message = made.client.last(topic)
        assert (message.height, message.width, message.encoding) == (70, 100, encoding)
    prior = made.client.last(outputs.SEMANTIC_PRIOR)
    assert (prior.height, prior.width, prior.encoding) == (9, 13, "8UC3")
    assert images.to_mono(made.client.last(outputs.LABEL_MAP)).max() < 3


def test_nothing_found_is_an_empty_array(active):
    made = active(score_threshold=1.0)
    stamp = made.pass_through(out=[outputs.DETECTIONS])
    found = made.client.last(outputs.DETECTIONS)
    assert len(found.detections) == 0 and messages.stamp_ns(found.header) == stamp


def test_the_overlay_has_the_colours_of_the_model_s_card(active, rainy_model, tmp_path):
    made = active(
        model=tiny_model.coloured(rainy_model, tmp_path / "mine"), overlay_opacity=1.0, score_threshold=1.0
    )
    made.client.listen(outputs.OVERLAY)
    assert made.client.until(lambda: made.segmentation.has_subscriber(outputs.OVERLAY))
    stamps = []

    def arrived():  # not at once: the client finds the node later than it is found
        stamps.append(made.pass_through())
        return made.client.until(lambda: stamps[-1] in made.client.stamps(outputs.OVERLAY), 1.0)

    assert any(arrived() for _ in range(20))
    drawn, labels = (
        next(m for m in made.client.got[topic.name] if messages.stamp_ns(m.header) == stamps[-1])
        for topic in (outputs.OVERLAY, outputs.LABEL_MAP)
    )
    expected = np.array(list(tiny_model.COLOURS.values()))[images.to_mono(labels)]
    assert (images.to_rgb(drawn) == expected).all()


def test_overlay_and_jpeg_are_made_for_subscribers_only(active):
    made = active()
    made.pass_through()
    on_demand = (outputs.OVERLAY, outputs.CLEAN_COMPRESSED)
    for topic in on_demand:
        assert made.client.count(topic) == 0
        made.client.listen(topic)
    assert made.client.until(lambda: made.segmentation.has_subscriber(outputs.OVERLAY))
    assert made.client.until(lambda: made.derain.has_subscriber(outputs.CLEAN_COMPRESSED))

    def arrived():  # not at once: the client finds the nodes later than they find it
        stamp = made.pass_through()
        return made.client.until(lambda: all(stamp in made.client.stamps(t) for t in on_demand), 1.0)

    assert made.client.until(arrived)
    clean = images.to_rgb(made.client.last(outputs.CLEAN_IMAGE)).astype(int)
    decoded = images.compressed_to_rgb(made.client.last(outputs.CLEAN_COMPRESSED)).astype(int)
    assert abs(decoded.mean() - clean.mean()) < 3


def test_a_late_joiner_learns_mode_classes_and_model(active):
    made = active(confidence_threshold=0.25)
    made.pass_through()
    late = rig.Client(made.namespace, (outputs.MODE, outputs.LABEL_INFO, outputs.VISION_INFO))
    try:
        assert late.until(
            lambda: all(late.count(t) for t in (outputs.MODE, outputs.LABEL_INFO, outputs.VISION_INFO))
        )
        assert late.last(outputs.MODE).data == "loop"
        info = late.last(outputs.LABEL_INFO)
        assert messages.to_class_names(info) == made.derain.identity.class_names
        assert info.threshold == pytest.approx(0.25)
        assert made.derain.identity.sha256 in late.last(outputs.VISION_INFO).method
    finally:
        late.close()


def test_calibration_goes_with_the_clean_image(active):
    made = active()
    assert made.client.until(lambda: made.client.info.get_subscription_count())
    made.pass_through()
    assert made.client.count(outputs.CLEAN_CAMERA_INFO) == 0, "none was sent yet"
    header = made.next_header()
    for stamp, focal in ((header.stamp, 500.0), (made.next_header().stamp, 700.0)):
        info = CameraInfo(width=96, height=64)
        info.header.stamp = stamp
        info.k[0] = focal
        made.client.info.publish(info)
    assert made.client.until(lambda: len(made.derain._calibrations) == 2)
    made.pass_through(header=header)
    made.pass_through(header=made.next_header(100))
    assert made.client.until(lambda: made.client.count(outputs.CLEAN_CAMERA_INFO) == 2)
    same, latest = made.client.got[outputs.CLEAN_CAMERA_INFO.name]
    assert (same.k[0], latest.k[0]) == (500.0, 700.0), "the same stamp's, else the latest"
    assert same.header == header


def test_a_dry_frame_passes_byte_identical_and_is_announced(active, dry_model):
    made = active(model=dry_model)
    image = rig.noise_image()
    made.pass_through(image)
    made.client.expect(made.client.mode, "dry")
    assert (images.to_rgb(made.client.last(outputs.CLEAN_IMAGE)) == image).all()
    assert np.all(images.to_mono(made.client.last(outputs.TRUST)) == 255)
    assert made.client.last(outputs.RAIN_RATE).data == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("prior", ["closed_loop", "temporal"])
def test_priors_are_exchanged_by_reference(active, prior):
    made = active(prior=prior)
    for _ in range(3):
        made.pass_through()
    counters = made.counters()
    assert counters.published == 3 and counters.counts["priors_missed"] == 0
    assert made.client.node.count_subscribers("derain/proposal") == 0


def test_the_model_is_loaded_once(active):
    made = active()
    assert made.derain.engine.restorer.placement is made.segmentation.interpreter.placement


def test_two_models_in_one_process_are_refused(make_rig):
    made = make_rig()
    assert made.change(made.segmentation, "configure")
    assert made.set_parameter(made.derain, "model", "loopnet").successful
    assert not made.change(made.derain, "configure")
    assert not made.derain.configured


def test_derain_goes_on_without_segmentation_and_takes_it_back(active):
    made = active()
    made.pass_through()
    assert made.change(made.segmentation, "deactivate")
    for _ in range(2):
        made.pass_through(out=[outputs.CLEAN_IMAGE])
    assert made.counters().counts["priors_missed"] == 2
    assert made.client.count(outputs.LABEL_MAP) == 1
    assert made.change(made.segmentation, "activate")
    made.pass_through()
    made.pass_through()
    assert made.counters().counts["priors_missed"] == 3, "the first frame after it"


def test_segmentation_goes_on_without_derain(active):
    made = active()
    made.pass_through()
    assert made.change(made.derain, "deactivate")
    clean = made.client.node.create_publisher(
        outputs.CLEAN_IMAGE.type, outputs.CLEAN_IMAGE.name, topics.recent()
    )
    assert made.client.until(lambda: clean.get_subscription_count() == 2)  # the client listens too
    header = made.next_header()
    clean.publish(images.from_rgb(rig.noise_image(), header))
    stamp = messages.stamp_ns(header)
    assert made.client.until(lambda: stamp in made.client.stamps(outputs.LABEL_MAP))
    assert made.change(made.derain, "activate")
    assert made.client.until(lambda: made.is_connected() and clean.get_subscription_count() == 1)
    stamp = made.pass_through()
    assert made.client.stamps(outputs.LABEL_MAP).count(stamp) == 1


def test_two_pipelines_in_two_namespaces_do_not_mix(active):
    left, right = active(), active()
    stamp = left.pass_through(rig.noise_image(64, 96))
    other = right.pass_through(rig.noise_image(80, 128), right.next_header(500))
    assert left.client.stamps(outputs.LABEL_MAP) == [stamp]
    assert right.client.stamps(outputs.LABEL_MAP) == [other]


def test_frames_that_newer_ones_overwrote_are_counted(active, monkeypatch):
    monkeypatch.setattr(managed_node, "THROTTLE_S", HANG_S)
    monkeypatch.setattr(worker, "NEARLY_DONE_S", -HANG_S)
    made = active()
    if not made.client.numbers_messages():
        pytest.skip("this RMW does not number messages")
    made.pass_through(rig.noise_image())
    made.client.listen(topics.IMAGE)
    may_go = rig.stuck(made)

    def counters():
        return made.derain.statistics.snapshot()

    for sent in (2, 3, 4):  # one at work, one that waits, one that replaces it
        made.send(rig.noise_image())
        assert made.client.until(lambda sent=sent: counters().received == sent)
    last = [made.send(rig.noise_image()) for _ in range(3)][-1]
    assert made.client.until(lambda: last in made.client.stamps(topics.IMAGE)), "what the node has, too"
    may_go.set()
    assert made.client.until(lambda: counters().received == 7 and made.is_accounted_for(made.derain))
    dropped = counters().dropped
    assert dropped["overwritten"] == 2
    assert counters().published + dropped["replaced"] == 5  # the fourth is passed on, or replaced before


def test_a_burst_is_accounted_for_frame_by_frame(active):
    made = active(prior="closed_loop", iterations=5)
    may_go = rig.stuck(made)
    for sent in range(1, 6):
        made.send(rig.noise_image(180, 320))
        assert made.client.until(lambda sent=sent: made.derain.statistics.snapshot().received == sent)
    may_go.set()
    made.pass_through(rig.noise_image(180, 320))
    counters = made.counters()
    assert counters.received == 6 and counters.dropped["replaced"] >= 3 and counters.published > 1
    assert made.counters(made.segmentation).published == counters.published
