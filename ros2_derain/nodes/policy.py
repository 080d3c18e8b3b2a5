"""The SROS2 policy of the pipeline: what each node may publish, subscribe to and call, nothing else.

``config/security/policy.xml`` is made here, from the topics that the nodes have::

    python -m ros2_derain.nodes.policy > config/security/policy.xml
    python -m ros2_derain.nodes.policy --namespace /front --image /camera/image_raw > front.xml

Format: https://design.ros2.org/articles/ros2_access_control_policies.html
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ros2_derain.messages import topics
from ros2_derain.nodes import outputs
from ros2_derain.nodes.run import NODES, PLANNER

PARAMETERS = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "get_type_description",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
LIFECYCLE = (
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
)
ALL_NODES = (*NODES, PLANNER)
ALWAYS = ("/parameter_events", "/rosout")


@dataclass(frozen=True)
class Profile:
    """What one node may do. Names are as in its code: relative, or of the node (``~/``)."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    request: tuple[str, ...] = ()


def profiles(
    image: str = topics.IMAGE.name, camera_info: str = topics.CAMERA_INFO.name
) -> dict[str, Profile]:
    """The nodes' profiles by name.

    Args:
        image, camera_info: the input topics, where they are remapped.
    """
    managed = tuple(f"~/{name}" for name in (*PARAMETERS, *LIFECYCLE))
    always = (*ALWAYS, topics.DIAGNOSTICS.name, "~/transition_event")
    derain = Profile(
        (*_names(outputs.of_node(outputs.DERAIN)), topics.PROPOSAL.name, *always),
        (
            image,
            f"{image}/compressed",
            camera_info,
            *_names((outputs.LABEL_INFO, outputs.SEMANTIC_PRIOR, outputs.SEGMENTATION_STATUS)),
            "/clock",
        ),
        managed,
    )
    segmentation = Profile(
        (*_names({*outputs.of_node(outputs.SEGMENTATION), outputs.ANNOTATIONS}), *always),
        (
            *_names((outputs.CLEAN_IMAGE, outputs.DERAIN_STATUS, outputs.OBSTRUCTION, topics.PROPOSAL)),
            "/clock",
        ),
        managed,
    )
    planner = Profile(
        (*_names(outputs.of_node(outputs.PLANNER)), *always),
        (
            camera_info,
            *_names((outputs.CLEAN_IMAGE, outputs.TRUST, outputs.OBSTRUCTION)),
            *_names((outputs.LABEL_INFO, outputs.LABEL_MAP, outputs.CONFIDENCE, outputs.DETECTIONS)),
            topics.POINTS_IN.name,
            "/tf",
            "/tf_static",
            "/clock",
        ),
        managed,
    )
    autostart = Profile(
        ALWAYS,
        ("/clock",),
        tuple(f"~/{name}" for name in PARAMETERS),
        tuple(f"{node}/{service}" for node in ALL_NODES for service in ("change_state", "get_state")),
    )
    return {
        "derain_node": derain,
        "segmentation_node": segmentation,
        "planner_node": planner,
        "autostart": autostart,
    }


def to_xml(namespace: str = "/", **remapped: str) -> str:
    """The policy: an enclave for each process, those of both ways to run.

    Args:
        namespace: of the nodes.
        remapped: as for :func:`profiles`.
    """
    known = profiles(**remapped)
    policy = ET.Element("policy", version="0.2.0")
    enclaves = ET.SubElement(policy, "enclaves")
    for process, nodes in (
        ("pipeline", ALL_NODES),
        *((node, (node,)) for node in (*ALL_NODES, "autostart")),
    ):
        path = f"/ros2_derain{namespace.rstrip('/')}/{process}"
        inside = ET.SubElement(ET.SubElement(enclaves, "enclave", path=path), "profiles")
        for node in nodes:
            _add(ET.SubElement(inside, "profile", node=node, ns=namespace), known[node])
    ET.indent(policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(policy, encoding="unicode") + "\n"


def _add(element: ET.Element, profile: Profile) -> None:
    for kind, permission, names in (
        ("topic", "publish", profile.publish),
        ("topic", "subscribe", profile.subscribe),
        ("service", "reply", profile.reply),
        ("service", "request", profile.request),
    ):
        if names:
            group = ET.SubElement(element, f"{kind}s", {permission: "ALLOW"})
            for name in sorted(names):
                ET.SubElement(group, kind).text = name


def _names(group: Iterable[topics.Topic]) -> tuple[str, ...]:
    return tuple(topic.name for topic in group)


def main(argv: list[str] | None = None) -> None:
    """Print the policy."""
    parser = argparse.ArgumentParser(prog="python -m ros2_derain.nodes.policy")
    parser.add_argument("--namespace", default="/", help="of the nodes (default: %(default)s)")
    parser.add_argument("--image", default=topics.IMAGE.name, help="the camera's topic")
    parser.add_argument("--camera-info", default=topics.CAMERA_INFO.name, help="its calibration's topic")
    args = parser.parse_args(argv)
    namespace = "/" + args.namespace.strip("/")
    print(to_xml(namespace, image=args.image, camera_info=args.camera_info), end="")


if __name__ == "__main__":
    main()
