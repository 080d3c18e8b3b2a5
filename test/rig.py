"""Nodes under test in their own thread, and a client that talks to them over DDS."""

import itertools
import math
import threading
import time
from collections import defaultdict

import numpy as np
import rclpy
import torch
from limits import HANG_S
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ros2_derain import messages
from ros2_derain.messages import images, topics
from ros2_derain.nodes import outputs, pipeline, runtime
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.lifecycle_client import LifecycleClient
from ros2_derain.nodes.planner_node import PlannerNode
from ros2_derain.nodes.segmentation_node import SegmentationNode

MS = 10**6
TINY = {
    "warmup_width": 96,
    "warmup_height": 64,
    "diagnostics_period_s": 0.1,
    "device": "cpu",
    "precision": "float32",
    "runtime": "torch",
    "stall_ms": 0.0,
}
"""Quick to load, and without time limits: a busy machine must not change the outputs."""

_FOR_PEOPLE = (outputs.CLEAN_COMPRESSED, outputs.OVERLAY, *outputs.ANNOTATED)
ALWAYS_PUBLISHED = tuple(topic for topic in outputs.OUTPUTS if topic not in _FOR_PEOPLE)
"""What is published with and without subscribers."""

PER_FRAME = (
    outputs.CLEAN_IMAGE,
    outputs.TRUST,
    outputs.LABEL_MAP,
    outputs.CONFIDENCE,
    outputs.SEMANTIC_PRIOR,
    outputs.DETECTIONS,
)
"""What is published for every frame and has a header."""

_numbers = itertools.count()


def composed(**options):
    """Both nodes as the composed pipeline runs them."""
    return pipeline.create(**options)


def with_planner(**options):
    """As composed, and planner_node."""
    return pipeline.create(planner=True, **options)


def planner_alone(**options):
    """planner_node in a process of its own."""
    return (PlannerNode(**options),)


def composed_compressed(**options):
    """As composed, the image remapped to a topic of compressed images."""
    return pipeline.create(cli_args=["--ros-args", "-r", "image:=camera/image/compressed"], **options)


def latched_image_only(namespace, parameter_overrides, **options):
    """As composed, but derain_node accepts only images of a latched publisher."""
    durability = Parameter(
        f"qos_overrides.{namespace}/image.subscription.durability", value="transient_local"
    )
    return pipeline.create(
        namespace=namespace, parameter_overrides=[*parameter_overrides, durability], **options
    )


def separate(**options):
    """Both nodes as two processes run them."""
    return SegmentationNode(**options), DerainNode(**options)


def connected(made):
    """Wait until derain_node knows the parser's classes, and the parser its proposals and status."""
    priors, client = made.derain._priors, made.client.node
    status = (outputs.DERAIN_STATUS, outputs.SEGMENTATION_STATUS)
    assert made.client.until(lambda: priors._classes is not None)
    assert made.client.until(lambda: priors._proposals.get_subscription_count() == 1)
    assert made.client.until(lambda: all(client.count_subscribers(topic.name) >= 2 for topic in status))


def replace_derainer(made, replaced):
    """Have the loop call ``replaced(call)`` instead of each call of a rig's derainer."""
    derainer = made.derain.engine.restorer._derainer
    for name in ("coarse", "once"):
        setattr(derainer, name, replaced(getattr(derainer, name)))


def stuck(made):
    """Make the derainer of a rig hang; returns the event that releases it."""
    may_go = threading.Event()

    def hanging(call):
        def hang(*arguments):
            assert may_go.wait(HANG_S)
            return call(*arguments)

        return hang

    replace_derainer(made, hanging)
    return may_go


def broken(module):
    """The network, its output no longer finite."""
    with torch.no_grad():
        for weights in module.parameters():
            weights.fill_(math.nan)
    return module


def with_failing_parser(made):
    """The rig, its parser failing from now on, as a device does that fails while driving."""
    broken(made.segmentation.interpreter._parser)
    return made


def noise_image(height=64, width=96, seed=0):
    """H x W x 3 uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Client:
    """A node that acts as the camera and collects the pipeline's outputs."""

    def __init__(self, namespace, listen_to=ALWAYS_PUBLISHED):
        self.node = rclpy.create_node("client", namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.services = LifecycleClient(self.node, self.until)
        self.got = defaultdict(list)
        self.image = self.node.create_publisher(Image, "image", topics.recent())
        self.jpeg = self.node.create_publisher(CompressedImage, "image/compressed", topics.recent())
        self.info = self.node.create_publisher(CameraInfo, "camera_info", topics.recent())
        self.node.create_subscription(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, self._diagnosed, 50)
        self.status = {}
        for topic in listen_to:
            self.listen(topic)

    def listen(self, topic):
        qos = topic.qos()
        qos.depth = 100
        self.node.create_subscription(
            topic.type, topic.name, lambda message: self.got[topic.name].append(message), qos
        )

    def _diagnosed(self, message):
        for status in message.status:
            self.status[status.name.split(":")[0]] = status

    def until(self, condition, timeout_s=HANG_S):
        """Spin until the condition holds; whether it did."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.01)
        return True

    def expect(self, read, expected, timeout_s=HANG_S):
        """Spin until ``read()`` returns the expected value; fails with the value it returned instead."""
        self.until(lambda: read() == expected, timeout_s)
        assert read() == expected, self.status

    def call(self, kind, name, request):
        """Call a service; returns the response."""
        return self.services.call(kind, name, request, HANG_S)

    def change(self, node, transition):
        """Request a transition of a node, as a lifecycle manager does; whether it succeeded."""
        return self.services.change(node, transition, HANG_S)

    def count(self, topic):
        return len(self.got[topic.name])

    def last(self, topic):
        """The newest message of a topic; waits for the first one."""
        assert self.until(lambda: self.got[topic.name]), f"nothing on {topic.name}"
        return self.got[topic.name][-1]

    def numbers_messages(self):
        """Whether this RMW tells a subscription the number that the publisher gave a message."""
        received = []
        subscription = self.node.create_subscription(
            outputs.MODE.type,
            outputs.MODE.name,
            lambda message, info: received.append(info),
            outputs.MODE.qos(),
        )
        assert self.until(lambda: received)
        self.node.destroy_subscription(subscription)
        return received[0]["publication_sequence_number"] is not None

    def modes(self):
        """Every mode that was announced so far, in order."""
        return [message.data for message in self.got[outputs.MODE.name]]

    def mode(self):
        """The newest mode; None before the first has arrived."""
        return (self.modes() or [None])[-1]

    def stamps(self, topic):
        return [messages.stamp_ns(message.header) for message in self.got[topic.name]]

    def diagnosed(self, node):
        """The node's last diagnostics, or None."""
        return self.status.get(f"{self.node.get_namespace().strip('/')}/{node}")

    def message(self, node):
        """The summary line of the node's last diagnostics."""
        status = self.diagnosed(node)
        return status.message if status else ""

    def values(self, node):
        """The node's last diagnostics: key to text."""
        status = self.diagnosed(node)
        return {pair.key: pair.value for pair in status.values} if status else {}

    def counted(self, node, key):
        """Whether the node's diagnostics have counted such an event."""
        return int(self.values(node).get(key, 0)) > 0

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()


class Rig:
    """Nodes under test and their client, in a namespace of their own."""

    def __init__(self, create, parameters, executor=runtime.make_executor):
        self.namespace = f"/rig_{next(_numbers)}"
        overrides = [Parameter(name, value=value) for name, value in {**TINY, **parameters}.items()]
        self.nodes = create(namespace=self.namespace, parameter_overrides=overrides)
        self.segmentation = next((n for n in self.nodes if n.get_name() == "segmentation_node"), None)
        self.derain = next((n for n in self.nodes if n.get_name() == "derain_node"), None)
        self.executor = executor()
        for node in self.nodes:
            self.executor.add_node(node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=runtime.spin, args=(self.executor, self._stop.is_set))
        self._thread.start()
        self.client = Client(self.namespace)
        self._stamp = 10**18

    def activate(self):
        """Configure and activate every node, and wait until client and nodes have discovered each other."""
        for transition in ("configure", "activate"):
            for node in self.nodes:
                assert self.change(node, transition)
        assert self.client.until(self.is_connected)

    def change(self, node, transition):
        """Request a transition of a node; whether it succeeded."""
        return self.client.change(node.get_name(), transition)

    def call(self, kind, name, request):
        """Call a service of the nodes; returns the response."""
        return self.client.call(kind, name, request)

    def is_connected(self):
        """Whether the client and the active nodes have all found each other."""
        clients, derain = [self.client.node, *self.nodes], self.derain
        if not all(
            node.count_publishers(self.name_of(topic)) for node in clients for topic in ALWAYS_PUBLISHED
        ):
            return False
        if derain is None or not derain.active:
            return True
        inputs = [self.client.image, self.client.jpeg]
        return any(publisher.get_subscription_count() for publisher in inputs)

    def name_of(self, topic):
        """A topic's name in the namespace of the nodes."""
        return f"{self.namespace}/{topic.name}"

    def next_header(self, step_ms=66):
        self._stamp += step_ms * MS
        return messages.to_header(self._stamp, "camera_optical")

    def send(self, image=None, header=None):
        """Send a frame; its stamp."""
        header = header or self.next_header()
        self.client.image.publish(images.from_rgb(noise_image() if image is None else image, header))
        return messages.stamp_ns(header)

    def pass_through(self, image=None, header=None, out=PER_FRAME):
        """Send a frame and wait until it has come out on these topics; its stamp."""
        stamp = self.send(image, header)
        complete = lambda: all(stamp in self.client.stamps(topic) for topic in out)  # noqa: E731
        assert self.client.until(complete), self.client.status
        return stamp

    def is_accounted_for(self, node):
        """Whether every frame that the node received is accounted for."""
        counters = node.statistics.snapshot()
        return counters.received == counters.published + sum(counters.dropped.values())

    def counters(self, node=None):
        """A node's counters (default: derain_node's) once every frame that it received is accounted for.

        A node counts a frame after publishing it: who has the frame may still be ahead of the counters.
        """
        node = node or self.derain
        assert self.client.until(lambda: self.is_accounted_for(node)), self.client.status
        return node.statistics.snapshot()

    def set_parameter(self, node, name, value):
        """Set a parameter through the node's service; the result."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node.get_name()}/set_parameters", request).results[0]

    def stop(self):
        """Serve the nodes no longer."""
        self._stop.set()
        self._thread.join()
        self.executor.shutdown()

    def close(self):
        self.stop()
        for node in reversed(self.nodes):
            node.destroy_node()
        self.client.close()
