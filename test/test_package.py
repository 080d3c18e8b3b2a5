"""What an installation holds: manifest, metadata, shipped files and commands."""

import importlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ET.parse(ROOT / "package.xml").getroot()
UNSHIPPED = shutil.ignore_patterns(
    ".*", "out", "runs", "build", "install", "log", "*.egg-info", "__pycache__"
)
COMMANDS = ("ros2-derain", "derain_node", "segmentation_node", "pipeline", "autostart")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """Names of the files in a wheel built from a copy of the source tree."""
    pytest.importorskip("setuptools")
    source = tmp_path_factory.mktemp("source") / "ros2_derain"
    shutil.copytree(ROOT, source, ignore=UNSHIPPED)
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", target, source], check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def shipped(folder: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


@pytest.mark.parametrize("folder", ["launch", "config", "models", "samples"])
def test_share_directory_holds_every_shipped_file(wheel, folder):
    if not shipped(folder):
        pytest.skip(f"no git checkout, or nothing in {folder}/")
    missing = [
        f for f in shipped(folder) if not any(name.endswith(f"share/ros2_derain/{f}") for name in wheel)
    ]
    assert missing == []


def test_package_holds_every_module_and_template(wheel):
    sources = [p for p in (ROOT / "ros2_derain").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert [p for p in sources if p.relative_to(ROOT).as_posix() not in wheel] == []


def test_ament_index_finds_the_package(wheel):
    for file in ("ament_index/resource_index/packages/ros2_derain", "ros2_derain/package.xml"):
        assert any(name.endswith(f"share/{file}") for name in wheel), file


def test_manifest_and_distribution_agree():
    installed = distribution("ros2_derain")
    assert MANIFEST.findtext("name") == "ros2_derain"
    assert MANIFEST.findtext("version") == installed.version
    assert MANIFEST.findtext("license") == "Apache-2.0"
    assert MANIFEST.findtext("export/build_type") == "ament_python"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_manifest_names_every_ros_package_that_is_imported():
    named = {e.text for e in MANIFEST.findall("exec_depend")}
    known = {*named, "rosgraph_msgs", "rcl_interfaces", "geometry_msgs", "std_srvs", "builtin_interfaces"}
    pattern = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
    files = [*(ROOT / "ros2_derain").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    imported = {name for file in files for name in pattern.findall(file.read_text())}
    assert imported & known <= named


def test_manifest_names_what_the_tests_import():
    packages = {
        "cv_bridge": "cv_bridge",
        "hypothesis": "python3-hypothesis",
        "psutil": "python3-psutil",
        "pytest": "python3-pytest",
    }
    pattern = re.compile(r"""(?:^\s*(?:from|import) |importorskip\(")(\w+)""", re.MULTILINE)
    imported = {name for file in (ROOT / "test").rglob("*.py") for name in pattern.findall(file.read_text())}
    named = {e.text for e in MANIFEST.findall("test_depend")}
    assert named == {package for module, package in packages.items() if module in imported}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_starts_a_function_that_exists(command):
    (entry,) = [e for e in distribution("ros2_derain").entry_points if e.name == command]
    module, _, function = entry.value.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_commands_are_where_ros2_run_looks_after_a_colcon_build():
    settings = (ROOT / "setup.cfg").read_text()
    assert "script_dir=$base/lib/ros2_derain" in settings
    assert "install_scripts=$base/lib/ros2_derain" in settings
