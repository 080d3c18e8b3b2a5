"""Child processes: whenever a signal comes, none outlives its context."""

import contextlib
import os
import signal
import subprocess

import psutil
import pytest

from ros2_derain.ros_testing.processes import Child

SLEEPER = """
import os, signal, sys, time

def leave(*_):
    if "interrupt parent" in sys.argv:
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.3)  # longer than the signal takes
    sys.exit(7)

signal.signal(signal.SIGINT, leave)
open(sys.argv[1], "w").close()
time.sleep(1000)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Makes children that sleep; ``ready`` of a fifo waits until one does."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    os.mkfifo(tmp_path / "ready")
    return lambda *more: Child("the sleeper", "sleeper", [tmp_path / "ready", *more], tmp_path / "log")


@contextlib.contextmanager
def interrupted_by(number):
    """The signal raises KeyboardInterrupt, also where the tests run in the background and ignore it."""

    def leave(*_):
        raise KeyboardInterrupt

    before = signal.signal(number, leave)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        assert signal.signal(number, before) is leave, "the handler is back"


def test_a_child_is_ended_by_its_context(child, tmp_path):
    with child() as sleeper:
        sleeper.start()
        (tmp_path / "ready").read_bytes()
        assert not sleeper.ended()
    assert sleeper.ended() and sleeper.stop() == 7


def test_a_context_may_end_without_a_child(child):
    with child():
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_child_is_started_is_deferred(child, monkeypatch, number):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self.pid)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with interrupted_by(number), child() as sleeper:
        sleeper.start()
    assert started and not psutil.pid_exists(started[0])


def test_a_signal_while_the_child_is_ended_is_deferred(child, tmp_path):
    with interrupted_by(signal.SIGINT), child("interrupt parent") as sleeper:
        sleeper.start()
        (tmp_path / "ready").read_bytes()
    assert sleeper.ended() and sleeper.stop() == 7
