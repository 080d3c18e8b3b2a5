"""``ros2-derain run``, the pipeline on a camera topic without the launch package; executable ``pipeline``.

Importing this loads neither rclpy nor torch.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ros2_derain import resources

NODES = ("derain_node", "segmentation_node")
PLANNER = "planner_node"
"""Runs where it is asked for."""

EXAMPLES = """examples:
  ros2-derain run --image /camera/image_raw --camera-info /camera/camera_info
  ros2-derain run --image /camera/image_raw --compressed --device cuda
  ros2-derain run --image /camera/image_raw --planner --ros-args -p camera_height:=1.45
  ros2-derain run --namespace front --params-file my.yaml
  ros2-derain run --cameras front,left,right --image image_raw
  ros2-derain run --image /camera/image_raw --ros-args -p prior:=closed_loop -p iterations:=2

Outputs: derain/image, segmentation/label_map, detections and the others that the
README lists, below the namespace. Ctrl-C ends it."""


class RunError(Exception):
    """The pipeline cannot be started as asked; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Run the nodes in this process, configured and active, until Ctrl-C."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--params-file", type=Path, help="parameters of the nodes (default: config/pipeline.yaml)"
    )
    parser.add_argument(
        "--image", default="image", metavar="TOPIC", help="camera images (default: %(default)s)"
    )
    parser.add_argument(
        "--camera-info",
        default="camera_info",
        metavar="TOPIC",
        help="their calibration (default: %(default)s)",
    )
    parser.add_argument(
        "--compressed", action="store_true", help="subscribe to the JPEG or PNG images of TOPIC/compressed"
    )
    add_camera_arguments(parser)
    parser.add_argument("--model", help="a name that 'ros2-derain models' lists, or a model's folder")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--runtime", help="auto, torch, openvino, onnxruntime or tensorrt")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "fatal"))
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="...",
        help="anything else that ROS 2 takes",
    )


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--namespace`` and ``--cameras``."""
    parser.add_argument("--namespace", default="", help="of every node and topic: one for each camera")
    parser.add_argument(
        "--cameras",
        type=camera_names,
        default=(),
        metavar="NAME,NAME,...",
        help="several cameras on one model, in one process: each name is a namespace below --namespace",
    )
    parser.add_argument(
        "--planner",
        action="store_true",
        help="also run planner_node: points and boxes in metres (docs/planners.md)",
    )


def camera_names(text: str) -> tuple[str, ...]:
    """``front,left,right``, with or without brackets, as the names of cameras.

    Raises:
        argparse.ArgumentTypeError: one is no ROS name, or named twice.
    """
    inner = text.strip().removeprefix("[").removesuffix("]").strip()
    found = tuple(name.strip() for name in inner.split(",")) if inner else ()
    for name in found:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise argparse.ArgumentTypeError(
                f"{name!r} is no name for a camera: letters, digits and _, a letter first"
            )
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"a camera is named twice in {text!r}")
    return found


def ros_arguments(args: argparse.Namespace) -> list[str]:
    """The options as ROS arguments.

    Raises:
        RunError: a name is no ROS name, or the parameter file cannot be used.
        ros2_derain.resources.ResourceError: the file that ships is missing.
    """
    params = args.params_file or resources.path("config/pipeline.yaml")
    check_params_file(params, args.namespace)
    for option, name in (("--image", args.image), ("--camera-info", args.camera_info)):
        check_name(option, name)
    if args.namespace:
        check_name("--namespace", args.namespace.strip("/"))
    given = ["--ros-args", "--params-file", str(params), "--log-level", args.log_level]
    if args.cameras and args.image.startswith("/"):
        raise RunError(
            f"--image {args.image} would be the same for every camera: give a name without a leading /, "
            "which is sought in each camera's namespace, or remap each with "
            "--ros-args -r /front/image:=/TOPIC"
        )
    if args.namespace and not args.cameras:
        given += ["-r", f"__ns:=/{args.namespace.strip('/')}"]
    image = args.image.removesuffix("/compressed")
    for name, topic in (
        ("image", image),
        ("image/compressed", f"{image}/compressed"),
        ("camera_info", args.camera_info),
    ):
        given += ["-r", f"{name}:={topic}"]
    transport = "compressed" if args.compressed or image != args.image else None
    values = {
        "model": args.model,
        "device": args.device,
        "runtime": args.runtime,
        "input_transport": transport,
    }
    given += parameter_arguments({name: value for name, value in values.items() if value is not None})
    return [*given, *args.ros_args]


def parameter_arguments(values: Mapping[str, Any]) -> list[str]:
    """Parameters of the nodes as ROS arguments: ``-p name:=value`` for each."""
    return [part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}")]


def check_name(option: str, name: str) -> None:
    """Check the name of a topic or namespace.

    Raises:
        RunError: it is not valid.
    """
    token = "[A-Za-z_][A-Za-z0-9_]*"
    if not re.fullmatch(f"(~?/)?{token}(/{token})*", name):
        raise RunError(
            f"{option} {name!r} is no ROS name: use letters, digits and _ between single /, "
            "no part beginning with a digit"
        )


def check_params_file(path: Path, namespace: str = "") -> None:
    """Check that a parameter file can be read; warn where it matches none of the nodes.

    Raises:
        RunError: it is no file, or no YAML; the message names the line.
    """
    if not path.is_file():
        raise RunError(f"--params-file {path} is not a file: give a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"--params-file {path} cannot be read ({error}): give a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise RunError(f"--params-file {where}: not YAML: {problem}") from error
    if not isinstance(content, dict):
        raise RunError(f"--params-file {path} holds no parameters: begin with the name of a node")
    nodes = [f"/{namespace.strip('/')}/{node}".replace("//", "/") for node in (*NODES, PLANNER)]
    patterns = list(_node_patterns(content))
    if not any(_matches(pattern, node) for pattern in patterns for node in nodes):
        print(
            f"WARNING: {path} sets parameters of {', '.join(patterns) or 'no node'} only, not of "
            f"{' or '.join(nodes)}: write /**/{NODES[0]} for any namespace",
            file=sys.stderr,
        )


def _node_patterns(content: dict, above: str = "") -> Iterator[str]:
    """Names of nodes in a parameter file, namespaces may be nested."""
    for key, value in content.items():
        name = f"{above}/{str(key).strip('/')}"
        if isinstance(value, dict) and "ros__parameters" in value:
            yield name
        elif isinstance(value, dict):
            yield from _node_patterns(value, name)


def given_parameters(content: dict, node: str) -> dict[str, Any]:
    """The parameters that the content of a parameter file gives a node, in whatever namespace."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and "ros__parameters" in value:
            if str(key).rpartition("/")[2] in (node, "*", "**"):
                found |= value["ros__parameters"]
        elif isinstance(value, dict):
            found |= given_parameters(value, node)
    return found


def _matches(pattern: str, node: str) -> bool:
    """Whether a pattern with ``*`` (one name) and ``**`` (any number) stands for a node."""
    parts = [".*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") for part in pattern.split("/")]
    return re.fullmatch("/".join(parts).replace("/.*/", "/(?:.*/)?"), node) is not None


def main(args: argparse.Namespace) -> int:
    """Run until a signal; returns the exit status."""
    arguments = ros_arguments(args)
    from ros2_derain.nodes import pipeline  # loads torch and rclpy: not for --help

    return pipeline.run(arguments, args.cameras, args.namespace, args.planner)


def pipeline_main(argv: list[str] | None = None) -> int:
    """Run the nodes until SIGINT or SIGTERM; a lifecycle manager configures them."""
    from rclpy.utilities import remove_ros_args

    from ros2_derain.nodes import pipeline, runtime

    given = sys.argv if argv is None else ["pipeline", *argv]
    parser = argparse.ArgumentParser(prog="pipeline", description=pipeline_main.__doc__)
    add_camera_arguments(parser)
    args = parser.parse_args(remove_ros_args(given)[1:])
    return runtime.run(pipeline.creator(args.cameras, args.namespace, args.planner), given[1:])


if __name__ == "__main__":
    raise SystemExit(pipeline_main())
