"""The builder of message packages, run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDER = ROOT / "interfaces/build.py"
PROBE = "std_msgs/Header header\nfloat32[<=4] values\nstring name\n"

if not (Path(sys.prefix) / "share/ament_index/resource_index/packages/rclpy").exists():
    pytest.skip("needs ROS 2 from PyPI; a distribution has its own builder", allow_module_level=True)

# First 16 digits of the RIHS01 type hashes of the releases, computed from their own files.
VISION_MSGS_4_1_1 = {
    "BoundingBox2D": "008eacbb0cf8f26e",
    "BoundingBox3D": "bbb73a65c163d7f9",
    "Detection2D": "0d12b69df5c593b3",
    "Detection2DArray": "214274120007f4a6",
    "Detection3D": "ddd703be132ab0b6",
    "Detection3DArray": "793f5eab9595ac1c",
    "LabelInfo": "3d37df4015cdf660",
    "ObjectHypothesis": "51da43cec11c0195",
    "ObjectHypothesisWithPose": "41c12344c0396c48",
    "Point2D": "eab0e83f44ab4de9",
    "Pose2D": "b0b5d1d7b4c20dd4",
    "VisionClass": "1e4a11f0fed50b56",
    "VisionInfo": "95d3116a17484ad9",
}
FOXGLOVE_MSGS_3_4_3 = {
    "CircleAnnotation": "8bd0a9869b14ed05",
    "Color": "ed1b16da40c954e6",
    "ImageAnnotations": "bc4e578b1ef80953",
    "KeyValuePair": "3a1aafc9b6c58761",
    "Point2": "d85e823b78e2e88b",
    "PointsAnnotation": "e151e5042d911c29",
    "TextAnnotation": "9678167e063be854",
}


def build(package: str, source: Path, prefix: Path, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, BUILDER, package, "--source", source, "--prefix", prefix]
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def messages(folder: Path, **contents: str) -> Path:
    """A source directory with the given messages."""
    (folder / "msg").mkdir(parents=True)
    for name, content in contents.items():
        (folder / "msg" / f"{name}.msg").write_text(content)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path, subprocess.CompletedProcess]:
    """Source and prefix of a small package, and what its build said."""
    source = messages(tmp_path_factory.mktemp("source") / "probe_msgs", Probe=PROBE)
    prefix = tmp_path_factory.mktemp("prefix")
    return source, prefix, build("probe_msgs", source, prefix)


@pytest.mark.parametrize(
    ("package", "upstream"), [("vision_msgs", VISION_MSGS_4_1_1), ("foxglove_msgs", FOXGLOVE_MSGS_3_4_3)]
)
def test_packages_have_the_types_of_upstream(package, upstream):
    folder = Path(sys.prefix) / f"share/{package}/msg"
    found = {}
    for file in folder.glob("*.json"):
        hashes = json.loads(file.read_text())["type_hashes"]
        (own,) = [h["hash_string"] for h in hashes if h["type_name"] == f"{package}/msg/{file.stem}"]
        found[file.stem] = own.removeprefix("RIHS01_")[:16]
    assert found == upstream


def test_messages_pass_through_the_compiled_code(built):
    _, prefix, said = built
    assert said.returncode == 0, said.stderr
    code = """
from rclpy.serialization import deserialize_message, serialize_message
from probe_msgs.msg import Probe
sent = Probe(values=[0.5, -2.0], name="rain")
sent.header.frame_id = "camera"
sent.header.stamp.sec = 7
print(deserialize_message(serialize_message(sent), Probe) == sent)
"""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    variables = {
        "PYTHONPATH": str(prefix / "lib" / python / "site-packages"),
        "LD_LIBRARY_PATH": f"{prefix / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "True\n", run.stderr


def test_second_build_does_nothing(built):
    source, prefix, _ = built
    library = prefix / "lib/libprobe_msgs__rosidl_generator_c.so"
    before = library.stat().st_mtime_ns
    again = build("probe_msgs", source, prefix, PATH="/nowhere")  # not even a compiler is needed
    assert again.returncode == 0 and "up to date" in again.stdout, again.stderr
    assert library.stat().st_mtime_ns == before


def test_package_is_in_the_ament_index(built):
    _, prefix, _ = built
    index = prefix / "share/ament_index/resource_index"
    assert (index / "packages/probe_msgs").is_file()
    assert (index / "rosidl_interfaces/probe_msgs").read_text() == "msg/Probe.msg\n"


def test_no_messages(tmp_path):
    said = build("empty_msgs", tmp_path, tmp_path / "prefix")
    assert said.returncode == 1 and f"no messages in {tmp_path / 'msg'}" in said.stderr


def test_missing_compiler_is_named(tmp_path):
    source = messages(tmp_path / "probe_msgs", Probe=PROBE)
    said = build("probe_msgs", source, tmp_path / "prefix", PATH="/nowhere")
    assert said.returncode == 1 and "gcc is missing: install it" in said.stderr


def test_message_that_cannot_be_translated_is_named(tmp_path):
    source = messages(tmp_path / "wrong_msgs", Wrong="no_such_msgs/Type x y\n")
    said = build("wrong_msgs", source, tmp_path / "prefix")
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert "can't be translated" in said.stderr and "wrong_msgs/Wrong" in said.stderr
    assert not (tmp_path / "prefix/share/wrong_msgs/build_stamp").exists()


def test_compiler_error_is_shown_and_nothing_counts_as_built(tmp_path):
    compilers = tmp_path / "bin"
    compilers.mkdir()
    for name in ("gcc", "g++"):
        (compilers / name).write_text("#!/bin/sh\necho 'disk quota exceeded' >&2\nexit 4\n")
        (compilers / name).chmod(0o755)
    source = messages(tmp_path / "probe_msgs", Probe=PROBE)
    prefix = tmp_path / "prefix"
    said = build("probe_msgs", source, prefix, PATH=f"{compilers}:{os.environ['PATH']}")
    assert said.returncode == 1 and "failed with code 4" in said.stderr and "disk quota" in said.stderr
    assert not (prefix / "share/probe_msgs/build_stamp").exists()
