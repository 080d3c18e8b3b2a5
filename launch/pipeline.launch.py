"""The pipeline: derain_node and segmentation_node, in one process or in two; also planner_node if asked for.

The argument ``image`` is all that most cameras need::

    ros2 launch ros2_derain pipeline.launch.py image:=/camera/image_raw
    ros2 launch ros2_derain pipeline.launch.py --show-args
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import Parameter

PACKAGE = "ros2_derain"
BOOLEAN = ["true", "false"]
NODES = ("segmentation_node", "derain_node")  # the consumer is up before its source
PLANNER = "planner_node"


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*arguments(), OpaqueFunction(function=processes)])


def arguments() -> list[DeclareLaunchArgument]:
    """The launch arguments. An empty default leaves the value of params_file."""
    share = get_package_share_directory(PACKAGE)
    return [
        DeclareLaunchArgument(
            "params_file",
            default_value=os.path.join(share, "config", "pipeline.yaml"),
            description="YAML file with the parameters of the nodes",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of every node and topic, one per camera"
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Several cameras on one model in one process, such as [front,left,right]: "
            "each name is a namespace for its nodes and topics",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="image",
            description="Input topic, sensor_msgs/Image; <image>/compressed is its compressed form",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="camera_info",
            description="Topic of the camera's sensor_msgs/CameraInfo",
        ),
        DeclareLaunchArgument(
            "composed",
            default_value="true",
            choices=BOOLEAN,
            description="Both nodes in one process, without serialisation between them; false: two processes",
        ),
        DeclareLaunchArgument(
            "planner",
            default_value="false",
            choices=BOOLEAN,
            description="Also planner_node: labelled points and boxes in metres, see docs/planners.md",
        ),
        DeclareLaunchArgument(
            "points", default_value="points", description="Topic of a lidar's clouds, for planner_node"
        ),
        DeclareLaunchArgument(
            "model", default_value="", description="Model name or folder; empty: as in params_file"
        ),
        DeclareLaunchArgument(
            "device", default_value="", description="auto, cpu, cuda or cuda:N; empty: as in params_file"
        ),
        DeclareLaunchArgument(
            "runtime",
            default_value="",
            description="auto, torch, openvino, onnxruntime or tensorrt; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=BOOLEAN, description="Take the time from /clock"
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=BOOLEAN,
            description="Configure and activate the nodes whenever they start",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Least severe messages that are logged",
        ),
        DeclareLaunchArgument(
            "respawn",
            default_value="false",
            choices=BOOLEAN,
            description="Start a process again when it dies",
        ),
    ]


def processes(context: LaunchContext) -> list[Node]:
    """The processes to start, from the values of the arguments."""
    value = {a.name: LaunchConfiguration(a.name).perform(context) for a in arguments()}
    params_file = os.path.expanduser(value["params_file"])
    if not os.path.isfile(params_file):
        raise RuntimeError(f"params_file:={params_file} is not a file: give the path of a YAML file")

    settings = ("model", "device", "runtime")
    overrides = [Parameter(n, value[n], value_type=str) for n in settings if value[n]]
    if value["use_sim_time"] == "true":
        overrides.append(Parameter("use_sim_time", True))
    cameras = [name.strip() for name in value["cameras"].strip("[] ").split(",") if name.strip()]
    if cameras and (value["composed"] == "false" or value["image"].startswith("/")):
        raise RuntimeError(
            "cameras cannot be combined with composed:=false or an absolute image topic: "
            "use composed:=true and an image without a leading /"
        )
    common = {
        "package": PACKAGE,
        "respawn": value["respawn"] == "true",
        "respawn_delay": 1.0,
        "output": "screen",
        "ros_arguments": ["--log-level", value["log_level"]],
    }
    pipeline = {
        **common,
        "parameters": [params_file, *overrides],
        "remappings": [
            ("image", value["image"]),
            ("image/compressed", value["image"] + "/compressed"),
            ("camera_info", value["camera_info"]),
            ("points", value["points"]),
        ],
    }
    has_planner = value["planner"] == "true"
    nodes = (PLANNER, *NODES) if has_planner else NODES
    planner = ["--planner"] if has_planner else []
    named = {"namespace": value["namespace"]}
    if cameras:  # a namespace of the process would be that of every node in it
        below = ["--namespace", value["namespace"], "--cameras", ",".join(cameras), *planner]
        started = [Node(executable="pipeline", arguments=below, **pipeline)]
    elif value["composed"] == "true":
        started = [Node(executable="pipeline", arguments=planner, **named, **pipeline)]
    else:
        started = [LifecycleNode(executable=name, name=name, **named, **pipeline) for name in nodes]
    if value["autostart"] == "true":
        managed = [f"{camera}/{name}" for camera in cameras for name in nodes] or list(nodes)
        started.append(Node(executable="autostart", arguments=managed, **named, **common))
    return started
