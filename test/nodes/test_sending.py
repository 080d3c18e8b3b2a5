"""Messages that the transport refuses: Fast DDS does so for a subscriber that keeps all and reads nothing."""

import threading

import pytest
import rclpy
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from ros2_derain.nodes.sending import RCLError, send

KEEP_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
MOST = 100_000
"""More messages than any queue holds by default."""

LEAVES_S = 0.5


@pytest.fixture
def reader(ros):
    """A node that subscribes and is never spun."""
    node = rclpy.create_node("reader")
    node.create_subscription(String, "/everything", lambda message: None, KEEP_ALL)
    yield node
    node.destroy_node()


def full(publisher):
    """Publish until the transport refuses a message; how many it took."""
    while publisher.get_subscription_count() == 0:
        pass
    for count in range(MOST):
        try:
            publisher.publish(String())
        except RCLError:
            return count
    raise AssertionError("nothing was refused")


def test_a_message_is_given_up_in_time_and_sent_once_the_subscriber_has_gone(ros, reader):
    writer = rclpy.create_node("writer")
    publisher = writer.create_publisher(String, "everything", KEEP_ALL)
    full(publisher)
    with pytest.raises(RCLError, match="cannot publish"):
        send(publisher.publish, String())
    leaving = threading.Timer(LEAVES_S, reader.destroy_node)
    leaving.start()
    send(publisher.publish, String(), attempts=MOST)
    leaving.join()
    assert publisher.get_subscription_count() == 0
    writer.destroy_node()


def test_a_node_counts_and_reports_what_it_could_not_send_and_goes_on(active, reader, capfd):
    made = active()
    publisher = made.derain.create_publisher(String, "/everything", KEEP_ALL)
    full(publisher)
    made.derain.send(publisher, String())
    assert made.counters().counts["unsent"] == 1
    assert "/everything: a message is lost" in capfd.readouterr().err
    made.pass_through()
