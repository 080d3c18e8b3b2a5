"""The Foxglove and RViz layouts show topics that exist, under their right names."""

import json
import re
from pathlib import Path

import yaml
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from ros2_derain.engine import Mode
from ros2_derain.messages import topics
from ros2_derain.nodes import outputs
from ros2_derain.nodes.viewers import ImageAnnotations

CONFIG = Path(__file__).resolve().parent.parent / "config"
KNOWN = {**vars(topics), **vars(outputs)}
PIPELINE = {f"/{t.name}": t.type for t in KNOWN.values() if isinstance(t, topics.Topic)}
FOXGLOVE = json.loads((CONFIG / "foxglove.json").read_text())
RVIZ = yaml.safe_load((CONFIG / "pipeline.rviz").read_text())
SHOWN = {"/image", "/derain/image", "/segmentation/overlay"}
IN_METRES = {"/segmentation/points", "/detections_3d", "/detections_3d/markers"}


def test_foxglove_shows_the_pipeline():
    panels = FOXGLOVE["configById"]
    images = {panel["imageMode"]["imageTopic"] for panel in panels.values() if "imageMode" in panel}
    assert images >= SHOWN
    assert all(PIPELINE[topic] is Image for topic in images)
    paths = re.findall(r'"(?:topicPath|path|value)": "(/[^."]+)\.(\w+)', json.dumps(FOXGLOVE))
    assert {"/detections", "/detections_3d", "/derain/rain_rate", "/derain/mode"} <= {
        topic for topic, _ in paths
    }
    for topics_of, kind in (
        (panels["3D!points"]["topics"], (PointCloud2, MarkerArray)),
        (panels["Image!clean"]["imageMode"]["annotations"], (ImageAnnotations,)),
    ):
        shown = [topic for topic, settings in topics_of.items() if settings["visible"]]
        assert [PIPELINE[topic] for topic in shown] == list(kind)
    assert all(f"_{field}" in PIPELINE[topic].__slots__ for topic, field in paths)


def test_foxglove_places_every_panel():
    placed = re.findall(r'"(?:first|second)": "([^"]+)"', json.dumps(FOXGLOVE["layout"]))
    assert sorted(placed) == sorted(FOXGLOVE["configById"])


def test_foxglove_names_every_mode():
    rules = FOXGLOVE["configById"]["Indicator!mode"]["rules"]
    assert {rule["rawValue"] for rule in rules} == {mode.value for mode in Mode}


def test_rviz_shows_the_pipeline():
    displays = RVIZ["Visualization Manager"]["Displays"]
    assert {display["Topic"]["Value"] for display in displays} >= SHOWN | IN_METRES
