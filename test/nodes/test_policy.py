"""The SROS2 policy that ships is the generated one, and allows exactly what the nodes do."""

import xml.etree.ElementTree as ET

import pytest
import rig

from ros2_derain import resources
from ros2_derain.nodes import outputs, policy


def test_the_policy_that_ships_is_the_generated_one():
    assert resources.path("config/security/policy.xml").read_text() == policy.to_xml()


def absolute(names, namespace, node):
    """Names of a profile as they are in the graph."""
    return {name if name.startswith("/") else f"{namespace}/{name.replace('~', node, 1)}" for name in names}


@pytest.mark.parametrize("create", [rig.with_planner, rig.separate])
def test_nodes_do_nothing_that_the_policy_does_not_allow(active, create):
    made = active(create)
    graph, namespace = made.client.node, made.namespace
    for name, allowed in policy.profiles().items():
        if name not in {node.get_name() for node in made.nodes}:
            continue
        for list_topics, permitted in (
            (graph.get_publisher_names_and_types_by_node, allowed.publish),
            (graph.get_subscriber_names_and_types_by_node, allowed.subscribe),
            (graph.get_service_names_and_types_by_node, allowed.reply),
            (graph.get_client_names_and_types_by_node, allowed.request),
        ):
            found = {topic for topic, _ in list_topics(name, namespace)}
            assert found <= absolute(permitted, namespace, name)


def test_every_output_is_allowed_to_one_node_only():
    known = policy.profiles()
    for topic in outputs.OUTPUTS:
        assert sum(topic.name in profile.publish for profile in known.values()) == 1, topic.name


def test_namespace_and_camera_are_those_of_the_options(capsys):
    policy.main(["--namespace", "front", "--image", "/camera/image_raw"])
    root = ET.fromstring(capsys.readouterr().out.encode())
    assert {profile.get("ns") for profile in root.iter("profile")} == {"/front"}
    assert "/ros2_derain/front/pipeline" in {enclave.get("path") for enclave in root.iter("enclave")}
    subscribed = {topic.text for group in root.iter("topics") if group.get("subscribe") for topic in group}
    assert {"/camera/image_raw", "/camera/image_raw/compressed"} <= subscribed and "image" not in subscribed


def test_nothing_is_allowed_by_wildcard():
    assert "*" not in policy.to_xml()
