"""planner_node alone in a rig, and what publishes its inputs: a level camera above a straight road."""

import numpy as np
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import LabelInfo, VisionClass

from ros2_derain import messages
from ros2_derain.engine import Detection
from ros2_derain.messages import images, point_clouds, topics
from ros2_derain.nodes import outputs

WIDTH, HEIGHT, FOCAL, CAMERA_M = 640, 360, 500.0, 1.5
SKY, ROAD, CAR = range(3)
CLASSES = ("sky", "road", "car")
INPUTS = (
    outputs.CLEAN_IMAGE, outputs.TRUST, outputs.OBSTRUCTION, outputs.LABEL_MAP, outputs.CONFIDENCE,
    outputs.DETECTIONS, outputs.LABEL_INFO, topics.POINTS_IN,
)  # fmt: skip


def topic_qos(topic):
    """Reliable, whatever the node asks for; latched where it is."""
    return topics.latched() if topic is outputs.LABEL_INFO else topics.recent()


class Planned:
    """planner_node alone, and what publishes its inputs."""

    def __init__(self, made, listen_to=outputs.IN_METRES):
        self.made, self.client, self.node = made, made.client, made.nodes[0]
        for topic in listen_to:
            self.client.listen(topic)
        make = self.client.node.create_publisher
        self.send = {topic: make(topic.type, topic.name, topic_qos(topic)) for topic in INPUTS}
        assert made.change(self.node, "configure") and made.change(self.node, "activate")
        assert self.client.until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in self.send.values())
                and self.client.info.get_subscription_count()
                and all(made.client.node.count_publishers(made.name_of(topic)) for topic in listen_to)
                and all(self.node.has_subscriber(topic) for topic in listen_to)
            )
        )
        described = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(CLASSES)]
        self.send[outputs.LABEL_INFO].publish(LabelInfo(class_map=described))
        assert self.client.until(lambda: self.node._class_names == CLASSES)

    def calibrate(self, width=WIDTH, height=HEIGHT, **changed):
        k = [FOCAL, 0.0, (width - 1) / 2, 0.0, FOCAL, (height - 1) / 2, 0.0, 0.0, 1.0]
        info = CameraInfo(
            width=width, height=height, distortion_model="plumb_bob", k=k, d=[0.0] * 5, **changed
        )
        known = len(self.node._calibrations)
        self.client.info.publish(info)
        assert self.client.until(lambda: len(self.node._calibrations) > known)

    def frame(self, labels=None, boxes=(), trust=255, cloud=None, leave_out=(), header=None):
        """Publish the inputs of one image; returns its header."""
        header = header or self.made.next_header()
        labels = road() if labels is None else labels
        if cloud is not None:
            self.send[topics.POINTS_IN].publish(to_cloud(cloud, header))
            assert self.client.until(lambda: self.node._nearest_cloud(messages.stamp_ns(header)) is not None)
        grey = np.full((*labels.shape, 3), 90, np.uint8)
        plane = lambda value: images.from_mono(np.full_like(labels, value), header)  # noqa: E731
        made = {
            outputs.CLEAN_IMAGE: images.from_rgb(grey, header),
            outputs.TRUST: plane(trust),
            outputs.LABEL_MAP: images.from_mono(labels, header),
            outputs.DETECTIONS: messages.to_detections(boxes, header),
            outputs.CONFIDENCE: plane(200),
        }
        for topic, message in made.items():
            if topic not in leave_out:
                self.send[topic].publish(message)
        return header

    def result(self, topic, header):
        """The output of an image; fails where there is none."""
        stamp = messages.stamp_ns(header)
        assert self.client.until(lambda: stamp in self.client.stamps(topic)), self.client.status
        return self.client.got[topic.name][self.client.stamps(topic).index(stamp)]

    def message(self):
        return self.client.message("planner_node")


def road():
    """Sky above, road below."""
    labels = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    labels[: HEIGHT // 2 + 10] = SKY
    return labels


def box_on_road(distance, class_name="car", id_="7"):
    """The box of an object that stands at a distance in front of a level camera."""
    foot = (HEIGHT - 1) / 2 + FOCAL * CAMERA_M / distance
    half = FOCAL * 0.9 / distance
    middle = (WIDTH - 1) / 2
    top = foot - FOCAL * 1.5 / distance
    return Detection(class_name, 0.9, middle - half, top, middle + half, foot + 0.5, id_)


def to_cloud(points, header, frame_id="lidar"):
    made = np.zeros(len(points), [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    for axis, name in enumerate("xyz"):
        made[name] = np.asarray(points, np.float32).reshape(-1, 3)[:, axis]
    return point_clouds.to_cloud(made, messages.to_header(messages.stamp_ns(header), frame_id))
