"""``ros2-derain replay`` as tests call it, and what it has written."""

import json
import os
import signal
from pathlib import Path

from ros2_derain import cli
from ros2_derain.engine import Engine, EngineSettings
from ros2_derain.replay import fleet
from ros2_derain.replay.job import Job

DIED = "TEST_WORKER_DIED"
"""Variable that names the file which :func:`run_but_die_once` makes when it dies."""


def replay(bag: Path, out: Path, model: str, *options) -> int:
    """Replay a bag on the CPU; the exit status."""
    return _run(bag, "--out", out, "--model", model, *options)


def replay_fleet(folder: Path, out: Path, model: str, *options) -> int:
    """Replay every bag of a folder on the CPU, recording nothing; the exit status."""
    return _run("--bags", folder, "--out", out, "--model", model, "--record", "none", *options)


def _run(*arguments) -> int:
    return cli.main([str(argument) for argument in ("replay", *arguments, "--device", "cpu")])


def records(out: Path, name: str = "frames.jsonl") -> list[dict]:
    """A line for each frame."""
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def summary(out: Path) -> dict:
    """The figures of a run."""
    return json.loads((out / "summary.json").read_text())


def engine(model: str) -> Engine:
    """The engine that a replay runs."""
    return Engine.load(EngineSettings(model=model, device="cpu"))


def run_but_die_once(task: Job, *arguments) -> str:
    """Replay a bag in a worker process; the first time that it is ``monday``, the process is killed."""
    died = Path(os.environ[DIED])
    if task.bag.name == "monday" and not died.exists():
        died.touch()
        die()
    return fleet.run_in_worker(task, *arguments)


def die(*_) -> None:
    """End this process as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
