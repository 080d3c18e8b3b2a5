"""The console command: help, exit statuses, and how errors are told."""

import signal
import subprocess
import sys

import psutil
import pytest
from limits import HANG_S

from ros2_derain import cli


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ros2_derain.cli", *arguments], capture_output=True, text=True, timeout=HANG_S
    )


def test_help_names_every_command_and_loads_neither_torch_nor_ros():
    script = (
        "import sys; from ros2_derain import cli\n"
        "try: cli.main(['--help'])\n"
        "finally: print([m for m in ('torch', 'rclpy', 'numpy', 'cv2') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert ended.returncode == 0
    assert ended.stdout.rstrip().endswith("[]")
    for name in cli.COMMANDS:
        assert f"\n  {name} " in ended.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert f"usage: ros2-derain {name}" in told
    assert f"  ros2-derain {name}" in told.split("options:")[1]


def test_version():
    ended = command("--version")
    assert ended.returncode == 0
    assert ended.stdout.startswith("ros2-derain ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("demo", "--frames", "0"),
        ("bench", "--size", "12"),
        ("bench", "--seconds", "inf"),
        ("bench", "--seconds", "9", "--frames", "9"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ros2-derain")


def test_an_error_of_the_project_is_one_line(tmp_path):
    ended = command("run", "--params-file", str(tmp_path / "none.yaml"))
    assert ended.returncode == 2
    assert ended.stderr == f"ros2-derain run: --params-file {tmp_path / 'none.yaml'} is not a file\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "models", ("this", ""))
    with pytest.raises(AttributeError):
        cli.main(["models"])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_and_its_children(number, status, tmp_path):
    demo = psutil.Popen(
        [sys.executable, "-m", "ros2_derain.cli", "demo", "--out", tmp_path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests in the background ignore some
    )
    try:
        said = demo.stderr.readline()  # rain is rendered while the pipeline starts
        children = demo.children(recursive=True)
        assert children, said
        demo.send_signal(number)
        said += demo.communicate(timeout=HANG_S)[1]
        assert demo.returncode == status, said
        assert not any(child.is_running() for child in children), said
    finally:
        for process in [*demo.children(recursive=True), demo] if demo.is_running() else []:
            process.kill()


def test_models_lists_what_ships():
    ended = command("models")
    assert ended.returncode == 0
    assert "loopnet\n" in ended.stdout and "sha256" in ended.stdout
