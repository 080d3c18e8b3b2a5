"""The executables as a user starts them: real processes, real signals."""

import contextlib
import signal
import subprocess
import sys

import pytest
import rig
from limits import HANG_S

from ros2_derain.messages import topics
from ros2_derain.nodes import outputs


def arguments(model, namespace, **parameters):
    given = {**rig.TINY, "model": model, **parameters}
    flags = [flag for name, value in given.items() for flag in ("-p", f"{name}:={value}")]
    return ["--ros-args", "-r", f"__ns:={namespace}", *flags]


@contextlib.contextmanager
def process(code, *args):
    started = subprocess.Popen(
        [sys.executable, "-c", code, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def node_process(module, *args, main="main"):
    return process(f"import sys; from ros2_derain.nodes import {module}; sys.exit({module}.{main}())", *args)


@pytest.fixture
def client(ros):
    """Makes clients."""
    made = []

    def make(namespace):
        made.append(rig.Client(namespace))
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(client, index):
    header = rig.messages.to_header(10**18 + index * 66 * rig.MS, "camera_optical")
    client.image.publish(rig.images.from_rgb(rig.noise_image(), header))
    return rig.messages.stamp_ns(header)


def meet(client):
    """Send frames until something has come on every topic; how many it took.

    Discovery goes both ways, and the other direction cannot be observed.
    """
    for attempt in range(1, int(HANG_S / 0.3)):
        send(client, attempt - 1000)
        if client.until(lambda: all(client.count(topic) for topic in rig.PER_FRAME), 0.3):
            return attempt
    raise AssertionError(client.status)


def frames(client, count):
    """Send frames one by one; their stamps once all have come out."""
    sent = []
    for index in range(count):
        sent.append(send(client, index))
        out = lambda: all(set(sent) <= set(client.stamps(topic)) for topic in rig.PER_FRAME)  # noqa: E731
        assert client.until(out), client.status
    return sent


def counters(client):
    """Frames published and priors missed, as derain_node reports."""
    values = client.values("derain_node")
    return int(values.get("frames_published", 0)), int(values.get("priors_missed", 0))


def interrupted(started, number):
    started.send_signal(number)
    _, log = started.communicate(timeout=HANG_S)
    assert started.returncode == 0, log
    assert "Traceback" not in log
    return log


@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
def test_two_processes_exchange_priors_frame_by_frame(client, rainy_model, prior):
    common = arguments(rainy_model, "/two", prior=prior, prior_timeout_ms=10000.0)
    watcher = client("/two")
    parsing, deraining = (node_process(node, *common) for node in ("segmentation_node", "derain_node"))
    with parsing as parser, deraining as derainer:
        for node in ("segmentation_node", "derain_node"):
            assert watcher.change(node, "configure") and watcher.change(node, "activate")
        before = meet(watcher)
        frames(watcher, 4)
        assert watcher.until(lambda: counters(watcher)[0] >= watcher.count(outputs.CLEAN_IMAGE))
        assert counters(watcher)[1] <= before, "a prior was missed after discovery"
        interrupted(derainer, signal.SIGINT)
        interrupted(parser, signal.SIGTERM)


def test_the_pipeline_process_with_a_params_file_activates_itself(client, rainy_model, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        f"/**/derain_node:\n  ros__parameters:\n    model: {rainy_model}\n    iterations: 2\n"
        f"/**/segmentation_node:\n  ros__parameters:\n    model: {rainy_model}\n"
    )
    watcher = client("/car/front/left")
    code = "import sys; from ros2_derain.nodes import pipeline; sys.exit(pipeline.run())"
    common = [f for name, value in rig.TINY.items() for f in ("-p", f"{name}:={value}")]
    given = ["--ros-args", "-r", "__ns:=/car/front/left", "--params-file", str(params), *common]
    with process(code, *given) as started:
        meet(watcher)
        frames(watcher, 3)
        interrupted(started, signal.SIGINT)
    assert watcher.until(lambda: watcher.message("derain_node").startswith("inactive"))


def test_the_pipeline_waits_for_its_manager_and_topics_are_remappable(client, rainy_model):
    watcher = client("/remapped")
    args = [*arguments(rainy_model, "/remapped"), "-r", "image:=/remapped/cam/raw"]
    raw = watcher.node.create_publisher(topics.IMAGE.type, "cam/raw", topics.recent())
    with node_process("run", *args, main="pipeline_main") as started:
        assert watcher.change("derain_node", "configure")
        assert raw.get_subscription_count() == 0
        assert watcher.change("derain_node", "activate")
        assert watcher.until(lambda: raw.get_subscription_count() == 1)
        interrupted(started, signal.SIGTERM)


@pytest.mark.parametrize(
    ("parameter", "text"),
    [("model:=./nowhere", "no model at ./nowhere"), ("prior:=psychic", "prior is 'psychic'")],
)
def test_a_process_that_cannot_start_reports_why_and_fails(rainy_model, parameter, text):
    code = "import sys; from ros2_derain.nodes import pipeline; sys.exit(pipeline.run())"
    with process(code, *arguments(rainy_model, "/broken"), "-p", parameter) as started:
        _, log = started.communicate(timeout=HANG_S)
    assert started.returncode == 1
    assert text in log and "not started" in log and "Traceback" not in log
