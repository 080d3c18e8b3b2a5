"""Several cameras in one process: one model, and for each a namespace, state and diagnostics of its own."""

import argparse
import threading

import pytest
import rig
from rclpy.parameter import Parameter

from ros2_derain.engine import LoadedModel
from ros2_derain.engine.sharing import CpuScheduler, GpuBatcher
from ros2_derain.nodes import outputs, pipeline, run, runtime

NAMES = ("front", "left", "right")


class Failing:
    """A derainer whose device has failed."""

    takes_prior = True

    def once(self, *_):
        raise RuntimeError("CUDA error: device-side assert")


class Drive:
    """The nodes of three cameras in a thread, and a client that plays each camera."""

    def __init__(self, model):
        self.namespace = f"/drive_{id(self)}"
        given = {**rig.TINY, "model": model}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.nodes = pipeline.create_cameras(NAMES, self.namespace, parameter_overrides=overrides)
        self.derain = {
            n.get_namespace().rsplit("/")[-1]: n for n in self.nodes if n.get_name() == "derain_node"
        }
        runtime.activate(self.nodes)
        self._executor, self._stop = runtime.make_executor(), threading.Event()
        for node in self.nodes:
            self._executor.add_node(node)
        self._thread = threading.Thread(target=runtime.spin, args=(self._executor, self._stop.is_set))
        self._thread.start()
        self.clients = {name: rig.Client(f"{self.namespace}/{name}") for name in NAMES}
        for client in self.clients.values():
            assert client.until(lambda client=client: self.has_met(client))

    def has_met(self, client):
        offered = all(client.node.count_publishers(topic.name) for topic in rig.ALWAYS_PUBLISHED)
        return offered and client.image.get_subscription_count()

    def send(self, name, stamp_ms, image=None):
        header = rig.messages.to_header(10**18 + stamp_ms * rig.MS, f"{name}_optical")
        sent = rig.noise_image(seed=NAMES.index(name)) if image is None else image
        self.clients[name].image.publish(rig.images.from_rgb(sent, header))
        return rig.messages.stamp_ns(header)

    def arrives(self, name, stamp, out=rig.PER_FRAME):
        client = self.clients[name]
        return client.until(lambda: all(stamp in client.stamps(topic) for topic in out))

    def close(self):
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        for node in reversed(self.nodes):
            node.destroy_node()
        for client in self.clients.values():
            client.close()


@pytest.fixture(params=[GpuBatcher, CpuScheduler])
def drive(ros, rainy_model, monkeypatch, request):
    """Sharing as on a GPU, and as on a CPU."""
    monkeypatch.setattr(LoadedModel, "sharing", lambda model, cameras: request.param(cameras))
    made = Drive(rainy_model)
    yield made
    made.close()


def test_outputs_of_every_camera_are_in_its_namespace_and_of_its_frames(drive):
    for step in range(3):
        sent = {name: drive.send(name, 66 * step + index) for index, name in enumerate(NAMES)}
        for name, stamp in sent.items():
            assert drive.arrives(name, stamp), drive.clients[name].status
    for index, name in enumerate(NAMES):
        expected = [10**18 + (66 * step + index) * rig.MS for step in range(3)]
        for topic in rig.PER_FRAME:
            assert drive.clients[name].stamps(topic) == expected, (name, topic.name)
        frame_ids = {message.header.frame_id for message in drive.clients[name].got[outputs.CLEAN_IMAGE.name]}
        assert frame_ids == {f"{name}_optical"}


def _frames_and_mode(client):
    """Frames published and the mode, as derain_node's last diagnostics report them."""
    values = client.values("derain_node")
    return values.get("frames_published"), values.get("mode")


def test_one_model_serves_all_cameras_and_a_fault_of_one_stays_its_own(drive):
    networks = {
        id(getattr(node.engine.restorer._derainer, "_network", node.engine.restorer._derainer))
        for node in drive.derain.values()
    }
    assert len(networks) == 1
    drive.derain["left"].engine.restorer._derainer = Failing()
    for step in range(2):
        for name in NAMES:
            assert drive.arrives(name, drive.send(name, 66 * step), [outputs.CLEAN_IMAGE])
    for name, mode in {"front": "loop", "left": "pass_through", "right": "loop"}.items():
        client = drive.clients[name]
        client.expect(lambda client=client: _frames_and_mode(client), ("2", mode))
        client.expect(client.mode, mode)
    left = drive.clients["left"]
    assert left.until(lambda: "CUDA error" in left.message("derain_node"))
    assert "CUDA" not in drive.clients["front"].message("derain_node")


def test_a_camera_that_is_deactivated_leaves_the_others_alone(drive):
    assert drive.clients["left"].change("derain_node", "deactivate")
    for name in ("front", "right"):
        assert drive.arrives(name, drive.send(name, 0))


def test_an_image_of_another_size_is_processed_beside_the_others(drive):
    sent = {name: drive.send(name, 0, rig.noise_image(64 + 16 * i, 96)) for i, name in enumerate(NAMES)}
    for i, (name, stamp) in enumerate(sent.items()):
        assert drive.arrives(name, stamp)
        assert drive.clients[name].last(outputs.LABEL_MAP).height == 64 + 16 * i


def test_water_on_one_lens_is_that_camera_s_alone(ros, wet_model):
    drive = Drive(wet_model)
    try:
        for step in range(3):
            for name in NAMES:
                image = rig.noise_image(seed=step) // 2
                image[:32, : 48 * (name == "left")] = 255  # white is water to this gauge
                assert drive.arrives(name, drive.send(name, 66 * step, image), [outputs.CLEAN_IMAGE])
        for name, (share, mode) in {"front": (0, "dry"), "left": (0.25, "loop"), "right": (0, "dry")}.items():
            client = drive.clients[name]
            assert client.until(lambda client=client: client.count(outputs.GLASS_COVERAGE) == 3)
            assert client.last(outputs.GLASS_COVERAGE).data == share
            client.expect(client.mode, mode)
    finally:
        drive.close()


@pytest.mark.parametrize("text", ["front,left", "[front, left]", " front,left "])
def test_names_are_read_with_and_without_brackets(text):
    assert run.camera_names(text) == ("front", "left")


@pytest.mark.parametrize("text", ["front,front", "front,,left", "../etc", "1st", "a/b"])
def test_impossible_camera_names_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        run.camera_names(text)


def test_one_absolute_topic_for_several_cameras_is_refused():
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    with pytest.raises(run.RunError, match="the same for every camera"):
        run.ros_arguments(parser.parse_args(["--cameras", "front,left", "--image", "/camera/image_raw"]))
