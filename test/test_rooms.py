"""Who may import whom, held by import-linter with the contracts of pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = [
    sys.executable,
    "-c",
    "from importlinter.cli import lint_imports_command as main; main()",
    "--no-cache",
]


def lint(root: Path) -> subprocess.CompletedProcess:
    return subprocess.run(LINT, cwd=root, capture_output=True, text=True, check=False)


def test_the_package_keeps_every_contract():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("engine", "import rclpy", "Only nodes, messages, ros_testing and bags import rclpy"),
        (
            "evaluate",
            "from sensor_msgs.msg import Image",
            "Only nodes, messages, ros_testing and bags import rclpy",
        ),
        ("nodes", "def f():\n    import ros2_derain.learning", "At run time nothing imports"),
        ("nodes", "import ros2_derain.ros_testing.camera", "At run time nothing imports"),
        ("engine", "import ros2_derain.nodes", "Imports point one way"),
        ("replay", "import ros2_derain.demo", "Imports point one way"),
        ("networks", "import ros2_derain.rain", "import no other room"),
        ("reporting", "import ros2_derain.data", "import no other room"),
        ("metrics", "import ros2_derain.engine", "do not reach up"),
        ("learning", "import ros2_derain.engine", "Learning imports data, networks"),
        ("evaluate", "import ros2_derain.learning", "Only the command line imports learning"),
        ("nodes", "import launch", "launch is imported in launch/ only"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, room, line, contract):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "ros2_derain", tmp_path / "ros2_derain")
    (tmp_path / "ros2_derain" / room / "intruder.py").write_text(line + "\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    broken = [text for text in result.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(contract in text for text in broken), result.stdout + result.stderr


def test_every_module_that_imports_rclpy_can_do_so_on_jazzy():
    """``MessageInfo`` has been in rclpy since Kilted."""
    code = """
import importlib, pkgutil
from ros2_derain import bags, messages, nodes, ros_testing
import rclpy.lifecycle, rclpy.subscription
vars(rclpy.subscription).pop("MessageInfo", None)
for room in (bags, messages, nodes, ros_testing):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
