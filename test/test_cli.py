"""The console command: help, exit statuses, and error messages."""

import os
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
def test_a_signal_ends_the_command_and_its_children(number, status, small_clip, rainy_model, tmp_path):
    options = ("--out", tmp_path, "--clip", small_clip, "--model", rainy_model, "--device", "cpu")
    demo = psutil.Popen(
        [sys.executable, "-m", "ros2_derain.cli", "demo", *options],
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


@pytest.mark.slow
def test_a_terminal_that_is_not_utf8_never_gives_a_traceback(small_clip, rainy_model, tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}

    def run(*arguments):
        called = [sys.executable, "-m", "ros2_derain.cli", *arguments]
        found = subprocess.run(called, capture_output=True, env=os.environ | plain, timeout=HANG_S)
        assert b"Traceback" not in found.stderr, found.stderr
        assert (found.stdout + found.stderr).isascii()
        return found

    assert run("hälp").returncode == 2
    assert rb"b\udcc3\udca4g does not exist" in run("replay", "bäg", "--out", tmp_path / "out").stderr
    options = ("--frames", "2", "--clip", small_clip, "--model", rainy_model, "--device", "cpu", "--out")
    found = run("demo", *options, tmp_path / "demo")
    assert found.returncode == 0, found.stderr
    assert rb"\u2192" in found.stdout  # an arrow
    assert run("demo", *options, tmp_path / "dämo").returncode in (0, 2)
    assert run("run", "--params-file", "pärams.yaml").returncode == 2


def test_a_small_shared_memory_is_reported_with_the_size_that_it_should_have(tmp_path):
    mounted = f"mount -t tmpfs -o size=64m none /dev/shm && exec {sys.executable} -m ros2_derain.cli"
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")

    def run(arguments):
        called = ["unshare", "-rm", "sh", "-c", f"{mounted} {arguments}"]
        return subprocess.run(called, capture_output=True, text=True, timeout=HANG_S).stderr

    for arguments in ("run --params-file none", "replay none --live --out none", "bench --model none"):
        said = run(arguments)
        assert "WARNING: /dev/shm has 64 MB" in said and "512" in said
    assert "/dev/shm" not in run("replay none --out none")
    assert "/dev/shm" not in command("run", "--params-file", "none").stderr


def test_models_lists_what_ships():
    result = command("models")
    assert result.returncode == 0
    assert "loopnet\n" in result.stdout and "sha256" in result.stdout
