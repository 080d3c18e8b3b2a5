"""A bag, written here with the rosbags library, and what is measured in it."""

import math

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ros2_derain.bags.reader import BagReader
from ros2_derain.demo.measure import measure
from ros2_derain.demo.summary import summarise
from ros2_derain.reporting.statistics import mean, percentiles, stages
from ros2_derain.ros_testing.observer import Status
from ros2_derain.ros_testing.pipeline_processes import Run

STORE = get_typestore(Stores.ROS2_KILTED)
T = STORE.types
DRY = np.full((70, 100, 3), 100, np.uint8)
STAMPS = [1_700_000_000_000_000_007 + k * 40_000_000 for k in range(4)]


def header(stamp):
    return T["std_msgs/msg/Header"](
        stamp=T["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera"
    )


def image(stamp, pixels, encoding="rgb8", padding=0):
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, padding)))
    return T["sensor_msgs/msg/Image"](
        header=header(stamp),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.reshape(-1),
    )


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Four frames: the rain is 20 grey levels, the clean image is 10 off; 30 ms on the way."""
    path = tmp_path_factory.mktemp("bags") / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(f"/front/{topic}", type_name, typestore=STORE)
            for topic, type_name in (
                ("image", "sensor_msgs/msg/Image"),
                ("derain/image", "sensor_msgs/msg/Image"),
                ("segmentation/label_map", "sensor_msgs/msg/Image"),
                ("derain/rain_rate", "std_msgs/msg/Float32"),
            )
        }

        def write(topic, time, message):
            connection = connections[topic]
            writer.write(connection, time, STORE.serialize_cdr(message, connection.msgtype))

        labels = np.zeros(DRY.shape[:2], np.uint8)
        labels[:, 50:] = 3
        for k, stamp in enumerate(STAMPS):
            write("image", stamp + 1_000_000, image(stamp, DRY + np.uint8(20)))
            write("derain/image", stamp + 30_000_000, image(stamp, DRY + np.uint8(10), padding=4))
            write("derain/rain_rate", stamp + 30_500_000, T["std_msgs/msg/Float32"](data=100.0 + k))
            write("segmentation/label_map", stamp + 31_000_000, image(stamp, labels, "mono8"))
    return path


def test_latency_quality_and_rain_rate(bag):
    with BagReader(bag, namespace="/front") as recording:
        found = measure(recording, lambda stamp: DRY, shown=[STAMPS[2]])
        assert {t.name: t.messages for t in recording.topics}["derain/rain_rate"] == 4
    assert found.stamps["derain/image"] == STAMPS
    assert found.delays_ms["derain/image"] == pytest.approx([30.0] * 4)
    assert "derain/rain_rate" not in found.stamps
    assert found.rain_rates == [100.0, 101.0, 102.0, 103.0]
    assert found.psnr == pytest.approx(dict.fromkeys(STAMPS, 20 * math.log10(255 / 10)))
    assert found.psnr_rain == pytest.approx(dict.fromkeys(STAMPS, 20 * math.log10(255 / 20)))
    assert found.types["derain/rain_rate"] == "std_msgs/msg/Float32"


def test_only_the_chosen_frame_keeps_its_pictures(bag):
    with BagReader(bag, namespace="/front") as recording:
        moments = measure(recording, lambda stamp: None, shown=[STAMPS[2]]).moments
    assert list(moments) == [STAMPS[2]]
    assert (moments[STAMPS[2]].rainy == 120).all() and (moments[STAMPS[2]].clean == 110).all()
    assert moments[STAMPS[2]].clean.shape == DRY.shape
    assert moments[STAMPS[2]].classes == {0, 3}
    assert moments[STAMPS[2]].overlay is None


def test_percentiles_and_means():
    assert percentiles(list(range(101))) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert percentiles([]) is None
    assert mean([1.0, math.inf, 2.0]) == 1.5
    assert mean([math.inf]) is None
    assert stages({"derain.p50": 1.0, "derain.max": 2.0, "gate.p50": 3.0}) == {
        "derain": {"p50": 1.0, "max": 2.0},
        "gate": {"p50": 3.0},
    }


def status(received, published, **values):
    counted = {"frames_received": str(received), "frames_published": str(published)}
    return Status(0, 0, "running", {**counted, **values})


def summary_of(bag, sent, derainer, ended=None):
    run = Run(sent, {"derain_node": derainer, "segmentation_node": status(0, 0)})
    with BagReader(bag, namespace="/front") as recording:
        measured = measure(recording, lambda stamp: DRY)
        return summarise(run, measured, recording, ended or {}, rate=150.0)


def problems_of_derainer(summary):
    return [problem for problem in summary["problems"] if not problem.startswith("segmentation_node")]


def test_summary_of_a_run_whose_books_balance(bag):
    sent = {stamp: index for index, stamp in enumerate([*STAMPS, STAMPS[-1] + 1, STAMPS[-1] + 2])}
    derainer = status(5, 4, **{"dropped.replaced": "1", "latency_ms.derain.p50": "80.5", "device": "cpu"})
    summary = summary_of(bag, sent, derainer)
    assert problems_of_derainer(summary) == []
    assert (summary["frames_in"], summary["frames_out"]) == (6, 4)
    assert summary["dropped"] == {"transport": 1, "replaced": 1}
    assert summary["topics"]["image"] == 4
    assert summary["latency_ms"]["derain"] == {"p50": 80.5}
    assert summary["latency_ms"]["end_to_end_image"]["max"] == pytest.approx(30)
    assert summary["psnr_rain"] == pytest.approx(22.11) and summary["psnr_clean"] == pytest.approx(28.13)
    assert (summary["rain_rate_mean"], summary["rain_rate_true"]) == (101.5, 150.0)
    assert summary["device"] == "cpu"


def test_summary_names_a_frame_that_vanished(bag):
    sent = {stamp: index for index, stamp in enumerate([*STAMPS, STAMPS[-1] + 1])}
    summary = summary_of(bag, sent, status(5, 4))
    assert problems_of_derainer(summary)[0].startswith("derain_node: frames unaccounted for: 1; 5 sent")


def test_summary_names_a_stamp_that_the_camera_never_sent(bag):
    sent = {stamp: index for index, stamp in enumerate(STAMPS[1:])}
    problems = summary_of(bag, sent, status(4, 4))["problems"]
    assert f"stamps on derain/image that the camera never sent: 1, such as {STAMPS[0]} ns" in problems


def test_summary_names_a_process_that_ended_badly(bag):
    sent = {stamp: index for index, stamp in enumerate(STAMPS)}
    problems = summary_of(bag, sent, status(4, 4), ended={"derain_node": -11})["problems"]
    assert "derain_node ended with status -11, see its log" in problems
