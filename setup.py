"""The package, for colcon and for pip."""

import xml.etree.ElementTree as ET
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "ros2_derain"
ROOT = Path(__file__).parent
MANIFEST = ET.parse(ROOT / "package.xml").getroot()


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """data_files entries that put every file under ``folder`` below share/ros2_derain."""
    files = [p for p in sorted((ROOT / folder).rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    places = sorted({p.parent.relative_to(ROOT) for p in files})
    return [
        (f"share/{PACKAGE}/{place}", [str(p.relative_to(ROOT)) for p in files if p.parent == ROOT / place])
        for place in places
    ]


setup(
    name=PACKAGE,
    version=MANIFEST.findtext("version"),
    description="Lets a car see through rain: image deraining and scene parsing in a closed loop, for ROS 2",
    author="ros2_derain maintainers",
    author_email="maintainers@users.noreply.b-seed-e9ac159f.example",
    maintainer="ros2_derain maintainers",
    maintainer_email="maintainers@users.noreply.b-seed-e9ac159f.example",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        f"{PACKAGE}.evaluate": ["*.yaml"],
        f"{PACKAGE}.metrics": ["*.json"],
        f"{PACKAGE}.reporting": ["templates/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *(entry for folder in ("launch", "config", "models", "samples") for entry in shared(folder)),
    ],
    python_requires=">=3.10",
    install_requires=[
        "numpy",
        "opencv-python-headless<5",
        "pydantic>=2.7",
        "pyyaml",
        "safetensors",
        "torch>=2.11",
    ],
    extras_require={
        # ROS 2 from PyPI, for machines without a ROS distribution, and
        # what interfaces/build.py needs to compile message packages for it.
        "ros": [
            "ros-rclpy[fastrtps]",
            "ros-ament-index-python",
            "ros-diagnostic-msgs",
            "ros-geometry-msgs",
            "ros-lifecycle-msgs",
            "ros-sensor-msgs",
            "ros-std-msgs",
            "ros-std-srvs",
            "ros-visualization-msgs",
            "catkin-pkg",
        ],
        "evaluation": [
            'backports.zstd; python_version < "3.14"',
            "faster-coco-eval",
            "jinja2",
            "rosbags",
            "tqdm",
        ],
        "fleet": ["ray"],
        "learning": ["lightning", "tqdm"],
        "metrics": ["prometheus-client"],
        # Other runtimes of the networks, and what turns these into ONNX graphs.
        "onnx": ["onnx"],
        "quantisation": ["nncf", "onnx", "onnxruntime"],
        "onnxruntime": ["onnx", "onnxruntime"],
        "openvino": ["onnx", "openvino"],
        "test": [
            "cv-bridge",
            "hypothesis",
            "import-linter",
            "mypy",
            "onnx",
            "onnxruntime",
            "psutil",
            "pytest",
            "pytest-xdist",
            "rosbags-image",
            "ruff",
            "setuptools",
            "types-psutil",
            "types-PyYAML",
            "types-tqdm",
        ],
    },
    entry_points={
        "console_scripts": [
            "ros2-derain = ros2_derain.cli:main",
            "derain_node = ros2_derain.nodes.derain_node:main",
            "segmentation_node = ros2_derain.nodes.segmentation_node:main",
            "planner_node = ros2_derain.nodes.planner_node:main",
            "pipeline = ros2_derain.nodes.run:pipeline_main",
            "autostart = ros2_derain.nodes.autostart:main",
        ],
    },
    zip_safe=True,
)
