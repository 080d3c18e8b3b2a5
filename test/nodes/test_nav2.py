"""What semantic_segmentation_layer (kiwicampus) does with our topics, by the example in docs/planners.md.

The layer is C++ and not built here. This listener does what its source does (a70cf6e, April 2026): quality of
service, exact synchronisation of three topics, its checks, its walk over pixels and points, and its costs.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from planner_rig import CAMERA_M, CAR, FOCAL, HEIGHT, ROAD, road
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField
from vision_msgs.msg import LabelInfo

from ros2_derain import messages, models
from ros2_derain.messages import point_clouds
from ros2_derain.nodes import outputs
from ros2_derain.nodes.parameters import SegmentationParameters

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/planners.md"
LAYER = {
    "plugin", "enabled", "combination_method", "observation_sources", "publish_debug_topics",
    "use_approximate_time_sync",
}  # fmt: skip
SOURCE = {
    "segmentation_topic", "confidence_topic", "labels_topic", "pointcloud_topic", "observation_persistence",
    "expected_update_rate", "class_types", "max_obstacle_distance", "min_obstacle_distance",
    "tile_map_decay_time", "visualize_tile_map", "use_cost_selection",
}  # fmt: skip
CLASS_TYPE = {
    "classes", "base_cost", "max_cost", "mark_confidence", "samples_to_max_cost", "dominant_priority"
}  # fmt: skip
"""The parameters that the layer declares: of itself, of a source, of a type of classes."""

SENSOR_DATA = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
TILE_M = 0.5


@pytest.fixture(scope="module")
def configured():
    """The layer's part of the example."""
    (text,) = re.findall(r"```yaml\n(local_costmap:.*?)```", PAGE.read_text(), re.S)
    costmap = yaml.safe_load(text)["local_costmap"]["local_costmap"]["ros__parameters"]
    (name,) = [name for name in costmap["plugins"] if name.startswith("semantic")]
    return costmap[name]


@pytest.fixture(scope="module")
def source(configured):
    (name,) = configured["observation_sources"].split()
    return configured[name]


def test_the_example_has_the_layer_s_parameters(configured, source):
    assert {*configured} - {configured["observation_sources"]} <= LAYER
    assert {*source} - {*source["class_types"]} <= SOURCE
    assert all({*source[name]} == CLASS_TYPE for name in source["class_types"])
    assert configured["use_approximate_time_sync"] is False
    assert all(
        0 <= source[name][key] <= 254 for name in source["class_types"] for key in ("base_cost", "max_cost")
    )


def test_the_example_knows_every_class_of_the_default_model(source):
    """The layer logs a critical error for each class of label_info that it has no costs of."""
    named = [name for kind in source["class_types"] for name in source[kind]["classes"]]
    card = models.read_card(models.find(SegmentationParameters().model))
    assert sorted(named) == sorted(card.classes)


class Layer:
    """Subscribes and synchronises as the layer does; keeps the costs of the tiles of each set of messages."""

    def __init__(self, node, source):
        self.costs = {
            name: source[kind] for kind in source["class_types"] for name in source[kind]["classes"]
        }
        self.nearest_m, self.farthest_m = source["min_obstacle_distance"], source["max_obstacle_distance"]
        self.classes, self.sets, self._waiting = {}, {}, {}
        names = (
            source[key].lstrip("/") for key in ("segmentation_topic", "confidence_topic", "pointcloud_topic")
        )
        for place, (name, kind) in enumerate(zip(names, (Image, Image, PointCloud2), strict=True)):
            node.create_subscription(kind, name, lambda got, place=place: self._add(place, got), SENSOR_DATA)
        node.create_subscription(LabelInfo, source["labels_topic"].lstrip("/"), self._on_labels, LATCHED)

    def _on_labels(self, info):
        self.classes = {each.class_id: each.class_name for each in info.class_map}

    def _add(self, place, message):
        """As ExactTime: a set is complete when all three have one stamp; older ones are dropped."""
        stamp = messages.stamp_ns(message.header)
        found = self._waiting.setdefault(stamp, {})
        found[place] = message
        if len(found) == 3:
            self._waiting = {other: rest for other, rest in self._waiting.items() if other > stamp}
            self.sets[stamp] = self._tiles(*(found[each] for each in range(3)))

    def _tiles(self, segmentation, confidence, cloud):
        """The largest cost of each tile, by its index; what lies out of range is skipped."""
        assert segmentation.encoding == confidence.encoding == "mono8"
        pixels = segmentation.width * segmentation.height
        assert pixels == cloud.width * cloud.height == confidence.width * confidence.height
        assert len(segmentation.data) == len(confidence.data) == pixels  # the layer knows no padded rows
        assert self.classes, "label_info comes first"
        offsets = {field.name: (field.offset, field.datatype) for field in cloud.fields}
        assert all(offsets[axis][1] == PointField.FLOAT32 for axis in "xyz")  # its iterators are of floats
        points = point_clouds.to_xyz(cloud)
        tiles = {}
        for label, point in zip(segmentation.data, points, strict=True):
            if not np.isfinite(point[2]) or self.classes.get(label) not in self.costs:
                continue
            far = np.linalg.norm(point - (0, 0, CAMERA_M))
            if self.nearest_m < far < self.farthest_m:
                tile = tuple(np.floor(point[:2] / TILE_M).astype(int))
                tiles[tile] = max(tiles.get(tile, 0), self.costs[self.classes[label]]["max_cost"])
        return tiles


def test_a_costmap_gets_each_frame_s_own_objects(planned, source):
    """Five frames in a row, a car at another place in each: no set mixes two of them."""
    listened = (outputs.POINTS, outputs.POINTS_LABEL_MAP, outputs.POINTS_CONFIDENCE)
    made = planned(listened, output_frame="base", stride=2, points_source="ground")
    layer = Layer(made.client.node, source)
    assert made.client.until(lambda: layer.classes)
    expected = {}
    for distance in (6.0, 8.0, 10.0, 12.0, 14.0):
        foot = int((HEIGHT - 1) / 2 + FOCAL * CAMERA_M / distance)
        labels = road()
        labels[foot - 40 : foot, 300:340] = CAR
        header = made.frame(labels)
        made.result(outputs.POINTS, header)
        expected[messages.stamp_ns(header)] = distance
    assert made.client.until(lambda: layer.sets.keys() == expected.keys())
    for stamp, distance in expected.items():
        costs = {kind: layer.costs[made_of]["max_cost"] for kind, made_of in ((ROAD, "road"), (CAR, "car"))}
        lethal = np.array([tile for tile, cost in layer.sets[stamp].items() if cost == costs[CAR]]) * TILE_M
        assert len(lethal) and np.abs(lethal[:, 0] - distance).max() <= 2 * TILE_M
        assert np.abs(lethal[:, 1]).max() <= 20 / FOCAL * distance + TILE_M
        free = [tile for tile, cost in layer.sets[stamp].items() if cost == costs[ROAD]]
        assert len(free) > 10 * len(lethal)
