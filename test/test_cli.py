"""The console command: help, exit statuses, and error messages."""

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
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert result.returncode == 0
    assert result.stdout.rstrip().endswith("[]")
    for name in cli.COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_every_command_has_an_example(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([name, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: ros2-derain {name}" in text
    assert f"  ros2-derain {name}" in text.split("options:")[1]


def test_version():
    result = command("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("ros2-derain ")


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
def test_wrong_usage_is_reported_with_exit_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ros2-derain")


def test_an_error_of_the_project_is_printed_in_one_line(tmp_path):
    missing = tmp_path / "none.yaml"
    result = command("run", "--params-file", str(missing))
    assert result.returncode == 2
    assert result.stderr == f"ros2-derain run: --params-file {missing} is not a file: give a YAML file\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "models", ("this", ""))
    with pytest.raises(AttributeError):
        cli.main(["models"])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_and_its_children(number, status, tmp_path):
    demo = psutil.Popen(
        [sys.executable, "-m", "ros2_derain.cli", "demo", "--out", tmp_path, "--frames", "20"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests in the background ignore some
    )
    try:
        output = b""
        while b"playing" not in output:  # to the pipeline, which has started
            line = demo.stderr.readline()
            assert line, output
            output += line
        children = demo.children(recursive=True)
        assert children, output
        demo.send_signal(number)
        output += demo.communicate(timeout=HANG_S)[1]
        assert demo.returncode == status, output
        assert not any(child.is_running() for child in children), output
    finally:
        for process in [*demo.children(recursive=True), demo] if demo.is_running() else []:
            process.kill()


def test_models_lists_what_ships():
    result = command("models")
    assert result.returncode == 0
    assert "loopnet\n" in result.stdout and "sha256" in result.stdout
